"""Which rows of tokens are near copies of given ones: found without a miss, in one pass over all tokens.

Of a row the pairs of neighbouring tokens count, each once. Two rows are near if NEAR of all pairs that either has are
in both (Jaccard's index). Pairs that nearly all rows of a set have, such as those of a system prompt, a fixed
instruction or the template's marks, do not count: they would make all rows of the set alike.

A row that is near another lacks at most 1 - NEAR of the other's pairs. So of a row that is asked about only so many of
the rarest are looked for, and SHARED more; what has SHARED of these is compared in full (prefix filtering: Chaudhuri,
Ganti and Kaushik 2006, A Primitive Operator for Similarity Joins in Data Cleaning).

Knows nothing about sides, sets or texts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.data.tokens import Numbers, Stretch, TokenRows

NEAR = 0.8
COMMON = 0.9  # of the rows of a set; what more of them have does not count
SAMPLED = 200  # rows of a set by which it is known what is common
LEAST = 10  # rows of a set; of fewer it cannot be told
SHARED = 3  # rare pairs that a row has to have of another before it is compared
CROWD = 1000  # rows that have them; of more it is not found out which of them are near
COUNTED = 1_000_000  # tokens by which it is known what is rare
AT_ONCE = 1 << 18  # tokens that are looked at at once
BITS = 22  # of the table that tells most tokens apart from those looked for
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash: 2^64 divided by the golden ratio


class _Wanted(NamedTuple):
    """Pairs that are looked for, in order, each with who looks for it, a number among those asked about.

    Attributes:
        table: (2^BITS,), whether any of the pairs has this hash.
        least: (asked,), how many of its pairs a row has to have to be compared.
    """

    pairs: Numbers
    who: Numbers
    table: Numbers
    least: Numbers


class NearRows:
    """Near copies among `rows`; `sizes` are how many rows each set has, one after another."""

    def __init__(self, rows: TokenRows, sizes: Sequence[int]) -> None:
        self._rows = rows
        self._sizes = sizes
        self._pairs = functools.lru_cache(maxsize=10_000)(self._pairs_of)

    def of(self, asked: Sequence[int]) -> list[list[int] | None]:
        """For each of these rows the other rows that are near it; None where too many have something rare of it."""
        mine = [self._pairs(row) for row in asked]
        shared = self._sharing(mine)
        return [
            None if rows is None else [other for other in rows if other != row and _near(pairs, self._pairs(other))]
            for row, pairs, rows in zip(asked, mine, shared, strict=True)
        ]

    def _pairs_of(self, row: int) -> Numbers:
        return np.setdiff1d(_pairs(self._rows.ids(row)), self._common)

    @functools.cached_property
    def _common(self) -> Numbers:
        """Pairs that nearly all rows of any set have."""
        found = [np.zeros(0, np.uint64)]
        first = 0
        for size in self._sizes:
            if size >= LEAST:
                sample = np.unique(np.linspace(first, first + size - 1, SAMPLED).astype(int)).tolist()
                pairs, counts = np.unique(
                    np.concatenate([np.unique(_pairs(self._rows.ids(row))) for row in sample]), return_counts=True
                )
                found.append(pairs[counts >= COMMON * len(sample)])
            first += size
        return np.unique(np.concatenate(found))

    @functools.cached_property
    def _often(self) -> Numbers:
        """How often pairs of each hash are, in a sample of the rows."""
        mean = max(1.0, float(self._rows.lengths.mean()))
        step = max(1, int(len(self._rows) * mean / COUNTED))
        hashes = [_hash(_pairs(self._rows.ids(row))) for row in range(0, len(self._rows), step)]
        return np.bincount(np.concatenate(hashes), minlength=1 << BITS)

    def _rarest(self, pairs: Numbers) -> Numbers:
        """The rarest of the pairs: SHARED more than a near row can lack, as far as there are so many."""
        rarest: Numbers = pairs[np.argsort(self._often[_hash(pairs)], kind="stable")[: _lacking(pairs) + SHARED]]
        return rarest

    def _sharing(self, mine: Sequence[Numbers]) -> list[list[int] | None]:
        """For each of these rows, given by their pairs, the rows that share enough rare ones; None for a crowd."""
        rare = [self._rarest(pairs) for pairs in mine]
        least = np.array([len(few) - _lacking(pairs) for few, pairs in zip(rare, mine, strict=True)])
        found: list[set[int] | None] = [set() for _ in rare]
        wanted = _wanted(rare, found, least)
        for stretch in self._rows.stretches(AT_ONCE):
            if _note(found, *_seen(stretch, wanted)):
                wanted = _wanted(rare, found, least)
        return [None if rows is None else sorted(rows) for rows in found]


def _lacking(pairs: Numbers) -> int:
    """How many of its pairs a row can have that another one lacks which is near it."""
    return int((1 - NEAR) * len(pairs) + 1e-9)


def _pairs(ids: Numbers) -> Numbers:
    """Pairs of neighbouring tokens as one number each."""
    wide = ids.astype(np.uint64)
    pairs: Numbers = (wide[:-1] << np.uint64(32)) | wide[1:]
    return pairs


def _hash(pairs: Numbers) -> Numbers:
    hashes: Numbers = ((pairs * _MIXER) >> np.uint64(64 - BITS)).astype(np.int64)
    return hashes


def _near(one: Numbers, other: Numbers) -> bool:
    if not NEAR * len(one) - 1e-9 <= len(other) <= len(one) / NEAR + 1e-9:
        return False
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both >= NEAR * (len(one) + len(other) - both) - 1e-9 and both > 0


def _wanted(rare: Sequence[Numbers], found: Sequence[set[int] | None], least: Numbers) -> _Wanted:
    """The pairs of all whose rows are no crowd."""
    still = [number for number, rows in enumerate(found) if rows is not None]
    pairs = np.concatenate([np.zeros(0, np.uint64), *(rare[number] for number in still)])
    who = np.repeat(np.array(still, np.int64), [len(rare[number]) for number in still])
    order = np.argsort(pairs, kind="stable")
    table = np.zeros(1 << BITS, np.bool_)
    table[_hash(pairs)] = True
    return _Wanted(pairs[order], who[order], table, least)


def _seen(stretch: Stretch, wanted: _Wanted) -> tuple[Numbers, Numbers]:
    """Rows of the stretch that have enough of what somebody looks for, and who does, each once."""
    pairs = _pairs(stretch.ids)
    (at,) = wanted.table[_hash(pairs)].nonzero()
    first, last = (np.searchsorted(wanted.pairs, pairs[at], side) for side in ("left", "right"))
    at, first, many = at[last > first], first[last > first], (last - first)[last > first]
    row = np.searchsorted(stretch.starts, at, "right") - 1
    inside = at + 1 < stretch.ends[row]  # else its second token is another row's, or lies between two
    row, first, many = row[inside], first[inside], many[inside]
    which = np.repeat(first - np.cumsum(many) + many, many) + np.arange(many.sum())
    once = np.unique(np.repeat(row, many) * len(wanted.who) + which)  # a row may have a pair more than once
    asked = len(wanted.least)
    both, counts = np.unique(
        once // max(1, len(wanted.who)) * asked + wanted.who[once % max(1, len(wanted.who))], return_counts=True
    )
    both = both[counts >= wanted.least[both % asked]]
    return stretch.rows[both // asked], both % asked


def _note(found: list[set[int] | None], rows: Numbers, who: Numbers) -> bool:
    """Add the rows to what was found by whom; whether one has become a crowd."""
    crowds = False
    for number in np.unique(who).tolist():
        known = found[number]
        if known is not None:
            known.update(rows[who == number].tolist())
            if len(known) > CROWD:
                found[number], crowds = None, True
    return crowds
