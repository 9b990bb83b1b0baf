"""The checkpoints of the run that a worker does: when one is due, and which one a new attempt goes on from.

A checkpoint that is damaged, or of a run set up otherwise, is passed over for the one before it, and what that costs is
said. How a checkpoint is written is in `engine/checkpoint.py`; how many are kept, in the library. Trouble with writing
one never ends a run: it goes on, and says that it is not safe.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from adapters_store.errors import LeaseLost, StoreError
from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
from adapters_store.tables import Checkpoint as Row
from engine import checkpoint
from engine.checkpoint import Checkpoint, CheckpointError
from engine.models import Device
from engine.position import Position
from engine.prepared import Prepared
from engine.settings import RunSettings, SettingsError, parse
from jobs import errors
from jobs.course import Course
from jobs.queue import Lease, patiently

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds of training between two checkpoints, and so what a crash costs at most
SPARING = 10  # times as long as the last one took is the least pause: a tenth of the run at most is spent on writing


def every() -> float:
    """Seconds between two checkpoints: EVERY, or as $LORA_STUDIO_CHECKPOINT_SECONDS says; 0 is after every step."""
    asked = os.environ.get("LORA_STUDIO_CHECKPOINT_SECONDS", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        return EVERY


class Checkpoints:
    """What is kept of one run while it is trained."""

    def __init__(
        self, store: Store, lease: Lease, settings: RunSettings, start: Adapter | None, device: Device, rows: Prepared
    ) -> None:
        """`start` is the adapter the run starts from, if it does; `device` is where it computes; `rows` are its own."""
        self._store = store
        self._lease = lease
        self._run = set_up(lease.job, settings, start, rows)
        # The name of a CPU tells its threads, which are noted by themselves.
        self._device = "CPU" if device.kind == "cpu" else device.name
        self._kept_step = 0
        self._due_at = time.monotonic() + every()
        self._writing_s = 0.0  # what the newest one took, without the waiting for a library that is busy
        self._problems: list[str] = []

    # --- going on -------------------------------------------------------------------------------------------------

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint of the run that is whole and fits, read; None: it begins at its first step."""
        job = self._lease.job
        for row in self._store.checkpoints(job.id):
            if row.step > (job.checkpoint_step or 0):  # pinned, and passed over before: the run went back behind it
                continue
            try:
                return self._read(row)
            except CheckpointError as error:
                log.warning("the checkpoint of step %s is passed over: %s", row.step, error)
                self._problems.append(f"The checkpoint of step {row.step} cannot be used: {error}")
        return None

    def go_on_from(self, state: Checkpoint | None) -> None:
        """Take the library back to where the run goes on, and say what an interruption cost. LeaseLost, StoreError."""
        job = self._lease.job
        if job.checkpoint_step is None:
            return
        self._kept_step = state.step if state else 0
        patiently(lambda: self._store.rewind(job.id, job.token, state.step if state else None))
        said = " ".join([*self._problems, *_where_from(state, job.checkpoint_step), *self._rounding(state)])
        log.info("%s", said)
        self._lease.report(resumed=said, resumed_from=self._kept_step)

    def _read(self, row: Row) -> Checkpoint:
        problems = self._store.files.problems("checkpoints", row.folder)
        if problems:
            raise CheckpointError(" ".join(problems))
        state = checkpoint.read(self._store.checkpoint_path(row))
        if _bound(_as_now(state.run)) != _bound(self._run):
            raise CheckpointError("Settings, data or base model of the run were others when it was written.")
        return state

    def _rounding(self, state: Checkpoint | None) -> list[str]:
        """That the rest of the run may have other last bits than without the interruption, and why; or nothing."""
        if state is None:
            return []
        then, now = (run["settings"]["micro_batch"] for run in (_as_now(state.run), self._run))
        rows = [f"the number of rows at once ({then} then, {now} now)"] if then != now else []
        different = [*rows, *checkpoint.rounding_differs(state.machine, checkpoint.machine(self._device))]
        if not different:
            return []
        return [f"From here on it may not be bit-equal to a run without the interruption: {', '.join(different)}."]

    # --- keeping --------------------------------------------------------------------------------------------------

    def keep_if_due(self, position: Position, course: Course) -> None:
        """Write a checkpoint if the last one is old enough. LeaseLost."""
        if time.monotonic() >= self._due_at:
            self.keep(position, course)

    def keep(self, position: Position, course: Course) -> None:
        """Write a checkpoint of the last whole step, unless there is one. LeaseLost if the run is no longer ours."""
        if position.step in (0, self._kept_step):
            return
        self._lease.at_length("Writing a checkpoint")
        self._writing_s = 0.0
        try:
            self._publish(position, course)
            self._kept_step = position.step
            self._lease.report(checkpoint_problem="")
        except LeaseLost:
            raise
        except (OSError, StoreError, CheckpointError) as error:
            log.warning("no checkpoint of step %s", position.step, exc_info=True)
            why = errors.own_sentence(error) or errors.first_line(error)
            self._lease.report(checkpoint_problem=f"{_unsafe(self._kept_step)} {why}")
        self._due_at = time.monotonic() + (max(every(), SPARING * self._writing_s) if every() else 0.0)

    def keep_for_good(self, position: Position, course: Course) -> bool:
        """Have a pinned checkpoint of the last whole step, which stays although the run has failed. LeaseLost.

        False where there is none: no step was done, or nothing could be written.
        """
        self.keep(position, course)
        rows = [row for row in self._store.checkpoints(self._lease.job.id) if row.step == position.step]
        return bool(rows) and patiently(lambda: self._store.pin_checkpoint(rows[0].id, True, who="worker"))

    def _publish(self, position: Position, course: Course) -> None:
        kept = course.best.tensors if course.best else {}
        state = checkpoint.taken(position, kept=kept, course=course.noted(), run=self._run, device=self._device)
        began = time.monotonic()
        with self._store.files.draft("checkpoints") as draft:
            checkpoint.write(draft.path, state)
            key = draft.publish()
        self._writing_s = time.monotonic() - began
        job = self._lease.job
        try:
            self._lease.hand_in()  # what was measured up to here: the run will not measure it again
            self._store.add_checkpoint(job.id, job.token, step=state.step, folder=key)
        except BaseException:
            self._store.files.discard("checkpoints", key)
            raise


