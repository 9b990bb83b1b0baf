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

    def __init__(
        self, ids: Numbers, learned: Numbers, starts: Numbers, lengths: Numbers, full_lengths: Numbers
    ) -> None:
        self._ids, self._learned, self._starts = ids, learned, starts
        self.lengths, self.full_lengths = lengths, full_lengths
        self.answers = np.array([self._answers(row) for row in range(len(lengths))], dtype=np.int64)

    def _answers(self, row: int) -> int:
        start = int(self._starts[row])
        # The first token never carries loss, as nothing stands before it to predict it from.
        return int(self._learned[start + 1 : start + int(self.lengths[row])].sum())

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
        return TokenRows(
            self._ids, self._learned, self._starts[chosen], self.lengths[chosen], self.full_lengths[chosen]
        )


def store(examples: Iterable[Example], folder: Path | None = None) -> TokenRows:
    """Write examples one by one into nameless files and map them.

    Args:
        folder: on whose disk they are; the system's place for temporary files for None.
    """
    lengths, full_lengths = array("q"), array("q")
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as learned:
        for example in examples:
            ids.write(np.asarray(example.ids, dtype=np.int32).tobytes())
            learned.write(bytes(label != IGNORED for label in example.labels))
            lengths.append(len(example.ids))
            full_lengths.append(example.full_length)
        tokens = np.array(lengths, dtype=np.int64)
        starts = np.cumsum(tokens) - tokens
        return TokenRows(
            _mapped(ids, np.dtype(np.int32)),
            _mapped(learned, np.dtype(np.bool_)),
            starts,
            tokens,
            np.array(full_lengths, dtype=np.int64),
        )


def _mapped(file: IO[bytes], dtype: np.dtype[Any]) -> Numbers:
    file.flush()
    if not file.seek(0, 2):
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, "r")  # keeps the file's pages after it is closed
