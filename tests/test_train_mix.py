"""Several data sets on the Train tab, called as Gradio calls it: what is counted, told and queued of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

import pytest

from adapters_store.store import Store
from engine.settings import SettingsError
from tests.furnish import add_adapter
from tests.train_bench import PLAN, ListedAnswerer, add, defaults, make, shown, with_value

pytestmark = pytest.mark.usefixtures("no_runner")


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    return folder


def mixed(weight: object, *parts: object) -> str:
    return json.dumps({"weight": weight, "parts": parts})


def test_what_is_mixed_in_is_counted_told_and_queued(store: Store, data_dir: Path, base_path: Path) -> None:
    base_id, first = add(store, base_path)
    second = store.data_sets()[1]
    portions = [{"an_epoch": 216, "aside": 24}, {"an_epoch": 1, "aside": 12}]
    events = make(store, data_dir, {**PLAN, "portions": portions, "validation_is_like": True})
    text = mixed("1", [second.id, "0.5"])
    *_, last = events.count(base_id, first, text, *defaults())
    figures = shown(events, last, "figures")
    assert f"<li>{second.name}: 1 row an epoch, 12 aside</li>" in figures
    assert "their loss flatters" in figures
    asked = cast(ListedAnswerer, events.studio.answerer).asked["mixture"]
    assert [(weight, list(files)) for _, weight, files in asked] == [(1.0, []), (0.5, [])]
    events.start(base_id, first, *defaults(), text, "a" * 32)
    assert [(data.id, weight) for data, weight in store.jobs()[0].mixture] == [(first, 1.0), (second.id, 0.5)]


def test_weights_that_cannot_be_are_told_with_all_else_that_is_wrong(
    store: Store, data_dir: Path, base_path: Path
) -> None:
    base_id, first = add(store, base_path)
    second = store.data_sets()[1]
    events, text = make(store, data_dir), mixed("", [second.id, "0"])
    (only,) = events.count(base_id, first, text, *defaults())
    assert "cannot be used" in shown(events, only, "head")
    with pytest.raises(SettingsError) as told:
        events.start(base_id, first, *with_value("epochs", 0), text, "a" * 32)
    assert [re.split(r"[.,]", problem)[0] for problem in told.value.problems] == [
        f"The weight of {store.data_set(first).name} is no number",
        f"The weight of {second.name} is 0",
        "Epochs is 0",
    ]


@pytest.mark.parametrize(
    "nonsense",
    ["{", "[]", "null", '{"parts": 7}', '{"parts": [[1, 2, 3], 4, ["1", 2], [null, 1], [99, 1]]}', "[" * 3000, 7, None],
)
def test_nonsense_mixed_in_is_nothing_mixed_in(store: Store, data_dir: Path, base_path: Path, nonsense: object) -> None:
    base_id, first = add(store, base_path)
    events = make(store, data_dir)
    events.start(base_id, first, *defaults(), nonsense, "a" * 32)
    assert store.jobs()[0].portions == []


def test_the_piece_offers_all_sets_and_takes_over_what_an_adapter_has_learned_from(
    store: Store, data_dir: Path, base_path: Path
) -> None:
    base_id, first = add(store, base_path)
    second = store.data_sets()[1]
    events = make(store, data_dir)
    offered = shown(events, events.show(base_id, first, "", {}, *defaults()), "mix")
    assert (offered["first"], len(offered["sets"])) == (first, len(store.data_sets()))
    events.start(base_id, first, *defaults(), mixed("2", [second.id, "0.5"]), "a" * 32)
    adapter = add_adapter(store, store.base_model(base_id), store.data_set(first), job_id=store.jobs()[0].id)
    given = events.mix_of(adapter)["value"]["given"]
    assert (given["weight"], given["parts"]) == (2.0, [[second.id, 0.5]])
