"""The loss curve of a run as numbers for the page: at most 2,000 points at first, then only what is new.

Rows of the store in, columns of plain numbers out. Knows nothing about drawing, Gradio or SQL, and keeps nothing
between two calls: a reload, a second tab or a page that was started again gets the same curve.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from adapters_store.store import Store
from adapters_store.tables import MEASURED, Job, Metric

MOST_POINTS = 2_000  # drawn at once: more than a screen has columns, and cheap to draw each second
DIGITS = 5  # significant ones; the chart shows three

Columns = dict[str, list[float | None]]


class Point(NamedTuple):
    """A measured row that is drawn, with the mean loss of the rows it stands for and how many those are."""

    metric: Metric
    mean: float | None
    weight: float


def series(job: Job) -> str:
    """The name of a job's curve: a run that starts over, or goes on from a checkpoint, draws a new one."""
    return f"{job.id}.{job.attempt}.{job.progress.get('resumed_from', 0)}"


def curve(store: Store, job: Job, known: str, after: int) -> dict[str, object]:
    """What a page that holds the curve `known` up to step `after` does not have yet.

    `reset` says that the page holds another curve (or none) and gets this one from its start.
    """
    name = series(job)
    reset = known != name
    metrics = store.metrics(job.id, after_step=-1 if reset else after)
    return {"series": name, "reset": reset, "columns": columns(thin(metrics, MOST_POINTS))}


def columns(points: Sequence[Point]) -> Columns:
    """Points as JSON columns of equal length; what was not measured, or is not a number, is None."""
    result: Columns = {name: [_number(getattr(p.metric, name)) for p in points] for name in MEASURED}
    result["step"] = [p.metric.step for p in points]
    result["mean"] = [_number(p.mean) for p in points]
    result["weight"] = [p.weight for p in points]
    return result


def thin(metrics: Sequence[Metric], most: int) -> list[Point]:
    """At most `most` of the rows: the first and last, validations, and the least and greatest loss of each stretch.

    So no spike is lost and every point is a real measurement; the mean of the stretch goes with its points.
    """
    if len(metrics) <= most:
        return [Point(metric, metric.loss, 1.0) for metric in metrics]
    validations = _spread([m for m in metrics if m.validation_loss is not None], most // 4)
    chosen = {m.step: Point(m, None, 0.0) for m in (metrics[0], *validations, metrics[-1])}
    stretches = (most - len(chosen)) // 2
    for i in range(stretches):
        start, end = i * len(metrics) // stretches, (i + 1) * len(metrics) // stretches
        chosen |= {point.metric.step: point for point in _extremes(metrics[start:end])}
    return [chosen[step] for step in sorted(chosen)]


def _extremes(stretch: Sequence[Metric]) -> list[Point]:
    measured = [(m.loss, m) for m in stretch if m.loss is not None]
    if not measured:
        return []
    losses = [loss for loss, _ in measured]
    mean = sum(losses) / len(losses)
    least, greatest = min(measured, key=lambda pair: pair[0]), max(measured, key=lambda pair: pair[0])
    ends = {m.step: m for _, m in (least, greatest)}
    return [Point(m, mean, len(measured) / len(ends)) for m in ends.values()]


def _spread(validations: list[Metric], most: int) -> list[Metric]:
    if len(validations) <= most:
        return validations
    best = min(validations, key=lambda m: m.validation_loss if m.validation_loss is not None else math.inf)
    return [*validations[:: math.ceil(len(validations) / (most - 1))], best]


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
