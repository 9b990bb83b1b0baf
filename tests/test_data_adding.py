"""A file that is to become a data set, as the Data tab asks about it: looked at, mapped, added, or thrown away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from engine.data.check import read_rows
from jobs import adding_data
from studio.data_adding import questions
from studio.runs_tab import answered

pytestmark = pytest.mark.usefixtures("no_runner")

Ask = dict[str, Callable[[object], dict[str, Any]]]
STRANGE = "from_them,from_us\nWhat is rain?,Water.\nAnd snow?,Cold water.\n"
MAPPED = {"prompt": "from_them", "answer": "from_us"}


@pytest.fixture
def ask(store: Store) -> Ask:
    return {fn.__name__: answered(fn) for fn in questions(store)}


@pytest.fixture
def uploaded(store: Store) -> Path:
    """A file as Gradio leaves an upload."""
    folder = store.files.root / "uploads" / ("ab" * 32)
    folder.mkdir(parents=True)
    file = folder / "talk.csv"
    file.write_text(STRANGE)
    return file


def test_an_upload_is_mapped_shown_and_added_and_then_gone(store: Store, ask: Ask, uploaded: Path) -> None:
    seen = ask["data_look"]({"upload": str(uploaded)})
    assert (seen["file"], seen["name"], seen["rows"]) == ("talk.csv", "talk", [])
    assert seen["names"] == ["from_them", "from_us"]
    assert "from_them" in seen["problems"][0]
    seen = ask["data_look"]({"upload": seen["upload"], "columns": {**MAPPED, "system": ""}})
    assert [[piece["text"] for piece in row["pieces"]] for row in seen["rows"]] == [
        ["What is rain?", "Water."],
        ["And snow?", "Cold water."],
    ]
    made = ask["data_add"]({"upload": seen["upload"], "columns": MAPPED, "name": " Weather\n "})
    data = store.data_set(made["id"])
    assert (data.name, data.rows, data.facts["columns"]) == ("Weather", 2, MAPPED)
    assert read_rows(store.rows_path(data))[1]["messages"][1]["content"] == "Cold water."
    assert not uploaded.exists()


def test_a_mapping_is_remembered_for_the_next_file_with_these_columns(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text(STRANGE)
    assert ask["data_add"]({"path": str(file), "columns": MAPPED})["id"]
    other = tmp_path / "two.csv"
    other.write_text(STRANGE.replace("rain", "hail"))
    seen = ask["data_look"]({"path": str(other)})
    assert (seen["columns"], seen["mapped"]) == (MAPPED, False)
    assert seen["rows"][0]["pieces"][0]["text"] == "What is hail?"
    assert file.exists()


def test_bad_rows_stop_it_by_line_and_reason_until_they_are_to_be_skipped(
    store: Store, ask: Ask, uploaded: Path
) -> None:
    uploaded.write_text("prompt,completion\n" + "".join(f"{n},{n if n % 2 else ''}\n" for n in range(300)))
    refused = ask["data_add"]({"upload": str(uploaded), "name": "odd"})
    assert refused["total"] == 150
    assert len(refused["problems"]) == 100
    assert refused["problems"][0].startswith("Line 2: ")
    assert store.data_sets() == []
    made = ask["data_add"]({"upload": str(uploaded), "name": "odd", "skip_bad": True})
    assert store.data_set(made["id"]).facts["bad"]["total"] == 150


def test_pasted_rows_are_a_file_like_any_other(store: Store, ask: Ask) -> None:
    seen = ask["data_look"]({"text": json.dumps({"text": "caf\u00e9 {{x}}"}) + "\n"})
    assert seen["rows"][0]["pieces"][0]["text"] == "caf\u00e9 {{x}}"
    made = ask["data_add"]({"upload": seen["upload"], "name": "pasted"})
    assert store.data_set(made["id"]).rows == 1
    assert not Path(seen["upload"]).exists()


def test_a_large_file_becomes_a_job(store: Store, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding_data, "LARGE", 10)
    file = tmp_path / "large.csv"
    file.write_text(STRANGE)
    job = store.job(ask["data_add"]({"path": str(file), "columns": MAPPED, "name": "large"})["job"])
    assert (job.kind, job.name, job.state) == ("data", "large", "queued")


def test_an_upload_that_is_not_wanted_goes_and_nothing_else_can_be_thrown_away(
    store: Store, ask: Ask, uploaded: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(STRANGE)
    (store.files.root / "token").write_text("secret")
    for named in ({"path": str(mine)}, {"upload": str(mine)}, {"upload": f"{uploaded.parent}/../../token"}):
        ask["data_forget"](named)
    assert mine.exists()
    assert (store.files.root / "token").exists()
    assert ask["data_forget"]({"upload": str(uploaded)}) == {}
    assert not uploaded.parent.exists()
    assert "not there any more" in ask["data_look"]({"upload": str(uploaded)})["problem"]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({}, "Say which file"),
        ({"path": "rows.jsonl"}, "rows.jsonl is not a whole path"),
        ({"path": "/nowhere/rows.jsonl"}, "There is no file at /nowhere/rows.jsonl"),
        ({"path": "/a\0b"}, "Say which file"),
        ({"path": 7}, "Say which file"),
        ({"text": " \n"}, "Nothing was pasted"),
        ({"text": "x" * 5_000_001}, "5,000,000 are the most"),
    ],
)
def test_what_is_no_file_is_refused_in_words(ask: Ask, named: dict[str, object], told: str) -> None:
    assert told in ask["data_look"](named)["problem"]
