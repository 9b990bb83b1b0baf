"""Checkpoints: the last two of a run are kept, they outlive an interruption, and go when the run has ended for good."""

import os
import sqlite3
from pathlib import Path

import pytest

from adapters_store.states import FINAL
from adapters_store.store import Checkpoint, Job, LeaseLost, Owner, Store

ME = Owner(101, 1000.5, "boot-a")


def running(store: Store) -> Job:
    job = store.claim(store.submit("train", "run", {}).id, ME)
    assert job is not None
    return store.move(job.id, "running", who="test")


def published(store: Store) -> str:
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        return draft.publish()


def keep(store: Store, job: Job, step: int) -> Checkpoint:
    """A checkpoint of `step`, and a metric of it and of the step after it."""
    metrics = [{"step": s, "loss": 1.0 / s} for s in (step, step + 1)]
    store.report(job.id, job.token, metrics=metrics, progress={"step": step + 1, "steps": 90, "loss": 0.5})
    return store.add_checkpoint(job.id, job.token, step=step, folder=published(store))


def steps(store: Store, job: Job) -> list[int]:
    return [checkpoint.step for checkpoint in store.checkpoints(job.id)]


def folders(store: Store) -> list[Path]:
    return sorted((store.files.root / "checkpoints").iterdir())


def test_the_last_two_checkpoints_of_each_run_are_kept_and_no_more(store: Store) -> None:
    one, other = running(store), running(store)
    for step in (3, 6, 9):
        keep(store, one, step)
        keep(store, other, step + 1)
    assert (steps(store, one), steps(store, other)) == ([9, 6], [10, 7])
    assert folders(store) == sorted(store.checkpoint_path(row) for row in store.checkpoints())
    assert store.job(one.id).checkpoint_step == 9
    assert list((store.files.root / "temp").iterdir()) == []
    assert list((store.files.root / "trash").iterdir()) == []


def test_the_same_folder_again_is_the_same_checkpoint(store: Store) -> None:
    job = running(store)
    row = keep(store, job, 3)
    assert store.add_checkpoint(job.id, job.token, step=3, folder=row.folder).id == row.id
    assert steps(store, job) == [3]


def test_a_worker_that_lost_its_job_keeps_no_checkpoint_and_rewinds_nothing(store: Store) -> None:
    job = running(store)
    keep(store, job, 3)
    with pytest.raises(LeaseLost):
        store.add_checkpoint(job.id, job.token - 1, step=6, folder=published(store))
    with pytest.raises(LeaseLost):
        store.rewind(job.id, job.token - 1, None)
    assert steps(store, job) == [3]
    assert [m.step for m in store.metrics(job.id)] == [3, 4]


@pytest.mark.parametrize("end", sorted(FINAL))
def test_a_run_that_has_ended_for_good_needs_its_checkpoints_no_more(store: Store, end: str) -> None:
    job, other = running(store), running(store)
    keep(store, job, 3)
    keep(store, other, 3)
    if end in ("completed", "stopped"):
        store.move(job.id, "finishing", who="test")
    store.move(job.id, end, who="test")
    assert (steps(store, job), steps(store, other)) == ([], [3])
    assert len(folders(store)) == 1


def test_an_interrupted_run_goes_back_to_its_newest_checkpoint_when_it_is_queued_again(store: Store) -> None:
    job = running(store)
    for step in (3, 6):
        keep(store, job, step)
    store.move(job.id, "interrupted", who="runner", why="killed")
    again = store.move(job.id, "queued", who="person")
    assert (again.checkpoint_step, again.progress, again.owner) == (6, {"step": 6, "steps": 90}, None)
    assert [m.step for m in store.metrics(job.id)] == [3, 4, 6]
    assert steps(store, job) == [6, 3]


def test_a_run_taken_back_forgets_what_came_later(store: Store) -> None:
    job = running(store)
    for step in (3, 6):
        keep(store, job, step)
    store.rewind(job.id, job.token, 3)
    assert steps(store, job) == [3]
    assert [m.step for m in store.metrics(job.id)] == [3]
    assert store.job(job.id).progress == {"step": 3, "steps": 90}
    store.rewind(job.id, job.token, None)
    assert (steps(store, job), store.metrics(job.id), store.job(job.id).progress, folders(store)) == ([], [], {}, [])


@pytest.mark.parametrize("way", ["queued", "interrupted"])
def test_a_run_that_is_not_to_be_continued_leaves_nothing(store: Store, way: str) -> None:
    job = running(store)
    keep(store, job, 3)
    store.move(job.id, "interrupted", who="runner")
    if way == "queued":
        store.move(job.id, "queued", who="person")
    assert store.request_stop(job.id, "cancel").state == "cancelled"
    assert folders(store) == []


def test_a_checkpoint_without_a_row_is_deleted_unless_a_run_may_be_about_to_list_it(store: Store) -> None:
    job = running(store)
    keep(store, job, 3)
    stray = store.files.path("checkpoints", published(store))
    assert store.orphans() == [stray]
    store.discard_stray_checkpoints()
    assert stray.exists()
    store.move(job.id, "interrupted", who="runner")
    store.discard_stray_checkpoints()
    assert store.orphans() == []
    assert folders(store) == [store.checkpoint_path(store.checkpoints()[0])]


def test_a_folder_that_cannot_be_deleted_does_not_undo_what_was_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(store)
    keep(store, job, 3)

    def refuse(*_: object) -> None:
        raise PermissionError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(store.files, "discard", refuse)
        assert store.move(job.id, "failed", who="test").state == "failed"
    assert len(folders(store)) == 1
    store.discard_stray_checkpoints()
    assert folders(store) == []


def test_a_checkpoint_always_belongs_to_a_run(store: Store) -> None:
    with sqlite3.connect(store.files.database) as library:
        library.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError):
            library.execute("INSERT INTO checkpoint VALUES (1, 99, 1, 'aaaa', 1.0, 0)")
    library.close()


def test_discarding_is_for_good_and_safe_to_do_twice(store: Store) -> None:
    key = published(store)
    for _ in range(2):
        store.files.discard("checkpoints", key)
    assert not os.path.lexists(store.files.path("checkpoints", key))
    assert list((store.files.root / "trash").iterdir()) == []
