"""The worker: claims one job, does it, and says how it ended. One process a job, so that its end frees everything.

    python -m jobs.worker JOB_ID --data-dir DIR

This is an edge: whatever goes wrong is logged with its traceback and becomes one sentence in the job. What a job of a
kind does is in `training.py`, `fetching.py`, `importing.py`, `exporting.py`, `adding_data.py`, `examining.py` and
`asking_suites.py`; who starts workers is in `runner.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path

from adapters_store.errors import LeaseLost
from adapters_store.store import Store
from adapters_store.tables import Job
from engine.settings import parse
from jobs import devices, errors, job_notes, process
from jobs.ending import Ended, Ending
from jobs.progress import again, cancelled, paused
from jobs.queue import Lease, missing_end, patiently, spares_memory

log = logging.getLogger("worker")


def do(store: Store, job_id: int, ending: Ending, device: str | None = None) -> int:
    """Claim the job, do it and record its end. Returns the exit code: 0 unless the job could not be ended in order."""
    me = process.identify()
    lease = patiently(lambda: Lease.claim(store, job_id, me, on_cancel=ending.call_off, device=device))
    if lease is None:
        log.info("job %s is not waiting any more", job_id)
        return 0
    with lease, contextlib.suppress(LeaseLost):  # then the job has its end already, and it is not ours to tell
        _see_through(store, lease, ending)
    return 0


def _see_through(store: Store, lease: Lease, ending: Ending) -> None:
    try:
        _dispatch(store, lease, ending)
    except Ended:
        _record_end(store, lease, ending)
    except LeaseLost:
        log.warning("job %s is no longer ours; nothing was written", lease.job.id)
    except Exception as error:
        log.exception("job %s failed", lease.job.id)
        _record_failure(store, lease, error)


def _dispatch(store: Store, lease: Lease, ending: Ending) -> None:
    # Imported here, after the claim: torch takes seconds, and the job should not look as if nobody had it.
    if lease.job.kind == "train":
        lease.say("Starting torch")
        with ending.may_interrupt():  # on a slow disk it takes long
            from jobs import training

        training.run(store, lease, ending)
        return
    lease.say("Starting")
    if lease.job.kind == "import":
        from jobs import importing

        importing.run(store, lease, ending)
    elif lease.job.kind == "export":
        from jobs import exporting

        exporting.run(store, lease, ending)
    elif lease.job.kind == "data":
        from jobs import adding_data

        adding_data.run(store, lease, ending)
    elif lease.job.kind in ("examine", "clean"):
        from jobs import examining

        examining.run(store, lease, ending)
    elif lease.job.kind == "suite":
        from jobs import asking_suites

        asking_suites.run(store, lease, ending)
    else:
        from jobs import fetching

        fetching.run(store, lease, ending)


def _record_end(store: Store, lease: Lease, ending: Ending) -> None:
    if lease.lost:
        log.warning("job %s is no longer ours; nothing was written", lease.job.id)
    elif lease.stop == "cancel":
        lease.move("cancelled", cancelled(lease.job.kind, store.job(lease.job.id).pinned))
    elif lease.stop == "pause":
        lease.move("paused", paused(store.job(lease.job.id).checkpoint_step))
    else:
        job = store.job(lease.job.id)
        lease.move(
            "interrupted", f"The worker was asked to end ({ending.signal}). {again(job.kind, job.checkpoint_step)}"
        )


def _record_failure(store: Store, lease: Lease, error: Exception) -> None:
    """A run with a checkpoint is not given up for a full disk or a drive that is not there: it can be continued."""
    job = store.job(lease.job.id)
    if end := missing_end(job):  # done again, it would leave a second adapter
        lease.move(end)
        return
    why = in_words(error, job)
    fewer = _fewer_rows(store, job) if errors.is_memory(error) else None
    if fewer:
        where = f"It goes on from step {job.checkpoint_step}" if job.checkpoint_step else "It begins again"
        lease.begin_again(f"{_too_little_memory(job)} {where}, {fewer} at once.", micro_batch=fewer)
    elif job.checkpoint_step is None or errors.is_hopeless(error):
        lease.move("failed", why)
    else:
        lease.move("interrupted", f"{why} {again(job.kind, job.checkpoint_step)}")


def in_words(error: Exception, job: Job) -> str:
    """A sentence or two for the person whose job ended in `error`: ours speak for themselves."""
    if errors.is_memory(error):
        return _out_of_memory(job)
    unforeseen = f"Something unforeseen went wrong: {errors.first_line(error)}. The log of the job has the details."
    return errors.own_sentence(error) or unforeseen


def _out_of_memory(job: Job) -> str:
    if job.kind != "train":
        return "There was not enough memory. Close other programs and start it again."
    settings = parse(job.settings)
    fewer, shorter = settings.micro_batch // 2, max(8, settings.length // 2)
    return f"{_too_little_memory(job)} Try {f'{fewer} rows at once' if fewer else f'a length of {shorter}'}."


def _too_little_memory(job: Job) -> str:
    settings = parse(job.settings)
    return f"There was not enough memory for {settings.micro_batch} rows of up to {settings.length} tokens at once."


def _fewer_rows(store: Store, job: Job) -> int | None:
    """How many rows at once the run is to go on with; None if it should not, or has one row at once already."""
    if job.kind != "train" or job.stop or not spares_memory(store):
        return None
    return parse(job.settings).micro_batch // 2 or None


def main() -> int:
    """The command line: parse, take the signals, do the job."""
    parser = argparse.ArgumentParser(prog="python -m jobs.worker", description="Do one job of a data folder.")
    parser.add_argument("job_id", type=int)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--device", help="the name of the GPU that is its own")
    parser.add_argument("--visible", help="what CUDA calls that one")
    arguments = parser.parse_args()
    lines = logging.StreamHandler()
    lines.setFormatter(job_notes.Lines())
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    process.go_last()
    if arguments.visible:
        devices.occupy(arguments.visible)
    ending = Ending()
    ending.listen()
    store = Store(arguments.data_dir)
    try:
        return do(store, arguments.job_id, ending, arguments.device)
    finally:
        store.close()


if __name__ == "__main__":
    raise SystemExit(main())
