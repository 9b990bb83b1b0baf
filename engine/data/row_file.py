"""The clean rows of a data set as a sequence: any row by its number, read from disk when it is asked for.

Where each row begins is found once; only that is kept. Knows nothing about what a row says.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

Row = dict[str, Any]


class RowFile(Sequence[Row]):
    """The rows of a file as `write_rows` writes it, one JSON object a line. Raises OSError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = array("q", [0])
        with path.open("rb") as lines:
            for line in lines:
                self._starts.append(self._starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, row: int) -> Row: ...
    @overload
    def __getitem__(self, row: slice) -> list[Row]: ...
    def __getitem__(self, row: int | slice) -> Row | list[Row]:
        numbers = range(len(self))[row]
        if isinstance(numbers, int):
            return self._read([numbers])[0]
        return self._read(numbers)

    def __iter__(self) -> Iterator[Row]:
        with self._path.open("rb") as lines:
            yield from map(json.loads, lines)

    def _read(self, numbers: Sequence[int]) -> list[Row]:
        rows = []
        with self._path.open("rb") as file:
            for number in numbers:
                file.seek(self._starts[number])
                rows.append(json.loads(file.readline()))
        return rows
