"""Pinned checkpoints: they outlast newer ones, the end of their run and `disk --free`, until they are unpinned."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters_store.states import FINAL
from adapters_store.store import Job, NotFound, Store
from adapters_store.tables import BaseModel, Checkpoint, DataSet
from engine.checkpoint import CheckpointError
from engine.settings import RunSettings
from jobs import process
from jobs.ask import Answerer
from jobs.checkpoints import Checkpoints
from jobs.progress import cancelled
from studio import contestants, disk, doctor
from studio.page import Studio
from studio.runs_tab import answered, questions
from tests.terminal import Terminal
from tests.test_doctor import flip_a_bit
from tests.test_store_checkpoints import published, running, steps


def kept(store: Store, job: Job, *at: int) -> list[Checkpoint]:
    return [store.add_checkpoint(job.id, job.token, step=step, folder=published(store)) for step in at]


def end(store: Store, job: Job, state: str) -> None:
    if state in ("completed", "stopped"):
        store.move(job.id, "finishing", who="test")
    store.move(job.id, state, who="test")


def ask(store: Store, name: str, **question: object) -> dict[str, Any]:
    studio = Studio(store, cast(Answerer, None), store.files.root)
    return {fn.__name__: answered(fn) for fn in questions(studio)}[name](question)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_pinned_checkpoint_outlasts_newer_ones_and_the_end_of_its_run(store: Store, state: str) -> None:
    job, other = running(store), running(store)
    first, _ = kept(store, job, 3, 6)
    assert store.pin_checkpoint(first.id, True)
    kept(store, job, 9, 12)
    kept(store, other, 3)
    assert (steps(store, job), store.job(job.id).checkpoint_step, store.job(job.id).pinned) == ([12, 9, 3], 12, 1)
    end(store, job, state)
    disk.free(store)
    assert (steps(store, job), steps(store, other)) == ([3], [3])
    assert store.checkpoint_path(first).is_dir()
    assert all(found.level == "ok" for found in doctor.run(store).findings if found.check in ("checkpoints", "orphans"))


def test_an_unpinned_checkpoint_goes_as_others_do(store: Store) -> None:
    job = running(store)
    first, second = kept(store, job, 3, 6)
    for row in (first, second):
        store.pin_checkpoint(row.id, True)
    assert store.pin_checkpoint(second.id, False)  # one of the last two
    kept(store, job, 9, 12)
    assert steps(store, job) == [12, 9, 3]
    assert not store.pin_checkpoint(first.id, False)
    (_, last) = kept(store, job, 15, 18)
    store.pin_checkpoint(last.id, True)
    end(store, job, "failed")
    assert store.files.published("checkpoints") == [last.folder]
    assert not store.pin_checkpoint(last.id, False)
    assert store.files.published("checkpoints") == []
    with pytest.raises(NotFound, match="This checkpoint is gone"):
        store.pin_checkpoint(last.id, True)
    told = [event.why for event in store.job_events(job.id) if event.why]
    assert told == [f"{word} the checkpoint of step {step}" for word, step in TOLD]


TOLD = (("pinned", 3), ("pinned", 6), ("unpinned", 6), ("unpinned", 3), ("pinned", 18), ("unpinned", 18))


def test_a_run_that_went_back_behind_a_pinned_checkpoint_does_not_go_on_from_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(store)
    _, pinned = kept(store, job, 3, 6)
    store.pin_checkpoint(pinned.id, True)
    store.rewind(job.id, job.token, 3)
    kept(store, job, 4)
    job = store.job(job.id)
    assert (steps(store, job), job.checkpoint_step) == ([4, 6, 3], 4)
    device, rows = SimpleNamespace(kind="cpu", name="CPU"), SimpleNamespace(copies=0, regrouped=0)
    lease = cast(Any, SimpleNamespace(job=job))
    checkpoints = Checkpoints(store, lease, RunSettings(), None, cast(Any, device), cast(Any, rows))
    tried = []

    def damaged(self: Checkpoints, row: Checkpoint) -> None:
        tried.append(row.step)
        raise CheckpointError("damaged")

    monkeypatch.setattr(Checkpoints, "_read", damaged)
    assert checkpoints.newest() is None
    assert tried == [4, 3]


def test_the_page_shows_checkpoints_and_pins_them(store: Store) -> None:
    job = running(store)
    kept(store, job, 3, 6)
    first, second = ask(store, "runs_state", job=job.id)["open"]["checkpoints"]
    assert first == {"key": first["key"], "step": 3, "pinned": False, "goes": False}
    assert ask(store, "pin_checkpoint", checkpoint=first["key"], on=True) == {}
    end(store, job, "completed")
    assert ask(store, "runs_state", job=job.id)["open"]["checkpoints"] == [{**first, "pinned": True, "goes": True}]
    assert "is gone" in ask(store, "pin_checkpoint", checkpoint=second["key"], on=True)["problem"]
    for number, on in ((None, True), (True, True), ("1", True), (0, True), (2**70, True), (first["key"], "no")):
        assert "problem" in ask(store, "pin_checkpoint", checkpoint=number, on=on)
    assert steps(store, job) == [3]


def test_a_command_pins_and_all_that_lets_go_says_what_stays(store: Store, data_dir: Path, no_runner: None) -> None:
    job, terminal = running(store), Terminal(data_dir)
    kept(store, job, 3, 6)
    refused = terminal.run("jobs", "pin", str(job.id), "4")
    assert (refused.returncode, "no checkpoint of step 4. Kept ones: 3, 6." in refused.stderr) == (2, True)
    assert terminal.json("jobs", "pin", str(job.id), "3")["kept"] is True
    shown = terminal.json("jobs", "show", str(job.id))["checkpoints"]
    assert [(one["step"], one["pinned"]) for one in shown] == [(3, True), (6, False)]
    assert "3 (pinned), 6" in terminal.run("jobs", "show", str(job.id)).stdout
    assert "1 pinned checkpoint (" in terminal.run("disk", "--free").stdout
    store.move(job.id, "interrupted", who="test")
    said = terminal.run("jobs", "stop", str(job.id), "--cancel").stdout
    assert said.strip() == "Not to be continued. Nothing was kept; its pinned checkpoints stay."
    assert cancelled("train", pinned=1) == "Cancelled. Nothing was kept; its pinned checkpoints stay."
    assert (
        terminal.run("jobs", "unpin", str(job.id), "3").stdout.strip()
        == "Step 3 of run is not pinned any more and is deleted."
    )
    assert (store.files.published("checkpoints"), disk.pinned(store)) == ([], "")


def test_damage_to_a_pinned_checkpoint_is_a_fault_as_nothing_else_has_it(store: Store) -> None:
    job = store.claim(store.submit("train", "night", {}).id, process.identify())
    assert job is not None
    (row,) = kept(store, store.move(job.id, "running", who="test"), 3)
    store.pin_checkpoint(row.id, True)
    flip_a_bit(store.checkpoint_path(row) / "checkpoint.json")
    (fault,) = doctor.run(store).faults
    assert fault.says.startswith(f"Pinned, of step 3 of job {job.id}: checkpoint.json has changed")
    assert fault.mend.endswith(f"python -m studio jobs unpin {job.id} 3")


def test_a_pinned_checkpoint_of_an_ended_run_is_a_contestant(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    base, data = furnished
    queued = store.submit("train", "long", {"rank": 4}, base_model_id=base.id, data_set_id=data.id)
    job = store.claim(queued.id, process.identify())
    assert job is not None
    (row,) = kept(store, job, 40)
    store.pin_checkpoint(row.id, True)
    end(store, job, "failed")
    offered = {label: one.value for label, one in contestants.offered(store)}
    assert offered["long at step 40 (checkpoint)"] == f"checkpoint-{row.id}"
    store.pin_checkpoint(row.id, False)
    assert contestants.find(store, f"checkpoint-{row.id}") is None
