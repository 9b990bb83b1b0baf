"""Several data sets to learn from, each with its weight: checked, counted and in words.

For the page and the command line. What a weight does is in `engine/data/mixture.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from adapters_store.tables import DataSet, Weighted
from engine.data.mixture import LEAST_WEIGHT, MOST_SETS, MOST_WEIGHT, an_epoch
from engine.data.split import aside

Weights = Sequence[tuple[int, float]]  # numbers of data sets, each with its weight


def problems(mixture: Sequence[Weighted]) -> list[str]:
    """In sentences, what is wrong with a mixture; empty where it can be learned from."""
    told = []
    if len(mixture) > MOST_SETS:
        told.append(f"{len(mixture)} data sets are mixed; {MOST_SETS} are the most. Leave some out.")
    ids = [data.id for data, _ in mixture]
    for data, weight in mixture:
        if problem := problem_with(weight):
            told.append(f"The weight of {data.name} is {problem}. Give {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}.")
        if ids.count(data.id) > 1:
            told.append(f"{data.name} is in the mixture {ids.count(data.id)} times. Name it once, with a weight.")
    return list(dict.fromkeys(told))


def problem_with(weight: float) -> str:
    """What a weight is that cannot be one; empty for one that can."""
    if LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        return ""
    return "no number" if math.isnan(weight) else f"{weight:g}"


def weights(mixture: Sequence[Weighted]) -> list[tuple[int, float]]:
    """What is kept of a mixture; [] where it is one data set whose rows come once an epoch."""
    if [weight for _, weight in mixture] == [1.0]:
        return []
    return [(data.id, weight) for data, weight in mixture]


def rows_an_epoch(mixture: Sequence[Weighted], validation_share: float = 0.0) -> int:
    """About how many rows an epoch has, if all can be learned from and none is a copy."""
    counted = [(data.rows - aside(data.rows, validation_share), weight) for data, weight in mixture]
    return sum(an_epoch(rows, weight) for rows, weight in counted if not problem_with(weight))


def named(mixture: Sequence[Weighted]) -> str:
    """The data sets by name, with weights other than 1: `pirate-style, invoice-json (weight 0.5)`."""
    return ", ".join(data.name if weight == 1 else f"{data.name} (weight {weight:g})" for data, weight in mixture)


def counted(mixture: Sequence[Weighted]) -> str:
    """The data sets by name, with their rows and weights."""
    return "; ".join(f"{data.name}, {_rows(data)}{_weight(weight)}" for data, weight in mixture)


def called(mixture: Sequence[Weighted]) -> str:
    """What a run on the mixture is called after: all names of two data sets, else `pirate-style-and-2-more`."""
    first, *others = (data.name for data, _ in mixture)
    return "-".join([first, *others]) if len(others) < 2 else f"{first}-and-{len(others)}-more"


def _rows(data: DataSet) -> str:
    return f"{data.rows:,} row{'' if data.rows == 1 else 's'}"


def _weight(weight: float) -> str:
    return "" if weight == 1 else f", weight {weight:g}"
