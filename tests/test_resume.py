"""A run that was killed or told to end goes on from its checkpoint, and leaves what it would have left anyway.

pytest tests/test_resume.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from adapters_store.states import FINAL
from adapters_store.store import Store
from adapters_store.tables import Job, Metric
from engine import checkpoint, models
from engine.prepared import Prepared
from engine.settings import parse
from jobs import checkpoints, process
from jobs.ending import Ended, Ending
from jobs.worker import do
from studio.run_facts import opened
from tests.workshop import add_base, add_rows, submit_run, wait_for

pytestmark = pytest.mark.usefixtures("one_thread_each", "forked")

# Dropout, shuffling, several epochs, micro-batches, and nine steps.
VALUES = {"dropout": 0.1, "epochs": 3, "batch_size": 8, "micro_batch": 3, "rank": 2}
PLAIN = {"rank": 16, "alpha": 32, "dropout": 0}  # for methods that these mean nothing to


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "0")


class AfterChecks(Ending):
    """The end of a worker, asked for like a signal does when it was looked for so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def check(self) -> None:
        self._looks -= 1
        if self._looks < 0:
            self.signal = "SIGTERM"
            raise Ended


def interrupted(store: Store, looks: int = 15, **values: object) -> Job:
    """A run that was told to end in the middle of it, in this process."""
    job = submit_run(store, **{**VALUES, **values})
    do(store, job.id, AfterChecks(looks))
    ended = store.job(job.id)
    assert ended.state == "interrupted", ended.why
    return ended


def finish(store: Store, job: Job) -> Job:
    """Queue it again and do it to its end, in this process."""
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    done = store.job(job.id)
    assert done.state == "completed", done.why
    return done


def whole(store: Store, **values: object) -> Job:
    """The same run, by which nobody came."""
    job = submit_run(store, **{**VALUES, **values})
    do(store, job.id, Ending())
    return store.job(job.id)


def left(store: Store, job: Job) -> tuple[bytes, dict[str, object], list[tuple[object, ...]]]:
    """All that a run leaves and that does not tell the time."""
    adapter = store.adapter(job.adapter_id or 0)
    folder = store.adapter_path(adapter)
    (config,) = (json.loads(path.read_text()) for path in folder.glob("*adapter*.json"))
    return (folder / "adapter_model.safetensors").read_bytes(), config, [measured(m) for m in store.metrics(job.id)]


def measured(m: Metric) -> tuple[object, ...]:
    return m.step, m.loss, m.validation_loss, m.learning_rate, m.gradient_norm, m.tokens


def reached(store: Store, job_id: int, goal: int) -> int | None:
    """The step of the newest checkpoint, once it is `goal` or later."""
    job = store.job(job_id)
    assert job.state not in FINAL, f"the job is {job.state}: {job.why}"
    return job.checkpoint_step if (job.checkpoint_step or 0) >= goal else None


def damage(store: Store, job: Job) -> int:
    """Flip a bit of the newest checkpoint; the step it was of."""
    newest = store.checkpoints(job.id)[0]
    file = store.checkpoint_path(newest) / checkpoint.TENSORS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return newest.step


# --- real worker processes ----------------------------------------------------------------------------------------


def test_a_run_killed_at_random_steps_leaves_the_adapter_of_a_run_that_was_not(
    store: Store, workers: list[subprocess.Popen[bytes]]
) -> None:
    calm, job = whole(store, epochs=10), submit_run(store, **{**VALUES, "epochs": 10})
    step = 0
    for _ in range(2):
        goal = step + random.randint(2, 5)
        command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
        workers.append(process.start_detached(command, store.files.log(f"job-{job.id}")))
        step = wait_for(lambda goal=goal: reached(store, job.id, goal), 90, f"step {goal}")  # type: ignore[misc]
        workers[-1].send_signal(signal.SIGKILL)
        workers[-1].wait()
        store.move(job.id, "interrupted", who="runner", why="killed by signal 9")
        store.move(job.id, "queued", who="runner")
    store.discard_stray_checkpoints()
    do(store, job.id, Ending())
    done = store.job(job.id)
    assert (done.state, done.attempt) == ("completed", 3)
    assert done.progress["resumed"] == f"Continued from step {done.progress['resumed_from']}."
    assert done.progress["resumed_from"] >= step
    assert left(store, done) == left(store, calm)
    assert list((store.files.root / "checkpoints").iterdir()) == []


