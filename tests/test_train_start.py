"""The choice of a start on the Train tab, called as Gradio calls it: fields filled and locked, and the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter
from engine.settings import SHAPE, parse, titles
from studio import forms
from studio.train_events import TrainEvents
from studio.train_start import TrainStart
from tests.furnish import add_adapter
from tests.test_train_events import add, defaults, make, shown


@pytest.fixture(autouse=True)
def _no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.runner.ensure", lambda data_dir: None)


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
    updates = starts.start(parent.id, *ids, *defaults(), "0" * 32)
    (job,) = store.jobs(kinds=["train"])
    assert shown(starts.events, updates, "queued") == str(job.id)
    assert (job.start_adapter_id, job.settings["rank"], job.settings["alpha"]) == (parent.id, 4, 8)
    starts.start(0, *ids, *defaults(), "1" * 32)
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
