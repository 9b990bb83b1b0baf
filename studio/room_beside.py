"""Answering beside a run or a suite: on fewer threads, with memory left alone that they may still come to need.

Knows nothing about how much answering takes; that is checked where the model is loaded.
"""

from __future__ import annotations

from dataclasses import replace

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs.queue import ON_DEVICE
from studio.asked import Question


def at_work(store: Store) -> list[Job]:
    """The runs that train and the suites that are answered now, a run first: what must not be endangered."""
    return sorted(store.jobs(kinds=sorted(ON_DEVICE), states=LIVE), key=lambda job: job.kind != "train")


def on_cpu(jobs: list[Job]) -> bool:
    """Whether one of them computes on the CPU; one that has not said yet may."""
    return any(str(job.progress.get("device") or "cpu").lower().startswith("cpu") for job in jobs)


def threads(jobs: list[Job]) -> int | None:
    """With how many threads to answer beside these: one where the CPU is theirs, None for as many as torch takes."""
    return 1 if on_cpu(jobs) else None


def spare(jobs: list[Job]) -> int:
    """Bytes that these may still come to need."""
    return sum(map(_to_come, jobs))


def beside_runs(store: Store, question: Question) -> Question:
    """The question as it may be asked now: with regard to what is at work meanwhile."""
    jobs = at_work(store)
    if not jobs:
        return question
    return replace(question, threads=question.threads or threads(jobs), run=jobs[0].name, spare=spare(jobs))


def _to_come(job: Job) -> int:
    """Bytes that a job has needed before, or foresees, and does not hold now."""
    now, peak = (int(job.progress.get(key) or 0) for key in ("memory_bytes", "peak_memory_bytes"))
    return max(0, peak - now)
