"""The curves of runs, thinned where they lie: a screen has two thousand columns, a run may have a million steps.

Numbers by column out; nothing but what will be drawn ever leaves the database. Knows nothing about pages, or about how
a curve is drawn.
"""

import math
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, literal, select
from sqlalchemy.orm import Session

from adapters_store.shelf import Shelf
from adapters_store.tables import MEASURED, Metric

MOST_POINTS = 2_000  # more than a screen has columns, and cheap to draw each second
MOST_VALIDATIONS = 60  # of a line among others: a hundred such lines are still cheap to draw

Curve = dict[str, list[Any]]


class _Share(NamedTuple):
    """What a point stands for: the mean loss of its stretch, and how many of the stretch's steps."""

    mean: float | None
    weight: float


class CurveShelf(Shelf):
    """The part of the store that is about curves."""

    def curve(self, job_id: int, *, after: int = -1, until: int | None = None, most: int = MOST_POINTS) -> Curve:
        """What a job measured in the steps after `after` and up to `until`, in at most `most` points (8 or more).

        Columns of equal length by name: `step` (rising), all that is measured of a step, `mean` and `weight`. Where
        there are more steps than points, every point is still a real measurement: the first and the last step, the
        validations (the best, and others evenly, where they alone are too many), and of each of many equally long
        stretches the least and the greatest loss. With these goes what they stand for: the mean loss of their stretch,
        and as `weight` their share of its steps.
        """
        held = [Metric.job_id == job_id, Metric.step > after]
        if until is not None:
            held.append(Metric.step <= until)
        with self._database.reading() as session:
            if _at_most(session, held, most):
                columns = _columns(session, held)
                return columns | {"mean": [*columns["loss"]], "weight": [1.0] * len(columns["loss"])}
            chosen = _chosen(session, job_id, held, most)
            columns = _columns(session, [Metric.job_id == job_id, Metric.step.in_(chosen)])
        shares = [chosen[step] for step in columns["step"]]
        return columns | {"mean": [share.mean for share in shares], "weight": [share.weight for share in shares]}

    def validations(self, job_id: int, *, after: int = -1, most: int = MOST_VALIDATIONS) -> list[tuple[int, float]]:
        """Each step after `after` at which a job measured its validation loss, by step, with that loss.

        Of more than `most` (4 or more) the first, the best, the last, and others evenly.
        """
        held = [Metric.job_id == job_id, Metric.step > after]
        with self._database.reading() as session:
            found = _measured(session, held)
        shown = {*_thinned(found, most - 1), *(step for _, step in found[-1:])}
        return [(step, loss) for loss, step in found if step in shown]


def _at_most(session: Session, held: list[ColumnElement[bool]], most: int) -> bool:
    some = select(Metric.step).where(*held).limit(most + 1).subquery()
    return (session.scalar(select(func.count()).select_from(some)) or 0) <= most


def _columns(session: Session, held: list[ColumnElement[bool]]) -> Curve:
    names = ("step", *MEASURED)
    rows = session.execute(select(*(getattr(Metric, name) for name in names)).where(*held).order_by(Metric.step)).all()
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in names}


def _chosen(session: Session, job_id: int, held: list[ColumnElement[bool]], most: int) -> dict[int, _Share]:
    """The steps to show of too many, with what each stands for."""
    # Asked apart, each is one look at the end of an index; asked together, SQLite reads all rows.
    first, last = (session.execute(select(end(Metric.step)).where(*held)).scalar_one() for end in (func.min, func.max))
    chosen = dict.fromkeys([first, last, *_validations(session, held, most // 4)], _Share(None, 0.0))
    stretches, span = (most - len(chosen)) // 2, last - first + 1
    asked = {"job": job_id, "first": first, "span": span, "stretches": stretches}
    for low, high, mean in session.execute(_EXTREMES, asked):
        ends = {low, high} - {None}
        chosen |= dict.fromkeys(ends, _Share(mean, span / stretches / max(1, len(ends))))
    return chosen


def _validations(session: Session, held: list[ColumnElement[bool]], most: int) -> list[int]:
    return _thinned(_measured(session, held), most)


def _measured(session: Session, held: list[ColumnElement[bool]]) -> list[tuple[float, int]]:
    measured = select(Metric.validation_loss, Metric.step).where(*held, Metric.validation_loss.is_not(None))
    return [(loss, step) for loss, step in session.execute(measured.order_by(Metric.step)) if loss is not None]


def _thinned(found: list[tuple[float, int]], most: int) -> list[int]:
    if len(found) <= most:
        return [step for _, step in found]
    _, best = min(found)
    return [best, *(step for _, step in found[:: math.ceil(len(found) / (most - 1))])]


def _extremes() -> Select[int, int, float]:
    """For each stretch the steps of its least and greatest loss, and its mean.

    Three questions inside SQLite about each stretch: reading the rows themselves, or grouping them, takes longer.
    """
    numbers = select(literal(0).label("i")).cte("stretch", recursive=True)
    stretch = numbers.union_all(select(numbers.c.i + 1).where(numbers.c.i < bindparam("stretches", type_=Integer) - 1))
    first, span, stretches = (bindparam(name, type_=Integer) for name in ("first", "span", "stretches"))
    within = (
        Metric.job_id == bindparam("job"),
        Metric.step >= first + stretch.c.i * span // stretches,
        Metric.step < first + (stretch.c.i + 1) * span // stretches,
        Metric.loss.is_not(None),
    )
    of_step, of_loss = select(Metric.step).where(*within), select(func.avg(Metric.loss)).where(*within)
    least, greatest = (of_step.order_by(order, Metric.step).limit(1) for order in (Metric.loss, Metric.loss.desc()))
    parts = (part.correlate(stretch).scalar_subquery() for part in (least, greatest, of_loss))
    return select(*parts).select_from(stretch)


_EXTREMES = _extremes()
