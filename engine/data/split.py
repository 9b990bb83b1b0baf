"""Which rows are kept aside to measure on. Follows from the seed alone, and imports no torch: a form asks it, too.

Knows nothing about what a row is.
"""

import random

MOST_VALIDATION_ROWS = 500  # enough for a steady mean; more would only slow the run


def aside(count: int, share: float) -> int:
    """How many of `count` rows are kept aside. At least one stays for training."""
    if share == 0 or count < 2:
        return 0
    return min(max(1, round(count * share)), MOST_VALIDATION_ROWS, count - 1)


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and for validation."""
    chosen = set(random.Random(f"split {seed}").sample(range(count), aside(count, share)))
    return [i for i in range(count) if i not in chosen], sorted(chosen)
