"""Rows as tokens, in a file that is mapped into memory: what a row costs there is its tokens, not Python's objects.

A row is a stretch of one long array of tokens, and of one that says which of them are learned. By default the files
have no name: they go when nobody holds their rows any more, also after a crash. Knows nothing about models, or how a
row became tokens.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from engine.data.render import Example, Marked
from engine.data.sources import Sources

Numbers = NDArray[Any]
IDS, LEARNED, COUNTS = "ids.bin", "learned.bin", "counts.npy"


class Tokens(NamedTuple):
    """The long arrays of one file: tokens, and which of them are learned."""

    ids: Numbers
    learned: Numbers


class Stretch(NamedTuple):
    """Rows that lie one after another: their tokens, with what may lie between them; the number of each row, and where
    among the tokens it begins and ends."""

    ids: Numbers
    rows: Numbers
    starts: Numbers
    ends: Numbers


class TokenRows(Sequence[Example]):
    """Rows of tokens; a part of them, taken with `part`, shares their memory.

    Attributes:
        lengths: (rows,), tokens of each.
        answers: (rows,), tokens of each that carry loss.
        full_lengths: (rows,), tokens of each before it was cut.
        marks: (rows,), a number for each that is the same for rows of the same tokens.
        sources: (rows,), a number for each that is the same for rows whose column says that they have the same source;
            0 where it says nothing, or there are too many.
    """

    def __init__(self, files: Sequence[Tokens], places: Numbers, counts: Numbers) -> None:
        """`places` is (2, rows): the file of each row and where in it the row begins; `counts` is (5, rows): lengths,
        answers, full lengths, marks and sources."""
        self._files, self._places, self._counts = tuple(files), places, counts
        self.lengths, self.answers, self.full_lengths, self.marks, self.sources = counts

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> TokenRows: ...
    def __getitem__(self, row: int | slice) -> Example | TokenRows:
        if isinstance(row, slice):
            return self.part(range(len(self))[row])
        file, stretch = self._where(row)
        ids, learned = self._files[file].ids[stretch].tolist(), self._files[file].learned[stretch].tobytes()
        return Marked(ids, learned, int(self.full_lengths[row])).example()

    def _where(self, row: int) -> tuple[int, slice]:
        file, start = self._places[:, row].tolist()
        return file, slice(start, start + int(self.lengths[row]))

    def ids(self, row: int) -> Numbers:
        """(tokens,), the tokens of a row, as they lie in memory."""
        file, stretch = self._where(row)
        return self._files[file].ids[stretch]

    def stretches(self, tokens: int) -> Iterator[Stretch]:
        """All rows in the order of their files, as far as they lie there one after another, about `tokens` at once."""
        files, starts = self._places
        order = np.lexsort((self.lengths, starts, files))
        for number, file in enumerate(self._files):
            rows = order[files[order] == number]
            ends, at = starts[rows] + self.lengths[rows], 0
            while at < len(rows):
                begin = int(starts[rows[at]])
                end = max(at + 1, int(np.searchsorted(ends, begin + tokens, "right")))
                part, last = rows[at:end], int(ends[end - 1])
                yield Stretch(file.ids[begin:last], part, starts[part] - begin, ends[at:end] - begin)
                at = end

    def part(self, rows: Sequence[int] | Numbers) -> TokenRows:
        """The rows with these numbers, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return TokenRows(self._files, self._places[:, chosen], self._counts[:, chosen])

    @staticmethod
    def joined(several: Sequence[TokenRows]) -> TokenRows:
        """The rows of several one after another. They share the memory."""
        files = [file for rows in several for file in rows._files]
        before = np.cumsum([0, *(len(rows._files) for rows in several[:-1])])
        moved = [rows._places + np.array([[first], [0]]) for first, rows in zip(before, several, strict=True)]
        return TokenRows(files, np.concatenate(moved, 1), np.concatenate([rows._counts for rows in several], 1))


def store(rows: Iterable[Marked], folder: Path | None = None) -> TokenRows:
    """Write rows one by one into nameless files and map them.

    Args:
        folder: on whose disk they are; the system's place for temporary files for None.
    """
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as learned:
        counts = _write(rows, ids, learned)
        ids.flush()
        learned.flush()
        return _rows(ids, learned, counts)


def save(rows: Iterable[Marked], folder: Path) -> None:
    """Write rows one by one into files of `folder`, which `opened` maps again."""
    with (folder / IDS).open("wb") as ids, (folder / LEARNED).open("wb") as learned:
        counts = _write(rows, ids, learned)
    np.save(folder / COUNTS, counts, allow_pickle=False)


def opened(folder: Path) -> TokenRows:
    """The rows that `save` has written into `folder`."""
    counts = np.load(folder / COUNTS, allow_pickle=False)
    with (folder / IDS).open("rb") as ids, (folder / LEARNED).open("rb") as learned:
        return _rows(ids, learned, counts)


def _write(rows: Iterable[Marked], ids: IO[bytes], learned: IO[bytes]) -> Numbers:
    """Write tokens and marks one after another; the counts of all rows, as `TokenRows` wants them."""
    counts, sources = array("q"), Sources()
    for row in rows:
        data = array("i", row.ids).tobytes()
        ids.write(data)
        learned.write(row.learned)
        mark = int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)
        counts.extend((len(row.ids), row.answer_tokens, row.full_length, mark, sources.number(row.source)))
    told = np.array(counts, dtype=np.int64).reshape(-1, 5).T
    if not sources.are_few:
        told[4] = 0
    return told


def _rows(ids: IO[bytes], learned: IO[bytes], counts: Numbers) -> TokenRows:
    file = Tokens(_mapped(ids, np.dtype(np.int32)), _mapped(learned, np.dtype(np.bool_)))
    starts = np.cumsum(counts[0]) - counts[0]
    return TokenRows([file], np.stack([np.zeros_like(starts), starts]), counts)


def _mapped(file: IO[bytes], dtype: np.dtype[Any]) -> Numbers:
    if not file.seek(0, 2):
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, "r")  # keeps the file's pages after it is closed
