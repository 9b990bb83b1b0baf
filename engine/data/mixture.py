"""Which rows of a mixture an epoch has: of each set as many as its weight says, from the seed alone.

A weight is how often a set's rows come in an epoch: 1 is every row once, 2 every row twice, 0.5 half of them. Where it
is no whole number, the sets' rows take turns: none comes once more before every other one has come as often, so after
two epochs of 0.5 each row was learned once.

Knows nothing about what a row is.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

LEAST_WEIGHT, MOST_WEIGHT = 0.001, 100.0
MOST_SETS = 20


class Part(NamedTuple):
    """The rows of one set that are learned: how many there are, and how many come in an epoch."""

    rows: int
    an_epoch: int


def an_epoch(rows: int, weight: float) -> int:
    """How many of `rows` come in an epoch: at least one, if there is any."""
    return max(1, int(rows * weight + 0.5)) if rows else 0


def rows_of_epoch(parts: Sequence[Part], seed: int, epoch: int) -> Sequence[int]:
    """The numbers of an epoch's rows; the sets stand one after another. A row that comes twice is there twice."""
    if all(part.rows == part.an_epoch for part in parts):
        return range(sum(part.rows for part in parts))
    chosen: list[int] = []
    first = 0
    for place, part in enumerate(parts):
        chosen += [first + row for row in _turns(part, f"mixture {seed} {place}", epoch)]
        first += part.rows
    return chosen


def _turns(part: Part, seed: str, epoch: int) -> list[int]:
    """The rows of a set whose turn it is, in order: a stretch of endless rounds, in each of which all come once."""
    begin, end = epoch * part.an_epoch, (epoch + 1) * part.an_epoch
    rows: list[int] = []
    for number in range(begin // part.rows, -(-end // part.rows)) if part.rows else ():
        first = number * part.rows
        whole = begin <= first and first + part.rows <= end
        order = range(part.rows) if whole else _shuffled(part.rows, f"{seed} {number}")
        rows += order[max(0, begin - first) : end - first]
    return sorted(rows)


def _shuffled(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
