"""The library as markup: what people typed stays text, and the order of the table is read back as it was written."""

import re
import time
from html import unescape
from typing import Any

import pytest

from adapters_store.tables import Adapter, BaseModel, DataSet
from studio import library_view as view
from studio.library_view import Order

HOSTILE = """<img src=x onerror="alert(1)">${7*7}'&amp;"""


def adapter(id: int = 3, name: str = "pirate-r16", **more: Any) -> Adapter:
    facts: dict[str, Any] = {
        "base_model": BaseModel(id=1, name=more.pop("base", "SmolLM2")),
        "data_set": DataSet(id=1, name=more.pop("data", "pirate-style"), rows=240),
        "method": "lora",
        "rank": 16,
        "alpha": 32.0,
        "target_modules": ["q_proj", "v_proj"],
        "training_loss": 1.1,
        "validation_loss": 1.31,
        "base_validation_loss": 3.05,
        "best_step": 80,
        "steps": 90,
        "seconds": 660.0,
        "size_bytes": 19_600_000,
        "sha256": "9f3c1a" + "0" * 54 + "e07b",
        "created_at": time.time(),
    }
    return Adapter(id=id, name=name, **{**facts, **more})


@pytest.mark.parametrize("made", ["table", "card", "deleted", "no_hit"])
def test_a_hostile_name_stays_text(made: str) -> None:
    one = adapter(name=HOSTILE, base=HOSTILE, data=HOSTILE, target_modules=[HOSTILE])
    markup = {
        "table": view.table([one], Order(), 3, {3}),
        "card": view.card(one, [one]),
        "deleted": view.deleted(one),
        "no_hit": view.no_hit(HOSTILE),
    }[made]
    assert "<img" not in markup
    assert HOSTILE in unescape(markup)
    assert not re.search(r'="[^"]*" onerror', markup)


def test_the_order_survives_the_field_it_is_kept_in() -> None:
    for order in (Order(), Order("name", False), Order("validation", True)):
        assert Order.read(str(order)) == order


@pytest.mark.parametrize("text", ["", None, "secret desc", "name; DROP TABLE adapter", "name sideways"])
def test_an_order_nobody_offered_is_never_passed_on(text: str | None) -> None:
    assert Order.read(text).sort in view.SORTS


def test_pressing_a_head_twice_turns_the_order_round() -> None:
    once = Order().after("validation")
    assert once == Order("validation", False)
    assert once.after("validation") == Order("validation", True)
    assert once.after("password") == once


def test_the_head_says_how_the_table_is_sorted() -> None:
    markup = view.table([adapter()], Order("validation", False), None, ())
    assert markup.count('aria-sort="ascending"') == 1
    assert 'aria-sort="descending"' not in markup


def test_the_card_names_the_facts_and_hides_what_was_not_measured() -> None:
    whole = view.card(adapter(), [])
    for fact in ("SmolLM2", "pirate-style, 240 rows", "LoRA, r 16, alpha 32", "1.310 at step 80", "19.6 MB", "11 min"):
        assert fact in whole
    assert "9f3c1a…e07b" in whole
    assert 'title="9f3c1a' in whole
    assert "Validation loss" not in view.card(adapter(validation_loss=None), [])
    assert "<dt>Started from</dt><dd>old</dd>" in view.card(adapter(parent_name="old"), [])


def test_rank_alpha_and_targets_are_shown_only_where_they_mean_something() -> None:
    bitfit = adapter(method="Biases only (BitFit)", settings={})
    cells = re.findall(r'<td class="number[^"]*" title="([^"]*)"', view.table([bitfit], Order(), None, ()))
    assert cells[:2] == ["–", "–"]
    card = view.card(bitfit, [])
    assert "Biases only (BitFit)</dd>" in card
    assert "q_proj" not in card
    assert "DoRA, r 16, alpha 32" in view.card(adapter(method="DoRA", settings={"rank": 16, "alpha": 32}), [])


def test_the_count_says_when_rows_are_left_out() -> None:
    assert view.count(3, 3, 3) == "3 adapters"
    assert view.count(12, 12, 96) == "12 of 96"
    assert view.count(200, 1204, 1204) == "The first 200 of 1,204. Search to narrow it down."


def test_on_a_phone_the_method_stays_and_what_only_some_methods_have_goes() -> None:
    spare = {column.sort for column in view.COLUMNS if column.spare}
    assert "method" not in spare
    assert "rank" in spare
    markup = view.table([adapter(method="Biases only (BitFit)", settings={})], Order(), None, ())
    assert re.search(r'<td class="" title="Biases only">Biases only</td>', markup)


def test_a_small_adapter_has_a_size_too() -> None:
    small = adapter(size_bytes=20_480)
    assert "<dt>Size</dt><dd>20 kB</dd>" in view.card(small, [])
    assert 'title="20 kB"' in view.table([small], Order(), None, ())
