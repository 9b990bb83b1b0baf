"""Where rows come from, as a column says it: found or mapped, kept with each row, and every source gives its share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import DataSet
from engine.data.check import DataError, read, read_rows
from engine.data.render import encode_all
from engine.data.tokens import store as tokenised
from engine.models import load_tokenizer
from engine.prepared import Portion, held_out
from engine.settings import RunSettings
from jobs import adding_data, examining
from jobs.ending import Ending
from jobs.worker import do
from studio.data_facts import opened
from tests.terminal import Terminal
from tests.workshop import add_rows, shared_tiny_model

Row = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Writes questions whose column of this name is what `value` says of their number."""

    def write(column: str, value: Callable[[int], Any], count: int = 60) -> Path:
        path = tmp_path / "rows.jsonl"
        rows = [
            {"prompt": f"Question {n} of {n * n}?", "completion": f"It is {n * 7919}.", column: value(n)}
            for n in range(count)
        ]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    return write


def poems_and_code(number: int) -> str:
    return "poems" if number % 3 else "code"


@pytest.mark.parametrize("column", ["source", "Dataset", "origin", "category"])
def test_a_column_of_that_name_whose_values_repeat_is_the_source(table: Write, column: str) -> None:
    told = read(table(column, poems_and_code))
    assert told.facts["columns"]["source"] == column
    assert [row["source"] for row in told.rows] == [poems_and_code(n) for n in range(60)]
    assert told.facts["by_source"] == {"column": column, "rows": {"poems": 40, "code": 20}}


@pytest.mark.parametrize("value", [lambda n: f"https://example.org/{n}", lambda n: None, lambda n: ["code"]])
def test_what_is_different_in_each_row_or_no_word_is_none(table: Write, value: Callable[[int], Any]) -> None:
    told = read(table("source", value))
    assert "by_source" not in told.facts
    assert all("source" not in row for row in told.rows)


def test_any_column_can_be_mapped_as_the_source_alone_or_with_others(table: Write) -> None:
    path = table("tongue", lambda n: n % 2)
    both = {"prompt": "prompt", "answer": "completion", "source": "tongue"}
    for columns in ({"source": "tongue"}, both):
        told = read(path, columns=columns)
        assert told.facts["columns"] == both
        assert told.facts["by_source"]["rows"] == {"0": 30, "1": 30}
    with pytest.raises(DataError, match=r"There is no column tounge\. There are prompt, completion, tongue\."):
        read(path, columns={"source": "tounge"})


def aside(store: Store, data: DataSet) -> list[Counter[str]]:
    """From which sources the rows are that runs of several seeds keep aside."""
    rows = read_rows(store.rows_path(data))
    tokens = tokenised(encode_all(load_tokenizer(shared_tiny_model()), rows, 256))
    lines = (held_out([Portion(tokens)], RunSettings(validation_share=0.1, seed=seed)) for seed in range(5))
    return [Counter(rows[number].get("source", "") for number in numbers) for numbers in lines]


def test_every_source_gives_its_share_of_the_rows_that_are_measured_on(store: Store, table: Write) -> None:
    data = adding_data.add_now(store, table("category", poems_and_code), "both")
    assert aside(store, data) == [{"poems": 4, "code": 2}] * 5
    facts = dict(opened(data, 1)["facts"])
    assert facts["Sources"] == "by category: poems 40, code 20; each gives its share of the validation rows"
    assert "source from category" in facts["Columns"]


def test_more_values_than_sources_can_have_part_nothing_and_the_card_says_so(store: Store, table: Write) -> None:
    path = table("source", lambda n: "first" if n < 100 else f"site {n}", 240)
    data = adding_data.add_now(store, path, "many")
    assert data.facts["by_source"] == {"column": "source", "rows": {}}
    assert dict(opened(data, 1)["facts"])["Sources"] == "the column source has too many values to split by"
    tokens = tokenised(encode_all(load_tokenizer(shared_tiny_model()), read_rows(store.rows_path(data)), 256))
    assert set(tokens.sources.tolist()) == {0}


@pytest.mark.usefixtures("no_runner")
def test_a_cleaned_copy_keeps_the_sources_and_counts_them_anew(store: Store, table: Write) -> None:
    path = table("category", poems_and_code)
    copy = json.loads(path.read_text().splitlines()[0]) | {"category": "poems"}
    path.write_text(f"{path.read_text()}{json.dumps(copy)}\n")
    data = adding_data.add_now(store, path, "both")
    assert data.facts["by_source"]["rows"] == {"poems": 41, "code": 20}
    job = examining.clean(store, data, ["exact"], "clean")
    do(store, job.id, Ending())
    cleaned = store.data_set(store.job(job.id).progress["data_set"])
    assert cleaned.facts["by_source"] == {"column": "category", "rows": {"poems": 40, "code": 20}}
    assert aside(store, cleaned) == [{"poems": 4, "code": 2}] * 5
    assert aside(store, add_rows(store, 20)) == [{"": 2}] * 5


def test_check_prints_the_sources_and_takes_a_column_for_them(data_dir: Path, store: Store, table: Write) -> None:
    terminal, path = Terminal(data_dir), table("tongue", lambda n: "de" if n % 2 else "en")
    assert terminal.json("data", "check", str(path))["sources"] is None
    told = terminal.json("data", "check", str(path), "--map", "source=tongue")
    assert told["sources"] == {"column": "tongue", "rows": {"en": 30, "de": 30}}
    assert told["mapping"] == {"prompt": "prompt", "answer": "completion", "source": "tongue"}
