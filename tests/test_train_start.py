"""The choice of a start on the Train tab, called as Gradio calls it: fields filled and locked, and the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter
from engine.settings import RunSettings, parse, titles
from engine.shape import SHAPE
from jobs.ask import Answerer
from studio import forms
from studio.page import Studio
from studio.train_events import TrainEvents
from studio.train_settings import ORDER
from studio.train_start import TrainStart
from studio.ui import build_page
from tests.furnish import add_adapter
from tests.pages import in_a_loop
from tests.train_bench import ListedAnswerer, add, defaults, make, shown

pytestmark = pytest.mark.usefixtures("no_runner")


@pytest.fixture
def ids(store: Store, tmp_path: Path) -> tuple[int, int]:
    (tmp_path / "base").mkdir()
    return add(store, tmp_path / "base")


@pytest.fixture
def starts(store: Store, data_dir: Path, ids: tuple[int, int]) -> TrainStart:
    events = make(store, data_dir)
    return TrainStart(events.studio, events, events.ui)


def adapter(store: Store, ids: tuple[int, int], name: str = "pirate", **settings: Any) -> Adapter:
    chosen = parse({"rank": 4, "alpha": 8, **settings})
    facts: dict[str, Any] = {
        "method": titles("method")[chosen.method],
        "settings": chosen.model_dump(mode="json"),
        "rank": chosen.rank,
        "alpha": chosen.alpha,
    }
    return add_adapter(store, store.base_model(ids[0]), store.data_set(ids[1]), name=name, **facts)


def show(starts: TrainStart, start: object, ids: tuple[int, int], values: list[Any] | None = None) -> dict[Any, Any]:
    return starts.show(start, *ids, "", {}, *(values or defaults()))


def fields(events: TrainEvents, updates: dict[Any, Any], key: str) -> dict[str, Any]:
    return {name: updates[events.ui.settings[name]].get(key) for name in SHAPE}


def test_without_adapters_nothing_is_asked_and_nothing_is_locked(starts: TrainStart, ids: tuple[int, int]) -> None:
    updates = show(starts, None, ids)
    choice = updates[starts.ui.start_from]
    assert (choice["choices"], choice["value"], choice["visible"]) == ([("The base model", 0)], 0, False)
    assert set(fields(starts.events, updates, "interactive").values()) == {True}
    assert updates[starts.ui.start_help] == ""


def test_the_adapters_of_the_base_are_offered_the_newest_first_and_the_base_stays_chosen(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    old, new = adapter(store, ids), adapter(store, ids, "newer", method="dora")
    choice = show(starts, None, ids)[starts.ui.start_from]
    assert choice["choices"] == [("The base model", 0), ("newer (DoRA r 4)", new.id), ("pirate (r 4)", old.id)]
    assert (choice["value"], choice["visible"]) == (0, True)
    store.delete_adapter(new.id)
    assert len(starts.offer(0, ids[0])[starts.ui.start_from]["choices"]) == 2
    assert starts.offer(old.id, ids[0])[starts.ui.start_from]["value"] == old.id


def test_a_chosen_adapter_fills_and_locks_the_shape_and_says_why(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(
        store,
        ids,
        "<b>pirate</b>",
        method="dora",
        rank=6,
        target_modules=["q_proj", "model.layers.1.mlp.up_proj"],
        layers=[0, 1],
        rank_pattern={"q_proj": 2},
    )
    updates = show(starts, parent.id, ids)
    assert set(fields(starts.events, updates, "interactive").values()) == {False}
    values = fields(starts.events, updates, "value")
    assert (values["method"], values["rank"], values["layers"], values["rank_pattern"]) == (
        "dora",
        6,
        "0, 1",
        "q_proj=2",
    )
    assert values["target_modules"] == ["q_proj", "model.layers.1.mlp.up_proj"]
    read = parse(
        {
            name: None if value == [] else value
            for name, value in values.items()
            if value != "" and forms.is_shown(name, "dora")
        }
    )
    assert {name: getattr(read, name) for name in SHAPE} == {
        name: getattr(parse(parent.settings), name) for name in SHAPE
    }
    assert all(updates[button]["interactive"] is False for button in starts.ui.presets)
    told = updates[starts.ui.start_help]
    assert "&lt;b&gt;pirate&lt;/b&gt;" in told
    assert "locked" in told
    assert "learning rate schedule starts anew" in told


def test_back_to_the_base_unlocks_and_another_base_lets_the_start_go(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(store, ids)
    other = store.add_base_model(
        name="other",
        source="folder",
        path="/o",
        folder=None,
        fingerprint="sha256:o",
        facts=store.base_model(ids[0]).facts,
    )
    for start, base in ((0, ids[0]), (parent.id, other.id)):
        updates = starts.show(start, base, ids[1], "", {}, *defaults())
        assert updates[starts.ui.start_from]["value"] == 0
        assert set(fields(starts.events, updates, "interactive").values()) == {True}


def test_a_run_starts_from_the_chosen_adapter_whatever_the_locked_fields_hold(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(store, ids)
    updates = starts.start(parent.id, *ids, *defaults(), "", "0" * 32)
    (job,) = store.jobs(kinds=["train"])
    assert shown(starts.events, updates, "queued") == str(job.id)
    assert (job.start_adapter_id, job.settings["rank"], job.settings["alpha"]) == (parent.id, 4, 8)
    starts.start(0, *ids, *defaults(), "", "1" * 32)
    assert (store.jobs(kinds=["train"])[0].start_adapter_id, store.jobs(kinds=["train"])[0].settings["rank"]) == (
        None,
        16,
    )


def test_an_adapter_asked_for_in_the_library_is_chosen_with_its_base_and_data(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(store, ids)
    updates = starts.begin(f"{parent.id} 123", store.data_sets()[1].id, "", {}, *defaults())
    assert updates[starts.ui.start_from]["value"] == parent.id
    assert shown(starts.events, updates, "base") == ids[0]
    assert shown(starts.events, updates, "data") == ids[1]
    assert updates[starts.ui.settings["rank"]]["value"] == 4


@pytest.mark.parametrize("nonsense", ["x", -1, 10**40, [1], {"id": 1}, 99, True])
def test_nonsense_for_a_start_is_the_base(starts: TrainStart, ids: tuple[int, int], nonsense: Any) -> None:
    assert show(starts, nonsense, ids)[starts.ui.start_from]["value"] == 0


def test_an_adapter_whose_settings_are_not_known_is_not_offered_and_says_so(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    strange = add_adapter(store, store.base_model(ids[0]), store.data_set(ids[1]))
    assert show(starts, strange.id, ids)[starts.ui.start_from]["visible"] is False
    assert "No run can start" in starts.begin(str(strange.id), *ids[1:], "", {}, *defaults())[starts.ui.problems]


def after(starts: TrainStart, updates: dict[Any, Any], values: list[Any] | None = None) -> list[Any]:
    """What stands in all fields once `updates` have come to them."""
    fields = [updates.get(starts.ui.settings[name], {}) for name in ORDER]
    return [field.get("value", old) for field, old in zip(fields, values or defaults(), strict=True)]


def split(starts: TrainStart, updates: dict[Any, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (updates[starts.ui.settings[name]].get("value"), updates[starts.ui.settings[name]].get("interactive"))
        for name in ("seed", "validation_share")
    }


def test_on_the_same_data_rows_that_were_kept_aside_stay_aside(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(store, ids, seed=7, validation_share=0.25)
    updates = show(starts, parent.id, ids)
    assert split(starts, updates) == {"seed": (7, False), "validation_share": (0.25, False)}
    assert "Seed and Validation share are locked too" in updates[starts.ui.start_help]
    starts.start(parent.id, *ids, *defaults(), "", "0" * 32)  # whatever the locked fields hold
    settings = store.jobs(kinds=["train"])[0].settings
    assert (settings["seed"], settings["validation_share"]) == (7, 0.25)


def test_on_other_data_the_split_is_free_again(store: Store, starts: TrainStart, ids: tuple[int, int]) -> None:
    parent, other = adapter(store, ids, seed=7, validation_share=0.25), store.data_sets()[1].id
    chosen = show(starts, parent.id, ids)
    moved = starts.show(parent.id, ids[0], other, "", chosen[starts.ui.defaults], *after(starts, chosen))
    plain = RunSettings()
    assert split(starts, moved) == {
        "seed": (plain.seed, True),
        "validation_share": (plain.validation_share, True),
    }
    assert "Seed" not in moved[starts.ui.start_help]
    typed = dict(zip(ORDER, after(starts, moved), strict=True)) | {"seed": 11}
    again = starts.show(parent.id, ids[0], other, "", moved[starts.ui.defaults], *typed.values())
    assert split(starts, again)["seed"] == (None, True)  # what a person typed stays
    starts.start(parent.id, ids[0], other, *typed.values(), "", "0" * 32)
    assert store.jobs(kinds=["train"])[0].settings["seed"] == 11


def test_back_at_the_base_the_shape_is_that_of_the_defaults(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(
        store,
        ids,
        method="dora",
        rank=6,
        bias="lora_only",
        target_modules=["q_proj"],
        rank_pattern={"q_proj": 2},
        seed=7,
    )
    chosen = show(starts, parent.id, ids)
    values = dict(zip(ORDER, after(starts, chosen), strict=True)) | {"epochs": 9}
    assert (values["method"], values["rank"], values["bias"], values["seed"]) == ("dora", 6, "lora_only", 7)
    back = starts.show(0, *ids, "", chosen[starts.ui.defaults], *values.values())
    assert forms.typed(ORDER, after(starts, back, list(values.values()))) == {
        **{name: back[starts.ui.defaults][name] for name in ORDER},
        "epochs": 9,
    }
    assert back[starts.ui.defaults]["method"] == "lora"
    assert back[starts.ui.shape]["method"] == "lora"


def test_a_shape_of_ones_own_stays_while_the_base_is_chosen(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    first = show(starts, 0, ids)
    typed = dict(zip(ORDER, after(starts, first), strict=True)) | {"rank": 33}
    again = starts.show(0, *ids, "", first[starts.ui.defaults], *typed.values())
    assert after(starts, again, list(typed.values()))[ORDER.index("rank")] == 33


def test_a_chosen_adapter_that_is_deleted_elsewhere_leaves_the_state_of_no_start(
    store: Store, starts: TrainStart, ids: tuple[int, int]
) -> None:
    parent = adapter(store, ids, rank=6)
    chosen = show(starts, parent.id, ids)
    rest = (ids[1], "", chosen[starts.ui.defaults], *after(starts, chosen))
    assert set(starts.offer(parent.id, ids[0], *rest)) == {starts.ui.start_from}
    store.delete_adapter(parent.id)
    updates = starts.offer(parent.id, ids[0], *rest)
    assert updates[starts.ui.start_from]["value"] == 0
    assert updates[starts.ui.start_help] == ""
    assert set(fields(starts.events, updates, "interactive").values()) == {True}
    assert updates[starts.ui.settings["rank"]]["value"] == RunSettings().rank


def test_what_comes_and_goes_may_change_the_whole_form(store: Store, data_dir: Path) -> None:
    page = in_a_loop(lambda: build_page(Studio(store, cast(Answerer, ListedAnswerer()), data_dir)))
    wired = [fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "offer"]
    assert len(wired) == 1
    assert {"setting-rank", "start-help", "start-from"} <= {part.elem_id for part in wired[0].outputs}
    assert wired[0].inputs[0].elem_id == "start-from"
    assert len(wired[0].inputs) == 5 + len(ORDER)


def test_a_run_is_put_into_the_form_to_be_changed(store: Store, starts: TrainStart, ids: tuple[int, int]) -> None:
    data = store.data_sets()[1]
    chosen = parse({"method": "dora", "rank": 6, "alpha": 9, "epochs": 7, "layers": [0, 1], "learning_rate": 3e-4})
    job = store.submit("train", "before", chosen.model_dump(mode="json"), base_model_id=ids[0], data_set_id=data.id)
    updates = starts.begin(f"job-{job.id} 1", ids[1], "", {}, *defaults())
    shown_values = [updates[starts.ui.settings[name]]["value"] for name in ORDER]
    given = {name: value for name, value in forms.settings_of(ORDER, shown_values).items() if value is not None}
    assert parse(given) == chosen
    assert (updates[starts.ui.base]["value"], updates[starts.ui.data]["value"]) == (ids[0], data.id)
    for gone in ("job-99 1", "job-x"):
        assert "cannot be taken as a start" in starts.begin(gone, ids[1], "", {}, *defaults())[starts.ui.problems]
