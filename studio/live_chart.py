"""The loss curve of a run as numbers for the page: at most 2,000 points at first, then only what is new.

Columns of the store in, columns of short plain numbers out. Knows nothing about drawing, Gradio or SQL, and keeps
nothing between two calls: a reload, a second tab or a page that was started again gets the same curve.
"""

import math

from adapters_store.store import Store
from adapters_store.store_curves import Curve
from adapters_store.tables import Job

DIGITS = 5  # significant ones; the chart shows three


def series(job: Job) -> str:
    """The name of a job's curve: a run that starts over, or goes on from a checkpoint, draws a new one."""
    return f"{job.id}.{job.attempt}.{job.progress.get('resumed_from', 0)}"


def curve(store: Store, job: Job, known: str, after: int) -> dict[str, object]:
    """What a page that holds the curve `known` up to step `after` does not have yet.

    `reset` says that the page holds another curve (or none) and gets this one from its start.
    """
    name = series(job)
    reset = known != name
    new = store.curve(job.id, after=-1 if reset else after)
    return {"series": name, "reset": reset, "columns": shortened(new)}


def stretch(store: Store, job: Job, first: int, last: int) -> dict[str, object]:
    """The steps from `first` to `last` of a job's curve, in as many points as the whole of it may have."""
    found = store.curve(job.id, after=first - 1, until=last)
    return {"series": series(job), "from": first, "to": last, "columns": shortened(found)}


def shortened(columns: Curve) -> Curve:
    """The same columns with numbers no longer than a chart can show, as JSON takes them."""
    return {name: [_number(value) for value in values] for name, values in columns.items()}


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
