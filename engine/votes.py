"""What votes tell: shares with intervals, strengths, how sure a difference is, and how many more votes would tell.

A vote says which of the contestants that stood was best. Ties and "all bad" name no best one: the tests here leave them
out, as the sign test does (Dixon & Mood 1946), and whoever shows a result says how many there were.

Knows nothing about adapters, the library or the page, and computes in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.05  # of the tests, and of what lies outside an interval
POWER = 0.8  # the chance that a difference of the size seen so far is then found
MOST_VOTES = 2_000  # no count of votes beyond it is worth naming
MOST_EXACT = 200  # votes up to which the power is that of the exact test
_Z = NormalDist().inv_cdf(1 - LEVEL / 2)


class Choice(NamedTuple):
    """One vote: who stood, by place, and the one that was best."""

    stood: frozenset[int]
    best: int


class Share(NamedTuple):
    """An estimate from 0 to 1 and its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(wins: int, votes: int) -> Share:
    """The share of wins with its score interval: Wilson 1927, J. Am. Stat. Assoc. 22, page 209; 0 to 1 of none."""
    if not votes:
        return Share(0.5, 0.0, 1.0)
    share, z2 = wins / votes, _Z * _Z
    middle = (share + z2 / (2 * votes)) / (1 + z2 / votes)
    half = _Z / (1 + z2 / votes) * math.sqrt(share * (1 - share) / votes + z2 / (4 * votes * votes))
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


def sign_test(wins: int, losses: int) -> float:
    """p of the exact two-sided test that wins and losses are equally likely (binomial, share 1/2)."""
    votes, fewer = wins + losses, min(wins, losses)
    if wins == losses:
        return 1.0
    as_uneven: float = 2 * sum(math.comb(votes, k) for k in range(fewer + 1)) / 2**votes
    return min(1.0, as_uneven)


def votes_needed(wins: int, losses: int, tests: int = 1) -> int | None:
    """How many votes in all find a difference of the share seen so far, at level LEVEL and with power POWER.

    The level is shared among so many `tests` made at once (Bonferroni: what Holm's first step asks).

    Exact for the two-sided sign test up to MOST_EXACT votes, beyond it by the normal approximation (Fleiss, Levin &
    Paik 2003, section 2.6). None if the shares are equal, or if it would take more than MOST_VOTES.
    """
    if wins == losses:
        return None
    share, level = max(wins, losses) / (wins + losses), LEVEL / tests
    for votes in range(1, MOST_EXACT + 1):
        if _power(share, votes, level) >= POWER:
            return votes
    spread = NormalDist().inv_cdf(1 - level / 2) * 0.5 + NormalDist().inv_cdf(POWER) * math.sqrt(share * (1 - share))
    needed = math.ceil((spread / (share - 0.5)) ** 2)
    return max(needed, MOST_EXACT + 1) if needed <= MOST_VOTES else None


def _power(share: float, votes: int, level: float) -> float:
    """The chance that the sign test at `level` finds it, when each of `votes` votes is won with chance `share`."""
    fewer, found = 0, 0
    while 2 * (found + math.comb(votes, fewer)) <= level * 2**votes:
        found += math.comb(votes, fewer)
        fewer += 1
    ends = [*range(fewer), *range(votes - fewer + 1, votes + 1)]
    chances: list[float] = [math.comb(votes, k) * share**k * (1 - share) ** (votes - k) for k in ends]
    return sum(chances)


def strengths(contestants: int, choices: Sequence[Choice]) -> list[Share]:
    """The chance of each contestant to be chosen over an average one, with its interval.

    The model of Bradley & Terry 1952 (Biometrika 39, equation 3), in Luce's form for a choice among several:
    P(i is best of S) = s_i / sum of s over S. Fitted by the MM algorithm of Hunter 2004 (Ann. Stat. 32, section 5);
    intervals by the observed information. So that a contestant which never won or never lost has a finite strength,
    each has half a win and half a loss against an average opponent of strength 1 beside its votes; by that the chances
    against it come to one half on average.
    """
    found = _fitted(contestants, choices)
    spread = _inverse(_information(found, choices))
    logs = [math.log(strength) for strength in found]
    half = [_Z * math.sqrt(spread[i][i]) for i in range(contestants)]
    return [Share(*map(_chance, (at, at - w, at + w))) for at, w in zip(logs, half, strict=True)]


def _fitted(contestants: int, choices: Sequence[Choice]) -> list[float]:
    wins = [0.5 + sum(choice.best == i for choice in choices) for i in range(contestants)]
    found = [1.0] * contestants
    for _ in range(10_000):
        weights = [1 / (1 + strength) for strength in found]
        for choice in choices:
            each = 1 / sum(found[i] for i in choice.stood)
            for i in choice.stood:
                weights[i] += each
        before, found = found, [win / weight for win, weight in zip(wins, weights, strict=True)]
        if all(math.isclose(a, b, rel_tol=1e-10) for a, b in zip(before, found, strict=True)):
            break
    return found


def _information(found: Sequence[float], choices: Sequence[Choice]) -> list[list[float]]:
    """Minus the second derivatives of the log-likelihood by the logarithms of the strengths."""
    size = range(len(found))
    table = [[found[i] / (1 + found[i]) ** 2 if i == j else 0.0 for j in size] for i in size]
    for choice in choices:
        total = sum(found[i] for i in choice.stood)
        for i in choice.stood:
            table[i][i] += found[i] / total
            for j in choice.stood:
                table[i][j] -= found[i] * found[j] / total**2
    return table


def _inverse(table: list[list[float]]) -> list[list[float]]:
    """By Gauss and Jordan; the table is symmetric and positive definite, so no pivot is zero."""
    size = len(table)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(table)]
    for i in range(size):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(size):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]


def _chance(log_strength: float) -> float:
    return 1 / (1 + math.exp(-log_strength))


def head_to_head(choices: Sequence[Choice], one: int, other: int) -> tuple[int, int]:
    """Of the votes in which both stood, how often `one` was best, and how often `other` was."""
    both = [choice.best for choice in choices if {one, other} <= choice.stood]
    return both.count(one), both.count(other)


def corrected(values: Sequence[float]) -> list[float]:
    """p-values of several tests at once: Holm 1979, Scand. J. Stat. 6, page 67."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    told, highest = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        told[i] = highest
    return told