def set_up(job: Job, settings: RunSettings, start: Adapter | None, rows: Prepared) -> dict[str, Any]:
    """What makes a run the run it is: a checkpoint of any other is of no use to it.

    Only where rows are copied, or near copies have moved the line, does the split of rows differ from that of earlier
    versions, whose checkpoints do not name it. Nor do theirs name a mixture.
    """
    mixture = [[data.content_hash, weight] for data, weight in job.mixture]
    return {
        **({"split": "copies on one side"} if rows.copies else {}),
        **({"near": "near copies on one side"} if rows.regrouped else {}),
        **({"mixture": mixture} if job.portions else {}),
        "settings": settings.model_dump(mode="json"),
        "data": job.data_set.content_hash if job.data_set else None,
        "base": job.base_model.fingerprint if job.base_model else None,
        "start": start.sha256 if start else None,
    }


def _bound(run: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint must share with the run that goes on from it: all but how many rows are computed at once."""
    return {**run, "settings": {**run.get("settings", {}), "micro_batch": None}}


def _as_now(run: dict[str, Any]) -> dict[str, Any]:
    """A set-up as this version writes it: a setting that has come since has its default."""
    try:
        return {**run, "settings": parse(run.get("settings", {})).model_dump(mode="json")}
    except SettingsError:
        return {}


def _where_from(state: Checkpoint | None, newest: int) -> list[str]:
    """From where a run goes on, and how many steps it has to do again that a checkpoint had."""
    from_here = f"Continued from step {state.step}." if state else "Began again at the first step."
    lost = newest - (state.step if state else 0)
    return [from_here, f"{lost} steps are trained again."] if lost else [from_here]


def _unsafe(step: int) -> str:
    return f"An interruption would cost all steps since step {step}: no checkpoint could be written."