def test_a_worker_that_is_told_to_end_keeps_the_last_whole_step(
    store: Store, workers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "3600")
    job = submit_run(store, **{**VALUES, "epochs": 500})
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    workers.append(process.start_detached(command, store.files.log(f"job-{job.id}")))
    wait_for(lambda: store.job(job.id).progress.get("step", 0) >= 3, 90, "some steps")
    assert store.checkpoints() == []
    for _ in range(5):
        workers[-1].send_signal(signal.SIGTERM)
    assert workers[-1].wait(20) == 0
    ended = store.job(job.id)
    assert ended.state == "interrupted"
    (kept,) = store.checkpoints(job.id)
    assert ended.why == f"The worker was asked to end (SIGTERM). Continue it from step {kept.step}."
    assert [m.step for m in store.metrics(job.id)] == list(range(kept.step + 1))


# --- in this process ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"validation_share": 0}, {"method": "norms", **PLAIN}])
def test_a_run_told_to_end_in_the_middle_of_a_step_goes_on_as_if_it_had_not_been(
    store: Store, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "3600")  # so only the one that is written at the end
    job = interrupted(store, **values)
    step = job.checkpoint_step or 0
    assert 0 < step < job.progress["steps"]
    done, calm = finish(store, job), whole(store, **values)
    assert left(store, done) == left(store, calm)
    assert done.progress["resumed"] == f"Continued from step {step}."
    one, other = store.adapter(done.adapter_id or 0), store.adapter(calm.adapter_id or 0)
    facts = ("training_loss", "validation_loss", "base_validation_loss", "best_step", "steps")
    assert [getattr(one, name) for name in facts] == [getattr(other, name) for name in facts]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_the_cost_is_told(store: Store) -> None:
    job = interrupted(store)
    newest, before = (row.step for row in store.checkpoints(job.id))
    assert damage(store, job) == newest
    done = finish(store, job)
    said = done.progress["resumed"]
    assert f"The checkpoint of step {newest} cannot be used: {checkpoint.TENSORS} has changed" in said
    assert f"Continued from step {before}. {newest - before} step" in said
    assert left(store, done) == left(store, whole(store))


def test_what_came_after_the_checkpoint_that_is_used_is_forgotten_before_the_run_goes_on(store: Store) -> None:
    job = interrupted(store)
    damage(store, job)
    before = store.checkpoints(job.id)[1].step
    store.move(job.id, "queued", who="person")
    do(store, job.id, AfterChecks(3))  # not one step further
    assert [m.step for m in store.metrics(job.id)] == list(range(before + 1))
    assert [row.step for row in store.checkpoints(job.id)] == [before]
    assert store.files.published("checkpoints") == [store.checkpoints(job.id)[0].folder]


def test_without_a_checkpoint_that_can_be_used_a_run_begins_again_and_says_so(store: Store) -> None:
    job = interrupted(store)
    for row in store.checkpoints(job.id):
        (store.checkpoint_path(row) / checkpoint.FACTS).unlink()
    done = finish(store, job)
    assert f"Began again at the first step. {job.checkpoint_step} steps are trained again." in done.progress["resumed"]
    assert left(store, done) == left(store, whole(store))


def test_a_checkpoint_of_a_run_set_up_otherwise_is_not_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.set_up
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "set_up", lambda *given: {**real(*given), "data": "of other rows"})
        job = interrupted(store)
    assert "Settings, data or base model of the run were others" in finish(store, job).progress["resumed"]


def test_only_rows_that_moved_the_line_or_a_mixture_make_a_run_another_than_of_earlier_versions(store: Store) -> None:
    job, other = submit_run(store), add_rows(store, 12)
    mixed = store.submit(
        "train",
        "mixed",
        job.settings,
        base_model_id=job.base_model_id,
        data_set_id=job.data_set_id,
        mixture=[(job.data_set_id or 0, 1.0), (other.id, 0.5)],
    )

    def set_up(of: Job, **rows: object) -> dict[str, Any]:
        known = {"copies": 0, "regrouped": False, **rows}
        return checkpoints.set_up(of, parse(job.settings), None, cast(Prepared, SimpleNamespace(**known)))

    plain = set_up(job)
    assert set(plain) == {"settings", "data", "base", "start"}
    assert set(set_up(job, copies=3)) - set(plain) == {"split"}
    assert set(set_up(job, regrouped=True)) - set(plain) == {"near"}
    assert [weight for _, weight in set_up(mixed)["mixture"]] == [1.0, 0.5]
    assert set(set_up(mixed)) - set(plain) == {"mixture"}


