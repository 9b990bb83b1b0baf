"""Rows as tokens, in a file that is mapped into memory: what a row costs there is its tokens, not Python's objects.

A row is a stretch of one long array of tokens, and of one that says which of them are learned. By default the files
have no name: they go when nobody holds their rows any more, also after a crash. Knows nothing about models, or how a
row became tokens.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from engine.data.render import Example, Marked

Numbers = NDArray[Any]
IDS, LEARNED, COUNTS = "ids.bin", "learned.bin", "counts.npy"


class TokenRows(Sequence[Example]):
    """Rows of tokens; a part of them, taken with `part`, shares their memory.

    Attributes:
        lengths: (rows,), tokens of each.
        answers: (rows,), tokens of each that carry loss.
        full_lengths: (rows,), tokens of each before it was cut.
        marks: (rows,), a number for each that is the same for rows of the same tokens.
    """

    def __init__(self, ids: Numbers, learned: Numbers, starts: Numbers, counts: Numbers) -> None:
        """`counts` is (4, rows): lengths, answers, full lengths and marks."""
        self._ids, self._learned, self._starts, self._counts = ids, learned, starts, counts
        self.lengths, self.answers, self.full_lengths, self.marks = counts

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
        ids, learned = self._ids[stretch].tolist(), self._learned[stretch].tobytes()
        return Marked(ids, learned, int(self.full_lengths[row])).example()

    def part(self, rows: Sequence[int] | Numbers) -> TokenRows:
        """The rows with these numbers, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return TokenRows(self._ids, self._learned, self._starts[chosen], self._counts[:, chosen])


def store(rows: Iterable[Marked], folder: Path | None = None) -> TokenRows:
    """Write rows one by one into nameless files and map them.

    Args:
        folder: on whose disk they are; the system's place for temporary files for None.
    """
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as learned:
        counts = _write(rows, ids, learned)
        ids.flush()
        learned.flush()
        return TokenRows(
            _mapped(ids, np.dtype(np.int32)), _mapped(learned, np.dtype(np.bool_)), _starts(counts), counts
        )


def save(rows: Iterable[Marked], folder: Path) -> None:
    """Write rows one by one into files of `folder`, which `opened` maps again."""
    with (folder / IDS).open("wb") as ids, (folder / LEARNED).open("wb") as learned:
        counts = _write(rows, ids, learned)
    np.save(folder / COUNTS, counts, allow_pickle=False)


def opened(folder: Path) -> TokenRows:
    """The rows that `save` has written into `folder`."""
    counts = np.load(folder / COUNTS, allow_pickle=False)
    with (folder / IDS).open("rb") as ids, (folder / LEARNED).open("rb") as learned:
        return TokenRows(
            _mapped(ids, np.dtype(np.int32)), _mapped(learned, np.dtype(np.bool_)), _starts(counts), counts
        )


def _write(rows: Iterable[Marked], ids: IO[bytes], learned: IO[bytes]) -> Numbers:
    """Write tokens and marks one after another; the counts of all rows, as `TokenRows` wants them."""
    counts = array("q")
    for row in rows:
        data = array("i", row.ids).tobytes()
        ids.write(data)
        learned.write(row.learned)
        mark = int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)
        counts.extend((len(row.ids), row.answer_tokens, row.full_length, mark))
    return np.array(counts, dtype=np.int64).reshape(-1, 4).T


def _starts(counts: Numbers) -> Numbers:
    starts: Numbers = np.cumsum(counts[0]) - counts[0]
    return starts


def _mapped(file: IO[bytes], dtype: np.dtype[Any]) -> Numbers:
    if not file.seek(0, 2):
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, "r")  # keeps the file's pages after it is closed
