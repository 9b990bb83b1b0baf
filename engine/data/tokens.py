"""Rows as tokens, in a file that is mapped into memory: what a row costs there is its tokens, not Python's objects.

A row is a stretch of one long array of tokens, and of one that says which of them are learned. The file has no name: it
goes when nobody holds its rows any more, also after a crash. Knows nothing about models, or how a row became tokens.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from engine.data.render import IGNORED, Example

Numbers = NDArray[Any]


class TokenRows(Sequence[Example]):
    """Rows of tokens; a part of them, taken with `part`, shares their memory.

    Attributes:
        lengths: (rows,), tokens of each.
        answers: (rows,), tokens of each that carry loss.
        full_lengths: (rows,), tokens of each before it was cut.
    """

    def __init__(self, ids: Numbers, learned: Numbers, starts: Numbers, counts: Numbers) -> None:
        """`counts` is (3, rows): lengths, answers and full lengths."""
        self._ids, self._learned, self._starts, self._counts = ids, learned, starts, counts
        self.lengths, self.answers, self.full_lengths = counts

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> TokenRows: ...
    def __getitem__(self, row: int | slice) -> Example | TokenRows:
        if isinstance(row, slice):
            return self.part(range(len(self))[row])
        start = int(self._starts[row])
        stretch = slice(start, start + int(self.lengths[row]))
        ids, learned = self._ids[stretch].tolist(), self._learned[stretch]
        labels = [token if mark else IGNORED for token, mark in zip(ids, learned, strict=True)]
        return Example(ids, labels, int(self.full_lengths[row]))

    def part(self, rows: Sequence[int] | Numbers) -> TokenRows:
        """The rows with these numbers, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return TokenRows(self._ids, self._learned, self._starts[chosen], self._counts[:, chosen])


def store(examples: Iterable[Example], folder: Path | None = None) -> TokenRows:
    """Write examples one by one into nameless files and map them.

    Args:
        folder: on whose disk they are; the system's place for temporary files for None.
    """
    counts = array("q")
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as learned:
        for example in examples:
            ids.write(np.asarray(example.ids, dtype=np.int32).tobytes())
            learned.write(bytes(label != IGNORED for label in example.labels))
            counts.extend((len(example.ids), example.answer_tokens, example.full_length))
        by_kind = np.array(counts, dtype=np.int64).reshape(-1, 3).T
        starts = np.cumsum(by_kind[0]) - by_kind[0]
        return TokenRows(_mapped(ids, np.dtype(np.int32)), _mapped(learned, np.dtype(np.bool_)), starts, by_kind)


def _mapped(file: IO[bytes], dtype: np.dtype[Any]) -> Numbers:
    file.flush()
    if not file.seek(0, 2):
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, "r")  # keeps the file's pages after it is closed
