"""The checkpoints of a run, and pinning them: for the Runs tab and the command line.

Knows nothing about widgets or the terminal, and not what is in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters_store.states import FINAL
from adapters_store.store import Checkpoint, Job, Store
from studio.actions import ActionError
from studio.question import Answer, fields


def of_run(store: Store, job: Job) -> list[Answer]:
    """The checkpoints of a run by their steps, as the page shows them; `goes`: it would be deleted if unpinned."""
    kept = store.checkpoints(job.id) if job.kind == "train" else []
    ended = job.state in FINAL
    rows = [{"key": one.id, "step": one.step, "pinned": one.pinned, "goes": one.pinned and ended} for one in kept]
    return sorted(rows, key=lambda row: (row["step"], row["key"]))


def set_pin(store: Store, job_id: int, step: int, pinned: bool) -> tuple[Checkpoint, bool]:
    """Pin or unpin the checkpoint of `step` of a run; it, and whether it is still there.

    Raises:
        ActionError: the run has no checkpoint of this step.
        NotFound: there is no such job, or the checkpoint has gone in this moment.
    """
    job = store.job(job_id)
    kept = store.checkpoints(job.id)
    of_step = [one for one in kept if one.step == step]
    row = next((one for one in of_step if one.pinned != pinned), None) or next(iter(of_step), None)
    if row is None:
        steps = ", ".join(str(one.step) for one in reversed(kept)) or "none"
        raise ActionError(
            f"{job.name} has no checkpoint of step {step}. Kept ones: {steps}. A run keeps its last two until it has "
            "ended, and those that are pinned."
        )
    return row, store.pin_checkpoint(row.id, pinned)


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask."""

    def pin_checkpoint(question: object) -> Answer:
        """Pin a checkpoint by its number, or unpin it."""
        asked = fields(question)
        number, on = asked.get("checkpoint"), asked.get("on")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1 or not isinstance(on, bool):
            raise ValueError(f"A checkpoint has a number and is pinned or not; got {number!r} and {on!r}.")
        store.pin_checkpoint(number, on)
        return {}

    return [pin_checkpoint]
