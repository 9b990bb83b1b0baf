"""Which rows are kept aside to measure on. Follows from the seed alone, and imports no torch: a form asks it, too.

Rows that are the same stay on one side of the line: a row that was learned says nothing when it is measured. Where no
two rows are the same, the split is that of the row numbers alone.

Knows nothing about what a row is.
"""

import random
from collections.abc import Iterable

MOST_VALIDATION_ROWS = 500  # enough for a steady mean; more would only slow the run


def aside(count: int, share: float) -> int:
    """How many of `count` rows are kept aside. At least one stays for training."""
    if share == 0 or count < 2:
        return 0
    return min(max(1, round(count * share)), MOST_VALIDATION_ROWS, count - 1)


def split(marks: Iterable[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and for validation.

    Args:
        marks: a number for each row, the same for rows that are the same.

    Of all different rows the share is drawn, each with its copies; one with more copies than rows are wanted stays in
    training while there are others. So a few more or less rows than `aside` says are kept aside where rows are copied.
    """
    groups: dict[int, list[int]] = {}
    for row, mark in enumerate(marks):
        groups.setdefault(mark, []).append(row)
    different, count = list(groups.values()), sum(map(len, groups.values()))
    small = [rows for rows in different if len(rows) <= aside(count, share)] or different
    drawn = random.Random(f"split {seed}").sample(small, min(aside(len(different), share), len(small)))
    chosen = {row for rows in drawn for row in rows}
    return [row for row in range(count) if row not in chosen], sorted(chosen)