def test_a_run_on_a_mixture_goes_on_as_if_it_had_not_been_interrupted(store: Store) -> None:
    mixture = [(add_rows(store, 24).id, 0.5), (add_rows(store, 11).id, 2.0)]
    values = {"base": add_base(store), "mixture": mixture}
    job = interrupted(store, **values)
    assert 0 < (job.checkpoint_step or 0) < job.progress["steps"]
    done, calm = finish(store, job), whole(store, **values)
    assert left(store, done) == left(store, calm)
    assert [(one.data_set.rows, one.weight) for one in store.adapter(done.adapter_id or 0).mixture] == [
        (24, 0.5),
        (11, 2.0),
    ]


def test_where_the_machine_differs_a_run_says_that_it_may_not_be_bit_equal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        job = interrupted(store)
    said = finish(store, job).progress["resumed"]
    assert "may not be bit-equal to a run without the interruption: the number of threads (7 then, 1 now)." in said


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, state: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    done = whole(store, epochs=1)
    assert done.state == "completed"
    assert done.progress["checkpoint_problem"] == (
        "An interruption would cost all steps since step 0: no checkpoint could be written. "
        "The disk is full. Delete files that are not needed any more, such as merged models, and try again. "
        "Deleted adapters leave the disk after a week."
    )
    assert list((store.files.root / "temp").iterdir()) == []


def test_what_can_be_mended_does_not_cost_a_run_its_checkpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = interrupted(store)
    with monkeypatch.context() as patch:
        patch.setattr(models, "fingerprint", lambda path: "another")
        store.move(job.id, "queued", who="person")
        do(store, job.id, Ending())
    again = store.job(job.id)
    assert (again.state, again.checkpoint_step) == ("interrupted", job.checkpoint_step)
    assert "have changed since it was added" in again.why
    assert again.why.endswith(f"Continue it from step {job.checkpoint_step}.")
    assert finish(store, job).progress["resumed"] == f"Continued from step {job.checkpoint_step}."


def test_a_run_whose_gradient_is_no_number_keeps_its_last_finite_step_and_shows_the_break(store: Store) -> None:
    job = submit_run(store, **VALUES)
    broken = torch.nn.utils.clip_grad_norm_
    steps = iter(range(99))

    def overflow(*given: object, **named: object) -> torch.Tensor:
        norm = broken(*given, **named)  # type: ignore[arg-type]
        return norm * float("nan") if next(steps) == 3 else norm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", overflow)
        do(store, job.id, Ending())
    failed = store.job(job.id)
    assert (failed.state, failed.why.partition(":")[0]) == ("failed", "Stopped at step 4")
    assert "What it had learned by step 3 is kept as a checkpoint" in failed.why
    (kept,) = store.checkpoints(job.id)
    assert (kept.step, kept.pinned) == (3, True)
    tensors = checkpoint.read(store.checkpoint_path(kept)).tensors
    assert all(torch.isfinite(t).all() for group in ("trained", "optimizer") for t in tensors[group].values())
    assert [m.loss is None for m in store.metrics(job.id, after_step=0)] == [False, False, False, True]
    assert opened(failed)["broke"] == 4


def test_a_cancelled_run_keeps_no_checkpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_run(store, **VALUES)
    real = checkpoints.Checkpoints.keep

    def then_cancel(self: checkpoints.Checkpoints, *given: object) -> None:
        real(self, *given)  # type: ignore[arg-type]
        store.request_stop(job.id, "cancel")
        wait_for(lambda: self._lease.stop == "cancel", 5, "the wish")

    monkeypatch.setattr(checkpoints.Checkpoints, "keep", then_cancel)
    ending = Ending()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ending.listen()
    try:
        do(store, job.id, ending)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert store.job(job.id).state == "cancelled"
    assert list((store.files.root / "checkpoints").iterdir()) == []


def test_a_crash_costs_a_minute_at_most_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORA_STUDIO_CHECKPOINT_SECONDS")
    assert checkpoints.every() == 60
    for asked, seconds in (("5", 5), ("-1", 0), ("often", 60)):
        os.environ["LORA_STUDIO_CHECKPOINT_SECONDS"] = asked
        assert checkpoints.every() == seconds
