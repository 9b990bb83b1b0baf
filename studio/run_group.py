"""The runs of one grid as one table for the Runs tab: what each was given, how it stands, and which is best.

Rows of the store in, JSON out. Knows nothing about widgets, and asks the store nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from adapters_store.tables import Job
from engine.settings import RunSettings
from jobs.progress import loss_text
from studio import run_facts


def table(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The runs, the lowest validation loss first and those without one last; nothing for a run by itself."""
    if len(jobs) < 2:
        return []
    names = differing(jobs)
    best_first = sorted(jobs, key=lambda job: (_validation(job), job.id))
    return [_row(job, names, best=place == 0) for place, job in enumerate(best_first)]


def differing(jobs: Sequence[Job]) -> list[str]:
    """The settings in which the runs differ, in the order of their declaration."""
    return [name for name in RunSettings.model_fields if len({repr(job.settings.get(name)) for job in jobs}) > 1]


def _row(job: Job, names: Sequence[str], best: bool) -> dict[str, Any]:
    given = [f"{RunSettings.model_fields[name].title} {_shown(job.settings.get(name))}" for name in names]
    loss = _validation(job)
    return {
        "key": job.id,
        "given": ", ".join(given) or job.name,
        "state": job.state,
        "word": run_facts.word(job),
        "validation": "–" if math.isinf(loss) else loss_text(loss),
        "best": best and not math.isinf(loss),
    }


def _validation(job: Job) -> float:
    """The best validation loss so far; infinite where none was measured."""
    seen = job.progress.get("best_validation_loss", job.progress.get("validation_loss"))
    return math.inf if seen is None else float(seen)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
