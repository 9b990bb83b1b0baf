"""Files that become data sets: at once or as a job, with bad rows or without, and with columns that a person mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import DataSet, Job
from engine.data import check
from engine.data.check import DataError, read_rows
from jobs import adding_data
from jobs.ending import Ended, Ending
from jobs.progress import job_sentence
from jobs.worker import do
from tests.workshop import wait_for

pytestmark = pytest.mark.usefixtures("no_runner")

GOOD, BAD = {"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": ""}
MAPPING = {"prompt": "frage", "answer": "antwort"}


def lines(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def added(*given: Any, **more: Any) -> DataSet:
    made = adding_data.add(*given, **more)
    assert isinstance(made, DataSet)
    return made


def queued(store: Store, path: Path, **more: Any) -> Job:
    made = adding_data.add(store, path, "large", **more)
    assert isinstance(made, Job)
    return made


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding_data, "LARGE", 0)


def test_bad_rows_stop_it_or_are_skipped_and_counted_exactly(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [GOOD, *[BAD] * 250, GOOD])
    with pytest.raises(DataError) as error:
        adding_data.add(store, path, "rows")
    assert (len(error.value.problems), error.value.total) == (100, 250)
    assert store.data_sets() == []
    data = added(store, path, "rows", skip_bad=True)
    assert (data.rows, len(read_rows(store.rows_path(data)))) == (2, 2)
    assert data.facts["bad"]["total"] == 250
    assert data.facts["bad"]["first"][0] == "Line 2: the column completion is empty."
    assert len(data.facts["bad"]["first"]) == 100


def test_a_file_without_a_usable_row_is_refused_even_if_bad_ones_may_be_skipped(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        adding_data.add(store, lines(tmp_path / "rows.jsonl", [BAD] * 3), "rows", skip_bad=True)
    assert error.value.total == 3
    assert store.data_sets() == []
    assert not any(store.files.temporary.iterdir())


def test_a_mapping_is_remembered_for_files_with_the_same_columns_and_for_no_others(
    store: Store, tmp_path: Path
) -> None:
    row = {"frage": "Wo?", "antwort": "Dort."}
    first = lines(tmp_path / "first.jsonl", [row])
    assert adding_data.preview(store, first).rows is None
    seen = adding_data.preview(store, first, MAPPING)
    assert (seen.columns, seen.column_names) == (MAPPING, ["frage", "antwort"])
    assert adding_data.preview(store, first).rows is None, "looking is not choosing"
    data = added(store, first, "first", MAPPING)
    assert data.facts["understood"] == "Read as you mapped it: prompt from frage, answer from antwort."

    second = lines(tmp_path / "second.jsonl", [{"antwort": "Ich.", "frage": "Wer?"}])
    assert adding_data.preview(store, second).columns == MAPPING
    assert read_rows(store.rows_path(added(store, second, "second")))[0]["messages"][1]["content"] == "Ich."
    with pytest.raises(DataError, match="not understood"):
        adding_data.add(store, lines(tmp_path / "third.jsonl", [row | {"ton": "x"}]), "third")
    with pytest.raises(DataError, match="not understood"):
        adding_data.add(store, second, "found out anew", {})


def test_an_upload_stays_when_it_is_refused_and_is_removed_when_it_was_used(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [GOOD, BAD])
    with pytest.raises(DataError):
        adding_data.add(store, path, "rows", upload=True)
    assert path.exists()
    added(store, path, "rows", skip_bad=True, upload=True)
    assert not path.exists()


@pytest.mark.usefixtures("everything_is_large")
def test_a_large_file_is_added_by_a_job_that_tells_how_far_it_is(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [{**GOOD, "prompt": f"q{n}"} for n in range(2000)])
    job = queued(store, path, upload=True)
    assert not path.exists()
    assert store.data_sets() == []
    assert do(store, job.id, Ending()) == 0
    done = store.job(job.id)
    assert (done.kind, done.state, done.why) == ("data", "completed", "")
    data = store.data_set(done.progress["data_set"])
    assert (data.name, data.rows, data.facts["file"]) == ("large", 2000, "rows.jsonl")
    assert 0 < done.progress["done_bytes"] <= done.progress["total_bytes"]
    assert not any(store.files.temporary.iterdir())


@pytest.mark.usefixtures("everything_is_large")
def test_what_is_wrong_with_a_large_file_is_said_at_once_or_by_its_job(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not understood"):
        adding_data.add(store, lines(tmp_path / "strange.jsonl", [{"a": "x"}]), "strange")
    job = queued(store, lines(tmp_path / "rows.jsonl", [GOOD, *[BAD] * 5]))
    do(store, job.id, Ending())
    failed = store.job(job.id)
    assert failed.state == "failed"
    assert failed.why.startswith("Line 2: the column completion is empty. Line 3:")
    assert failed.why.endswith("And 2 more.")
    assert "Line 2" in job_sentence(failed)


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("asked_for", ["", "cancel"])
def test_an_interrupted_job_keeps_its_upload_and_can_be_started_again_a_cancelled_one_does_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_for: str
) -> None:
    job = queued(store, lines(tmp_path / "rows.jsonl", [GOOD]), upload=True)
    upload, called_off, ending = Path(job.settings["path"]), [], Ending()

    def ended(*given: object) -> None:
        if asked_for:
            store.request_stop(job.id, "cancel")
            wait_for(lambda: called_off)
        raise Ended

    monkeypatch.setattr(ending, "call_off", lambda: called_off.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(check, "write_rows", ended)
        assert do(store, job.id, ending) == 0
    assert store.job(job.id).state == ("cancelled" if asked_for else "interrupted")
    assert upload.exists() is not bool(asked_for)
    assert store.data_sets() == []
    if not asked_for:
        store.move(job.id, "queued", who="person")
        do(store, job.id, Ending())
        assert store.job(job.id).state == "completed"
        assert not upload.parent.exists()


def test_editing_the_file_later_changes_nothing_that_was_added(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [GOOD])
    data = added(store, path, "rows")
    lines(path, [{"prompt": "other", "completion": "words"}])
    assert read_rows(store.rows_path(data))[0]["messages"][0]["content"] == "q"
    path.unlink()
    assert store.files.problems("datasets", data.folder) == []


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("folder", [False, True])
def test_a_large_file_that_is_edited_while_its_job_waits_is_not_added(
    store: Store, tmp_path: Path, folder: bool
) -> None:
    path = lines(tmp_path / "rows.jsonl", [GOOD])
    job = queued(store, tmp_path if folder else path)
    lines(path, [GOOD, GOOD])
    do(store, job.id, Ending())
    assert store.job(job.id).state == "failed"
    assert "was changed after it was chosen, so nothing was added." in (store.job(job.id).why or "")
    assert store.data_sets() == []
