"""What the Data tab may ask: answered as plain facts, and refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet
from engine.data.check import read_rows, write_rows
from jobs.ask import Answerer
from studio import data_facts
from studio.data_tab import questions
from studio.page import Studio
from studio.runs_tab import answered
from tests.furnish import add_adapter

pytestmark = pytest.mark.usefixtures("no_runner")

Ask = dict[str, Callable[[object], dict[str, Any]]]
HOSTILE = ["{{name}}", "${7*7}", "<script>hurt()</script>", "![x](http://elsewhere.example/x.png)"]


@pytest.fixture
def ask(store: Store, furnished: tuple[BaseModel, DataSet]) -> Ask:
    studio = Studio(store, cast(Answerer, None), store.files.root)
    return {fn.__name__: answered(fn) for fn in questions(studio)}


def keep(store: Store, rows: list[dict[str, Any]], **facts: Any) -> DataSet:
    """A data set of these rows."""
    with store.files.draft("datasets") as draft:
        content_hash = write_rows(rows, draft.path / "rows.jsonl")
        folder = draft.publish()
    given: dict[str, Any] = {"name": "made", "source": "file", "format": "messages", "rows": len(rows)}
    return store.add_data_set(**given, content_hash=content_hash, folder=folder, facts=facts)


def test_the_newest_set_is_open_first_and_says_where_it_comes_from(store: Store, ask: Ask) -> None:
    detected = {"container": "CSV", "encoding": "utf-8", "delimiter": "comma"}
    facts = {"file": "talk.csv", "columns": {"prompt": "q", "answer": "answer"}, "detected": detected}
    bad = {"total": 250, "first": ["Line 3: the column q is empty."]}
    made = keep(store, [{"text": "one"}], **facts, understood="Read as prompt and completion.", bad=bad)
    state = ask["data_state"]({})
    assert [row["name"] for row in state["rows"]] == ["made", *[data.name for data in store.data_sets()[-2::-1]]]
    assert state["rows"][0]["fact"] == "1 row, 250 skipped"
    opened = state["open"]
    assert (opened["id"], opened["sentence"]) == (made.id, "Read as prompt and completion.")
    assert opened["skipped"] == {"total": 250, "first": ["Line 3: the column q is empty."], "files": []}
    said = dict(opened["facts"])
    assert said["Source"] == "File: talk.csv"
    assert said["Columns"] == "prompt from q, answer"
    assert said["Kind of file"] == "CSV, utf-8, comma"


def test_who_used_a_set_is_told_and_who_still_needs_it_keeps_it(
    store: Store, ask: Ask, furnished: tuple[BaseModel, DataSet]
) -> None:
    base, data = furnished
    store.submit("train", "night run", {}, base_model_id=base.id, data_set_id=data.id)
    add_adapter(store, base, data, "pirate-r4")
    users = ask["data_state"]({"id": data.id})["open"]["users"]
    assert [(run["name"], run["word"]) for run in users["runs"]] == [("night run", "queued")]
    assert [(one["name"], one["word"]) for one in users["adapters"]] == [("pirate-r4", "validation 1.500")]
    assert "pirate-r4" in ask["data_delete"]({"id": data.id})["problem"]
    assert data.id in [row["key"] for row in ask["data_state"]({})["rows"]]


def test_a_set_is_renamed_deleted_and_brought_back(store: Store, ask: Ask) -> None:
    data = store.data_sets()[0]
    assert ask["data_rename"]({"id": data.id, "name": "  Harbour\n talk "}) == {}
    assert ask["data_delete"]({"id": data.id}) == {"id": data.id, "name": "Harbour talk"}
    assert ask["data_state"]({"id": data.id})["open"] is None
    assert ask["data_undo"]({"id": data.id}) == {"id": data.id}
    assert ask["data_state"]({"id": data.id})["open"]["name"] == "Harbour talk"


def test_any_row_is_shown_as_it_is_and_a_long_one_comes_whole_when_asked_for(store: Store, ask: Ask) -> None:
    long = "x" * (data_facts.SHOWN_CHARACTERS + 7)
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": long}]} for text in HOSTILE
    ]
    rows[3]["messages"].insert(1, {"role": "assistant", "content": "no", "weight": 0})
    data = keep(store, rows)
    shown = ask["data_rows"]({"id": data.id, "first": 1, "count": 3})["rows"]
    assert [row["key"] for row in shown] == [1, 2, 3]
    assert [row["pieces"][0]["text"] for row in shown] == HOSTILE[1:]
    assert [piece["learned"] for piece in shown[2]["pieces"]] == [False, False, True]
    assert shown[0]["pieces"][1]["left"] == 7
    (whole,) = ask["data_rows"]({"id": data.id, "first": 0, "count": 1})["rows"]
    assert (whole["pieces"][1]["text"], whole["pieces"][1]["left"]) == (long, 0)


def test_the_rows_are_those_of_the_file(store: Store, ask: Ask) -> None:
    data = store.data_sets()[0]
    kept = read_rows(store.rows_path(data))
    found: list[Any] = []
    for first in range(0, data.rows, 50):
        found += ask["data_rows"]({"id": data.id, "first": first, "count": 50})["rows"]
    assert [[piece["text"] for piece in row["pieces"]] for row in found] == [
        [message["content"] for message in row["messages"]] for row in kept
    ]


@pytest.mark.parametrize(
    "place", [{"first": -1}, {"first": "0"}, {"first": True}, {"count": 51}, {"count": 0}, {"id": 99}]
)
def test_a_question_that_makes_no_sense_is_refused_in_words(store: Store, ask: Ask, place: dict[str, object]) -> None:
    asked = {"id": store.data_sets()[0].id, "first": 0, "count": 1, **place}
    assert ask["data_rows"](asked)["problem"]
    for fn in ask.values():
        assert isinstance(fn(None), dict)


def test_rows_that_are_gone_from_disk_are_told(store: Store, ask: Ask) -> None:
    data = store.data_sets()[0]
    store.rows_path(data).unlink()
    assert ask["data_state"]({"id": data.id})["open"]["here"] is False
    assert "gone from disk" in ask["data_rows"]({"id": data.id, "first": 0, "count": 1})["problem"]


def test_what_is_doubtful_is_looked_for_told_and_left_out_of_a_copy(store: Store, ask: Ask) -> None:
    data = store.data_sets()[0]
    assert ask["data_state"]({"id": data.id})["open"]["checks"] == {"found": None, "job": None}
    job = store.job(ask["data_examine"]({"id": data.id})["examining"])
    assert (job.kind, job.data_set_id, sorted(job.settings)) == ("examine", data.id, ["seed", "validation_share"])
    assert ask["data_state"]({"id": data.id})["open"]["checks"]["job"]["words"] == "queued"
    found = {"exact": {"total": 2, "rows": [[0, 4, 5]]}, "secrets": {"total": 1, "rows": [[7]]}, "near": {"total": 0}}
    store.note_about_data_set(data.id, findings={**found, "overlap": {"total": 1, "rows": [[3, 1]]}})
    told = ask["data_state"]({"id": data.id})["open"]["checks"]["found"]
    assert [(one["key"], one["total"], one["rows"], one["advised"]) for one in told] == [
        ("exact", 2, [4, 5], True),
        ("secrets", 1, [7], False),
        ("overlap", 1, [3], False),
    ]
    refused = ask["data_clean"]({"id": data.id, "fixes": ["overlap", 7]})
    assert "at least one thing to mend" in refused["problem"]
    copy = store.job(ask["data_clean"]({"id": data.id, "fixes": ["secrets", "exact"], "name": ""})["job"])
    assert (copy.kind, copy.settings) == ("clean", {"name": f"{data.name}-clean", "fixes": ["exact", "secrets"]})
    assert [one["name"] for one in ask["data_state"]({})["coming"]] == [copy.name]
