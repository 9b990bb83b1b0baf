"""Where rows come from, as a column of theirs says: the different values, numbered and counted as rows go by.

Knows nothing about files, or about what is done with the numbers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST = 100  # different values; a column that has more does not part the rows


class Sources:
    """The sources of rows that went by."""

    def __init__(self) -> None:
        self._numbers = {"": 0}
        self._rows: Counter[str] = Counter()

    def number(self, source: str) -> int:
        """The number of the source of one row more: 0 for none (""), the others from 1 in the order they came in."""
        if self.are_few:
            self._rows[source] += 1
            return self._numbers.setdefault(source, len(self._numbers))
        return 0

    @property
    def are_few(self) -> bool:
        """Whether they part the rows: there are at most MOST of them."""
        return len(self._numbers) <= MOST + 1

    def facts(self, column: str) -> dict[str, Any]:
        """The column, and the rows of each source, most first; of none where they are too many."""
        counted = {name: count for name, count in self._rows.most_common() if name}
        return {"column": column, "rows": counted if self.are_few else {}}
