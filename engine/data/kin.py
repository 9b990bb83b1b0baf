"""Rows in groups of copies, and which groups belong together because their rows are alike.

Who is like whom is found out only for the groups that somebody asks about, and for those found by that: over many rows
it is dear. Knows nothing about what a row is, or what makes two of them alike.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

Like = Callable[[Sequence[int]], Sequence[Collection[int] | None]]

DEEP = 6  # steps from row to like row; a chain that is longer counts as too long to name


class Groups:
    """Rows by their marks: those with the same mark are one group, numbered in the order of their first rows.

    Attributes:
        members: the rows of each group, by number.
        rows: how many rows there are in all.
    """

    def __init__(self, marks: Iterable[int]) -> None:
        found: dict[int, list[int]] = {}
        self.rows = 0
        for mark in marks:
            found.setdefault(mark, []).append(self.rows)
            self.rows += 1
        self.members = list(found.values())

    def rows_of(self, groups: Iterable[int]) -> set[int]:
        """All rows of these groups."""
        return {row for group in groups for row in self.members[group]}

    def by_row(self) -> list[int]:
        """The group of each row."""
        groups = [0] * self.rows
        for group, rows in enumerate(self.members):
            for row in rows:
                groups[row] = group
        return groups


class Kin:
    """Who belongs to whom: groups joined by any chain of rows that are alike.

    Args:
        like: for each of some rows the rows that are like it, or None if these are too many to name.
        most: groups; a kin of more is not followed to its end.
    """

    def __init__(self, groups: Groups, like: Like, most: int) -> None:
        self._groups, self._like, self._most = groups, like, most
        self._by_row: list[int] = []
        self._near: dict[int, set[int] | None] = {}

    def of(self, asked: Sequence[int]) -> list[set[int] | None]:
        """For each group all of its kin, itself among them; None where these are too many or too far apart."""
        for _ in range(DEEP):
            unknown = {other for group in asked for other in self._reached(group)[1]}
            if not unknown:
                break
            self._ask(sorted(unknown))
        reached = [self._reached(group) for group in asked]
        return [kin if kin is not None and not unknown else None for kin, unknown in reached]

    def _ask(self, groups: Sequence[int]) -> None:
        found = self._like([self._groups.members[group][0] for group in groups])
        for group, rows in zip(groups, found, strict=True):
            self._near[group] = None if rows is None else {self._group(row) for row in rows}

    def _group(self, row: int) -> int:
        self._by_row = self._by_row or self._groups.by_row()
        return self._by_row[row]

    def _reached(self, group: int) -> tuple[set[int] | None, list[int]]:
        """The kin as far as it is known, None if it is too large, and those in it that were not asked about yet."""
        kin, unknown, open_ends = {group}, [], [group]
        while open_ends:
            one = open_ends.pop()
            if one not in self._near:
                unknown.append(one)
                continue
            near = self._near[one]
            if near is None or len(kin | near) > self._most:
                return None, []
            open_ends += near - kin
            kin |= near
        return kin, unknown
