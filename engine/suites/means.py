"""What the scores of many answers tell: means with intervals, and whether two contestants differ.

Prompts are the sample: intervals say how far a mean might move with other prompts of the same kind, not with another
seed. Two contestants answered the same prompts, so they are compared prompt by prompt. Knows nothing about what a score
means, and nothing about the library or the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from engine.votes import LEVEL, corrected, sign_test, wilson

RESAMPLES = 2_000
SEED = 0  # the same scores give the same interval each time
FEWEST = 5  # prompts below which no interval is told


class Mean(NamedTuple):
    """A mean of so many `prompts` and its 95 % interval; None where so few prompts tell none."""

    value: float
    low: float | None
    high: float | None
    prompts: int


class Difference(NamedTuple):
    """One contestant against another on the prompts that both have: how much more `first` has, and how sure that is.

    `higher` and `lower` count the prompts on which `first` has more or less; `p` is the sign test's, corrected.
    """

    first: int
    other: int
    value: float
    low: float | None
    high: float | None
    higher: int
    lower: int
    p: float


Values = Sequence[float | None]  # one a prompt; None where there is none


def mean(values: Values) -> Mean:
    """The mean of the values there are. Wilson's interval where all are 0 or 1, else that of the bootstrap."""
    known = [value for value in values if value is not None]
    if not known:
        return Mean(math.nan, None, None, 0)
    if set(known) <= {0.0, 1.0}:
        share = wilson(round(sum(known)), len(known))
        return Mean(*share, len(known))
    low, high = _interval(known, [1.0] * len(known))
    return Mean(sum(known) / len(known), low, high, len(known))


def perplexity(logprobs: Values, tokens: Sequence[int]) -> Mean:
    """exp of the mean loss of a token over all references: Jelinek et al. 1977, J. Acoust. Soc. Am. 62, S63.

    Args:
        logprobs: of each reference, the sum over its tokens, in nats.
    """
    known = [(-value, count) for value, count in zip(logprobs, tokens, strict=True) if value is not None and count]
    if not known:
        return Mean(math.nan, None, None, 0)
    losses, counts = [one for one, _ in known], [float(count) for _, count in known]
    low, high = _interval(losses, counts)
    value = math.exp(sum(losses) / sum(counts))
    return Mean(value, _exp(low), _exp(high), len(known))


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def differences(contestants: Sequence[Values]) -> list[Difference]:
    """Every two contestants, by their places; all pairs are tested, so p is corrected for their number (Holm 1979)."""
    pairs = list(combinations(range(len(contestants)), 2))
    found = [_difference(first, other, contestants[first], contestants[other]) for first, other in pairs]
    sure = corrected([one.p for one in found])
    return [one._replace(p=p) for one, p in zip(found, sure, strict=True)]


def _difference(first: int, other: int, ones: Values, others: Values) -> Difference:
    both = [a - b for a, b in zip(ones, others, strict=True) if a is not None and b is not None]
    low, high = _interval(both, [1.0] * len(both))
    value = sum(both) / len(both) if both else 0.0
    higher, lower = sum(one > 0 for one in both), sum(one < 0 for one in both)
    return Difference(first, other, value, low, high, higher, lower, sign_test(higher, lower))


def _interval(values: Sequence[float], weights: Sequence[float]) -> tuple[float | None, float | None]:
    """The percentile interval of sum(values) / sum(weights) over prompts drawn again: Efron & Tibshirani 1993, 13.3."""
    if len(values) < FEWEST:
        return None, None
    import numpy as np

    drawn = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    told = np.array(values)[drawn].sum(1) / np.array(weights)[drawn].sum(1)
    low, high = np.quantile(told, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)
