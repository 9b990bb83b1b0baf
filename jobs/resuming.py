"""Runs that were interrupted go on by themselves: which, how often, and unless a person has said otherwise.

Knows nothing about processes beyond the boot they ran in, and nothing about why a run was interrupted.
"""

from __future__ import annotations

import logging

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import process
from jobs.progress import goes_on
from jobs.queue import RESUMING

log = logging.getLogger("runner")

MOST_ATTEMPTS = 3  # of a run that is interrupted again and again; a person may try once more
AUTO_RESUME = "auto_resume"  # the setting: whether interrupted runs go on by themselves


def auto_resume(store: Store) -> bool:
    """Whether runs that were interrupted go on by themselves."""
    return store.recall(AUTO_RESUME, True) is not False


def resume_after_restart(store: Store) -> None:
    """Queue the runs again that were interrupted because the machine went down."""
    for job in store.jobs(kinds=RESUMING, states=["interrupted"], limit=1000)[::-1]:
        if job.owner is not None and job.owner.boot != process.boot_id():
            resume(store, job.id)


def resume_left_over(store: Store, job: Job) -> None:
    """Queue an interrupted run again whose runner took it from its worker, and died before it could do so."""
    last = store.job_events(job.id)[-1]
    if (last.state_to, last.who) == ("interrupted", "runner") and not job.stop:
        resume(store, job.id)


def resume(store: Store, job_id: int) -> None:
    """Queue a run again that was interrupted without anybody wanting it: not for ever, and not if told not to."""
    job = store.job(job_id)
    if job.kind not in RESUMING or job.state != "interrupted" or not auto_resume(store):
        return
    # Not attempts: each pause makes one more of them, and so does each time with fewer rows at once.
    times = sum((e.state_to, e.who) == ("interrupted", "runner") for e in store.job_events(job.id))
    if times >= MOST_ATTEMPTS:
        log.warning("job %s was interrupted %s times and is left to a person", job.id, times)
        return
    where = goes_on(job.kind, job.checkpoint_step)
    store.move(job.id, "queued", why=f"{_first_sentence(job.why)} {where}", who="runner")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."
