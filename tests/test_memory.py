"""Memory that is too small for a run: it goes on with half the rows at once, and says so; or tells what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from adapters_store.store import Store
from adapters_store.tables import Job
from engine.passes import Passes
from jobs.ending import Ending
from jobs.queue import SPARE_MEMORY
from jobs.worker import do
from tests.workshop import submit_run

pytestmark = pytest.mark.usefixtures("one_thread_each")

VALUES = {"epochs": 1, "batch_size": 8, "micro_batch": 8, "dropout": 0.1}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "0")


def too_small(patch: pytest.MonkeyPatch, rows: int, from_pass: int = 0) -> None:
    """Memory holds `rows` rows at once, from the pass of this number on."""
    real, passes = Passes.learn, iter(range(10**6))

    def learn(self: Passes, examples: Sequence[Any], answers: int) -> float:
        if len(examples) > rows and next(passes) >= from_pass:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(self, examples, answers)

    patch.setattr(Passes, "learn", learn)


def attempt(store: Store, job: Job) -> Job:
    do(store, job.id, Ending())
    return store.job(job.id)


def weights(store: Store, job: Job) -> bytes:
    assert job.state == "completed", job.why
    return (store.adapter_path(store.adapter(job.adapter_id or 0)) / "adapter_model.safetensors").read_bytes()


def test_a_run_too_large_for_the_memory_goes_on_with_half_the_rows_until_it_fits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = attempt(store, submit_run(store, **{**VALUES, "micro_batch": 2}))
    too_small(monkeypatch, rows=2)
    job = attempt(store, submit_run(store, **VALUES))
    assert (job.state, job.settings["micro_batch"], job.settings["batch_size"]) == ("queued", 4, 8)
    assert job.why == (
        "There was not enough memory for 8 rows of up to 1024 tokens at once. It begins again, 4 at once."
    )
    job = attempt(store, attempt(store, job))
    assert (job.attempt, job.settings["micro_batch"]) == (3, 2)
    assert weights(store, job) == weights(store, calm)
    told = [(e.state_to, e.who) for e in store.job_events(job.id) if e.state_to == "interrupted"]
    assert told == [("interrupted", "worker")] * 2


def test_it_goes_on_from_its_checkpoint_and_says_what_that_means(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**VALUES, "dropout": 0}  # which would be drawn otherwise, and the loss with it
    calm = attempt(store, submit_run(store, **values))
    with monkeypatch.context() as patch:
        too_small(patch, rows=4, from_pass=2)
        job = attempt(store, submit_run(store, **values))
        assert job.why.endswith(f"It goes on from step {job.checkpoint_step}, 4 at once.")
        job = attempt(store, job)
    assert job.progress["resumed"] == (
        "Continued from step 2. From here on it may not be bit-equal to a run without the interruption: "
        "the number of rows at once (8 then, 4 now)."
    )
    assert job.state == "completed", job.why
    one, other = ([m.loss for m in store.metrics(j.id) if m.loss is not None] for j in (job, calm))
    assert one == pytest.approx(other, rel=1e-4)


def test_with_one_row_at_once_it_fails_and_names_the_length(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    too_small(monkeypatch, rows=0)
    job = attempt(store, submit_run(store, **{**VALUES, "micro_batch": 1, "length": 64}))
    assert (job.state, job.attempt) == ("failed", 1)
    assert job.why == "There was not enough memory for 1 rows of up to 64 tokens at once. Try a length of 32."


def test_switched_off_it_tells_what_to_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    too_small(monkeypatch, rows=4)
    store.remember(SPARE_MEMORY, False)
    job = attempt(store, submit_run(store, **VALUES))
    assert (job.state, job.settings["micro_batch"]) == ("failed", 8)
    assert job.why.endswith("Try 4 rows at once.")


def test_one_that_is_to_be_cancelled_is_not_queued_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_run(store, **VALUES)

    def cancelled(self: Passes, examples: Sequence[Any], answers: int) -> float:
        store.request_stop(job.id, "keep")
        raise MemoryError

    monkeypatch.setattr(Passes, "learn", cancelled)
    assert attempt(store, job).state == "failed"
