"""What a person can ask of the line of waiting jobs: another order, and that the queue or a run pauses or goes on.

For the page and the command line. Knows nothing about what a job is; who may start when is in `jobs/queue.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters_store.store import NotFound, Store, StoreBusy, StoreError
from adapters_store.store_line import WHERE
from adapters_store.tables import Job
from jobs import runner
from jobs.queue import ON_DEVICE, QUEUE_PAUSED, queue_paused
from studio import actions

PAUSED = "The queue is paused: no waiting run starts until it goes on."


def move(store: Store, job_id: int, to: object) -> Job:
    """Move a waiting job up, down or to the first or last place.

    Raises:
        NotFound: no such job.
        ActionError: it does not wait, or there is no such way.
    """
    way = next((known for known in WHERE if known == to), None)
    if way is None:
        raise actions.ActionError(f"{to!r} is not a way to move in the line: {', '.join(WHERE)}.")
    return _moved(lambda: store.place_in_line(job_id, way))


def move_before(store: Store, job_id: int, other_id: int) -> Job:
    """Move a waiting job to right before another one. NotFound; ActionError where one of them does not wait."""
    return _moved(lambda: store.place_before(job_id, other_id))


def _moved(act: Callable[[], Job]) -> Job:
    try:
        return act()
    except (NotFound, StoreBusy):
        raise
    except StoreError as error:
        raise actions.ActionError(str(error)) from error


def place(store: Store, job_id: int) -> int | None:
    """The place of a waiting job in the line, from 1; None when it does not wait."""
    return next((n for n, job in enumerate(store.waiting(), 1) if job.id == job_id), None)


def pause_queue(store: Store, on: bool) -> None:
    """Keep waiting runs where they are, or let their turns come again. What runs goes on; models still come and go."""
    store.remember(QUEUE_PAUSED, on)
    if not on:
        runner.ensure(store.files.root)


def holds_back(store: Store, job: Job) -> bool:
    """Whether the job waits because the queue is paused."""
    return job.state == "queued" and job.kind in ON_DEVICE and queue_paused(store)


def pause_run(store: Store, job_id: int) -> Job:
    """Ask a run to pause: it keeps its last whole step, lets go of the device, and waits until it is continued.

    Raises:
        NotFound: no such job.
        ActionError: it is no run, or has ended.
    """
    job = store.job(job_id)
    if job.kind != "train":
        raise actions.ActionError(f"{job.name} is no run. Only runs can be paused; cancel it instead.")
    if job.state not in ("queued", "starting", "running"):
        raise actions.ActionError(f"{job.name} is {job.state}. Only a run that waits or trains can be paused.")
    job = store.request_stop(job_id, "pause")
    runner.ensure(store.files.root)  # the runner is who ends a worker that does not listen
    return job
