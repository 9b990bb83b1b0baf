"""A data folder in which faults happen: real workers under a real runner that is stepped by hand, and what must hold.

Whatever was done to a job, the person's part is at most to press Continue. In the end it is completed, has left what
the same run left that nobody touched, and `doctor` finds nothing wrong.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters_store.states import FINAL, LIVE
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import process
from jobs.runner import Runner
from studio import doctor
from tests.faults.nursery import Forked, Nursery
from tests.faults.points import Fault
from tests.workshop import add_base, add_rows

PATIENCE = 60  # seconds that one attempt may take at most
NOT_THE_FOLDER = {"versions", "SQLite", "device", "disk"}  # checks of doctor that are about the machine

# Dropout, shuffling, several epochs, micro-batches that do not divide the batch; three methods, one without validation.
_USUAL = {"epochs": 6, "batch_size": 8, "micro_batch": 3, "learning_rate": 5e-3}
_LORA = {**_USUAL, "dropout": 0.1, "rank": 2, "alpha": 4}
RECIPES: tuple[dict[str, Any], ...] = (
    _LORA,
    {**_LORA, "validation_share": 0},
    {**_LORA, "method": "dora"},
    {**_USUAL, "method": "norms", "rank": 16, "alpha": 32, "dropout": 0},
    {**_LORA, "epochs": 2},
    {**_LORA, "epochs": 60},
)
SHORT, LONG = 4, 5


class Yard:
    """One data folder."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        """Make it, with a base model and rows. Checkpoints are written after every step."""
        os.environ["LORA_STUDIO_CHECKPOINT_SECONDS"] = "0"
        self.store = Store(folder)
        self.nursery = nursery
        self.base = add_base(self.store, source="starter")  # so that the page fetches none
        self.data = add_rows(self.store, 16)
        self.runner = Runner(self.store)
        self.calm: dict[int, tuple[Any, ...]] = {}  # by recipe, what it leaves when nobody touches it
        self.seconds: dict[int, float] = {}  # by recipe, how long it takes then
        self.recipe_of: dict[int, int] = {}

    def close(self) -> None:
        """End whatever still runs, and let go of the library."""
        for job in self.store.running_jobs():
            if job.owner and process.alive(job.owner):
                with suppress(ProcessLookupError):
                    os.kill(job.owner.pid, signal.SIGKILL)
        self.store.close()

    def submit(self, recipe: int) -> Job:
        """Queue a run; of a recipe that was not seen yet, one that is left alone is done first."""
        if recipe not in self.calm:
            alone = self._queued(recipe)
            began = time.monotonic()
            self.finish(alone.id)
            self.seconds[recipe] = time.monotonic() - began
            self.calm[recipe] = self.left(alone.id)
        return self._queued(recipe)

    def _queued(self, recipe: int) -> Job:
        job = self.store.submit(
            "train", "run", RECIPES[recipe], base_model_id=self.base.id, data_set_id=self.data.id, who="test"
        )
        self.recipe_of[job.id] = recipe
        return job

    def attempt(self, job_id: int, fault: Fault | None = None, kill_after: float | None = None) -> bool:
        """Have one worker at the job, to its end or to its death. Whether the kill or the fault came to it."""
        told = self._told(fault)
        worker = self._worker(job_id)
        killed = False
        if kill_after is not None:
            until = time.monotonic() + kill_after
            while time.monotonic() < until and worker.poll() is None:
                time.sleep(0.003)
            killed = worker.kill()
        deadline = time.monotonic() + PATIENCE
        while worker.poll() is None:
            assert time.monotonic() < deadline, f"a worker took more than {PATIENCE} s"
            time.sleep(0.003)
        self.runner._reap()  # as its next look would begin
        return told.exists() if fault else killed

    def _told(self, fault: Fault | None) -> Path:
        told = self.store.files.root / "told"
        told.unlink(missing_ok=True)
        if fault:
            self.nursery.fault, self.nursery.told = fault, told
        return told

    def _worker(self, job_id: int) -> Forked:
        """The worker that the runner starts for the job, after it was continued if it had to be."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, f"job {job_id} is not begun"
            with self.nursery.instead_of_processes():
                self.runner.step()
            worker = self.runner._workers._started.get(job_id)
            if worker is not None and worker.poll() is None:
                return worker  # type: ignore[return-value]
            if self.store.job(job_id).state == "interrupted":
                self.store.move(job_id, "queued", who="person")
            assert self.store.job(job_id).state not in FINAL, f"job {job_id} has ended: {self.store.job(job_id).why}"

    def finish(self, job_id: int) -> None:
        """Attempt after attempt, until the job has ended."""
        for _ in range(5):
            if self.store.job(job_id).state in FINAL:
                return
            self.attempt(job_id)
        raise AssertionError(f"job {job_id} does not end: {self.store.job(job_id).why}")

    # --- what must hold -------------------------------------------------------------------------------------------

    def left(self, job_id: int) -> tuple[Any, ...]:
        """All that a run leaves and that does not tell the time."""
        job = self.store.job(job_id)
        adapter = self.store.adapter(job.adapter_id or 0)
        folder = self.store.adapter_path(adapter)
        facts = ("training_loss", "validation_loss", "base_validation_loss", "best_step", "steps", "size_bytes")
        (config,) = (json.loads(path.read_text()) for path in folder.glob("*adapter*.json"))
        return (
            (folder / "adapter_model.safetensors").read_bytes(),
            config,
            [getattr(adapter, name) for name in facts],
            [
                (m.step, m.loss, m.validation_loss, m.learning_rate, m.gradient_norm, m.tokens)
                for m in self.store.metrics(job_id)
            ],
        )

    def violations(self, job_id: int) -> list[str]:
        """In sentences, what does not hold after a job has ended; empty if all does."""
        job = self.store.job(job_id)
        if job.state != "completed":
            return [f"job {job_id} is {job.state}: {job.why}"]
        wrong = []
        for name, one, other in zip(
            ("adapter", "config", "facts", "metrics"), self.left(job_id), self.calm[self.recipe_of[job_id]], strict=True
        ):
            if one != other:
                wrong.append(f"job {job_id}: its {name} differs from that of the run nobody touched")
        adapters = [a for a in self.store.adapters(limit=1000)[0] if a.job_id == job_id]
        if len(adapters) != 1:
            wrong.append(f"job {job_id} has left {len(adapters)} adapters")
        return [*wrong, *self.unsound()]

    def unsound(self) -> list[str]:
        """What `doctor` finds wrong with the folder while nothing runs, and what lies about."""
        found = [f for f in doctor.run(self.store).findings if f.level != "ok" and f.check not in NOT_THE_FOLDER]
        wrong = [f"doctor, {f.check}: {f.says}" for f in found]
        wrong += [f"job {job.id} is still {job.state}" for job in self.store.jobs(states=LIVE)]
        kept = {row.folder for row in self.store.checkpoints()}
        wrong += [
            f"a checkpoint nobody has: {key}" for key in self.store.files.published("checkpoints") if key not in kept
        ]
        return wrong
