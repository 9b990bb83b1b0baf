"""Which rows are kept aside to measure on. Follows from the seed alone, and imports no torch: a form asks it, too.

Rows that are the same, and rows that are like each other, stay on one side of the line: a row that was learned says
nothing when it is measured. Of several sources each gives its share. Where no two rows are like each other, a source
is split by its row numbers alone, the same by itself and beside others.

Knows nothing about what a row is, or what makes two of them alike.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from engine.data.kin import Groups, Kin, Like

MOST_VALIDATION_ROWS = 500  # enough for a steady mean; more would only slow the run
DRAWS = 4  # times that others are drawn for rows which have too many like them
SPARE = 2  # times as many are drawn then as are missing


class Split(NamedTuple):
    """The rows on each side, by number.

    Attributes:
        regrouped: whether other rows are kept aside than would be if only copies were kept together.
        across: whether rows that are like each other are on both sides, since otherwise nothing could be measured.
    """

    train: list[int]
    validation: list[int]
    regrouped: bool = False
    across: bool = False


def aside(count: int, share: float) -> int:
    """How many of `count` rows are kept aside. At least one stays for training."""
    if share == 0 or count < 2:
        return 0
    return min(max(1, round(count * share)), MOST_VALIDATION_ROWS, count - 1)


def split(
    marks: Iterable[int], share: float, seed: int, sources: Sequence[int] | None = None, like: Like | None = None
) -> Split:
    """Indices for training and for validation.

    Args:
        marks: a number for each row, the same for rows that are the same.
        sources: the number of the source of each row, from 0; None for one source.
        like: for each of some rows the rows that are like it, or None if these are too many to name.

    Of all different rows of a source the share is drawn, each with its copies; one with more copies than rows are
    wanted stays in training while there are others. So a few more or less rows than `aside` says are kept aside where
    rows are copied. Rows with others like them are kept aside together if the share has room for all, else learned.
    """
    groups = Groups(marks)
    by_source = _by_source(groups, share, sources or [0] * groups.rows)
    parts = [_source(groups, members, share, seed) for members in by_source]
    if not any(source.drawn for source in parts) and len(groups.members) > 1:  # none has two different rows
        parts = [_source(groups, list(range(len(groups.members))), share, seed)]
    wanted = allotted([len(source.drawn) for source in parts], MOST_VALIDATION_ROWS)
    plain = [group for source, count in zip(parts, wanted, strict=True) for group in source.drawn[:count]]
    chosen = _Choice(groups, parts, wanted, seed, like).groups() if like and plain else plain
    rows = groups.rows_of(chosen or plain)
    regrouped, across = bool(chosen) and set(chosen) != set(plain), bool(plain) and not chosen
    return Split([row for row in range(groups.rows) if row not in rows], sorted(rows), regrouped, across)


class _Source(NamedTuple):
    """The groups of copies of one source.

    Attributes:
        members: all of them.
        most: rows that a group has at most to be kept aside.
        drawn: those that are kept aside if they are like no others, in the order they were drawn in.
    """

    members: list[int]
    most: int
    drawn: list[int]


def _by_source(groups: Groups, share: float, sources: Sequence[int]) -> list[list[int]]:
    """Groups by the source of their first row. Sources too small to give a row by themselves are taken together."""
    sizes = Counter(sources)
    small = [sizes[source] * share < 1 for source in range(max(sources, default=0) + 1)]
    together = small.index(True) if any(small) else 0
    found: list[list[int]] = [[] for _ in small]
    for group, rows in enumerate(groups.members):
        source = sources[rows[0]]
        found[together if small[source] else source].append(group)
    return [members for members in found if members]


def _source(groups: Groups, members: list[int], share: float, seed: int) -> _Source:
    copies = [len(groups.members[group]) for group in members]
    most = aside(sum(copies), share)
    if min(copies) > most:
        most = max(copies)
    small = members if max(copies) <= most else [g for g, size in zip(members, copies, strict=True) if size <= most]
    drawn = random.Random(f"split {seed}").sample(small, min(aside(len(members), share), len(small)))
    return _Source(members, most, drawn)


class _Choice:
    """Groups that are kept aside, each with all that are like it, as far as the share of each source has room."""

    def __init__(
        self, groups: Groups, sources: Sequence[_Source], wanted: Sequence[int], seed: int, like: Like
    ) -> None:
        self._groups, self._sources, self._room = groups, sources, list(wanted)
        self._source_of = [0] * len(groups.members)
        for at, source in enumerate(sources):
            for group in source.members:
                self._source_of[group] = at
        self._third = min(len(groups.members) // 3, MOST_VALIDATION_ROWS)
        self._kin = Kin(groups, like, max(*wanted, self._third, 1))
        self._lots = [self._lot(source, seed) for source in sources]
        self._taken: set[int] = set()
        self._left: list[set[int]] = []  # kin for which there was no room

    def groups(self) -> set[int]:
        """What is kept aside; the least kin there is, if none has room; nothing, if that is most of the rows."""
        for draw in range(DRAWS):
            asked = [list(islice(lot, room * (SPARE if draw else 1))) for lot, room in self._lots_with_room()]
            if not any(asked):
                break
            self._take([group for some in asked for group in some])
        if not self._taken:
            self._taken = min((kin for kin in self._left if len(kin) <= self._third), key=len, default=set())
        return self._taken

    def _lots_with_room(self) -> list[tuple[Iterator[int], int]]:
        return [(lot, room) for lot, room in zip(self._lots, self._room, strict=True) if room > 0]

    @staticmethod
    def _lot(source: _Source, seed: int) -> Iterator[int]:
        """The groups of a source in the order of their turns."""
        yield from source.drawn
        drawn = set(source.drawn)
        rest = [group for group in source.members if group not in drawn]
        random.Random(f"split {seed} again").shuffle(rest)
        yield from rest

    def _take(self, asked: Sequence[int]) -> None:
        for group, kin in zip(asked, self._kin.of(asked), strict=True):
            if kin is None or group in self._taken:
                continue
            if self._fits(kin):
                self._taken |= kin
                for one in kin:
                    self._room[self._source_of[one]] -= 1
            else:
                self._left.append(kin)

    def _fits(self, kin: set[int]) -> bool:
        needed = [0] * len(self._sources)
        for group in kin:
            at = self._source_of[group]
            needed[at] += 1
            if len(self._groups.members[group]) > self._sources[at].most:
                return False
        return all(one <= room for one, room in zip(needed, self._room, strict=True))


def allotted(wanted: Sequence[int], most: int) -> list[int]:
    """`wanted`, made smaller in proportion until all are `most`; each keeps one while there are enough.

    All are whole numbers: what is left by rounding goes to those that lost most by it.
    """
    total = sum(wanted)
    if total <= most:
        return list(wanted)
    least = [min(one, 1) for one in wanted] if len(wanted) - list(wanted).count(0) <= most else [0] * len(wanted)
    rest, left = [one - low for one, low in zip(wanted, least, strict=True)], most - sum(least)
    given = [one * left // sum(rest) for one in rest]
    lost = sorted(range(len(rest)), key=lambda at: -(rest[at] * left % sum(rest)))
    for at in lost[: left - sum(given)]:
        given[at] += 1
    return [low + one for low, one in zip(least, given, strict=True)]
