"""Answering beside a run: on fewer threads, with memory left alone that the run may still come to need.

Knows nothing about how much answering takes; that is checked where the model is loaded.
"""

from __future__ import annotations

from dataclasses import replace

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Job
from studio.asked import Question


def training(store: Store) -> list[Job]:
    """The runs that train now."""
    return store.jobs(kinds=["train"], states=LIVE)


def on_cpu(runs: list[Job]) -> bool:
    """Whether one of them computes on the CPU; one that has not said yet may."""
    return any(str(job.progress.get("device") or "cpu").lower().startswith("cpu") for job in runs)


def beside_runs(store: Store, question: Question) -> Question:
    """The question as it may be asked now: with regard to the runs that train meanwhile."""
    runs = training(store)
    if not runs:
        return question
    threads = question.threads or (1 if on_cpu(runs) else None)
    return replace(question, threads=threads, run=runs[0].name, spare=sum(map(_to_come, runs)))


def _to_come(job: Job) -> int:
    """Bytes that a run has needed before and may need again."""
    now, peak = (int(job.progress.get(key) or 0) for key in ("memory_bytes", "peak_memory_bytes"))
    return max(0, peak - now)
