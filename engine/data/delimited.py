"""Rows of a table in text: CSV, TSV and their kin. What parts the columns, and how they are quoted, is found out.

The first line names the columns; where it looks like a row instead, they are called column 1, column 2, ... Every cell
is text. Knows nothing about what a column means.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TextIO

from engine.data.detect import KNOWN
from engine.data.problems import RowError
from engine.data.raw import Raw, RawRow, too_long
from engine.data.stream import LONGEST, Stream

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", "\x1f": "none"}  # the last: a single column
# The sign round a cell, the one before a quote within it, and what a text written so has in it; likely ones first.
QUOTING = (('"', None, ""), ('"', "\\", '\\"'), ("'", None, "',"), ("'", None, "';"), ("'", None, "'\t"))
_SEEN = 50  # rows that tell a table from other text
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Layout:
    """How a table is written."""

    delimiter: str
    quote: str
    escape: str | None
    names: tuple[str, ...]
    has_header: bool

    def reader(self, lines: Iterator[str]) -> Any:
        """Python's reader for it."""
        csv.field_size_limit(LONGEST)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
        )


def layout_of(head: str, whole: bool) -> Layout | None:
    """How the table that begins with `head` is written; None if it does not look like one.

    Args:
        whole: whether `head` is all there is; otherwise its last line may be cut.
    """
    found = [layout for sign in DELIMITERS if (layout := _tried(head, sign, whole))]
    known = [layout for layout in found if _knows(layout.names)]
    return max(known or found, key=lambda layout: len(layout.names), default=None)


class Table(Raw):
    """A CSV or TSV file."""

    def __init__(self, stream: Stream, layout: Layout) -> None:
        super().__init__(stream)
        self._layout = layout
        self.container = "TSV" if layout.delimiter == "\t" else "CSV"
        if not layout.has_header:
            self.understood = "Its first line names no columns, so they are called column 1, column 2, and so on."

    def detected(self) -> dict[str, str]:
        """As `Raw.detected`, and what parts the columns."""
        header = {} if self._layout.has_header else {"header": "none"}
        return {**super().detected(), "delimiter": DELIMITERS[self._layout.delimiter], **header}

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`. A row is numbered by the line it begins on."""
        with self._stream.text() as text:
            lines = _Lines(text)
            reader = self._layout.reader(iter(lines))
            header_passed = not self._layout.has_header
            while True:
                start = lines.count + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield start, _broken(error)
                    return
                if cells is None:
                    return
                if lines.cut:
                    lines.cut = False
                    yield start, too_long(LONGEST)
                elif not cells:
                    continue
                elif not header_passed:
                    header_passed = True
                else:
                    yield start, self._row(cells)

    def _row(self, cells: list[str]) -> Any:
        names = self._layout.names
        if len(cells) < len(names) or any(cells[len(names) :]):
            return RowError(f"this has {len(cells)} column{'s'[: len(cells) > 1]}, and the header has {len(names)}.")
        try:
            return {name: self._decoding.mend(cell) for name, cell in zip(names, cells, strict=False) if name}
        except RowError as error:
            return error


class _Lines:
    """The lines of a text, counted; of one that is too long only the beginning, with a word that it was cut."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.count = 0
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(LONGEST):
            self.count += 1
            if len(line) == LONGEST and line[-1] not in "\r\n":
                self.cut = True
                while (rest := self._text.readline(LONGEST)) and rest[-1] not in "\r\n":
                    pass
                line = line[:1000].replace('"', "").replace("'", "") + "\n"
            yield line


def _tried(text: str, sign: str, whole: bool) -> Layout | None:
    """The layout with this sign between columns, if the text fits it."""
    drafts = [Layout(sign, quote, escape, (), True) for quote, escape, sign_of_it in QUOTING if sign_of_it in text]
    tried = [(draft, rows) for draft in drafts if (rows := _first_rows(text, draft, whole))]
    even = [one for one in tried if len({len(row) for row in one[1]}) == 1]
    draft, rows = next(iter([*even, *tried]), (drafts[0], []))
    if not rows or not _is_table(rows, sign):
        return None
    header = _is_header(rows[0])
    names = _named(rows[0]) if header else tuple(f"column {number}" for number in range(1, len(rows[0]) + 1))
    return Layout(sign, draft.quote, draft.escape, names, header)


def _first_rows(text: str, draft: Layout, whole: bool) -> list[list[str]]:
    """The first rows of the text; the last may be cut where that is not all. None at all if they cannot be read."""
    try:
        rows = list(islice(draft.reader(io.StringIO(text, newline="")), _SEEN))
    except csv.Error:
        return []
    return [row for row in (rows if whole or len(rows) == _SEEN else rows[:-1] or rows) if row]


def _is_table(rows: list[list[str]], sign: str) -> bool:
    """Whether these are the first rows of a table: known names on top, or rows of one width that have little text."""
    if _knows(rows[0]):
        return len(rows[0]) > 1 or sign == "\x1f"
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2 or len(rows[0]) != width or count < 0.9 * len(rows):
        return False
    return len(rows) > 1 and (_is_header(rows[0]) or count >= 3)


def _is_header(cells: list[str]) -> bool:
    names = [cell.strip() for cell in cells]
    if _knows(cells):
        return True
    given = [name for name in names if name]
    plain = all(
        len(n) <= _LONGEST_NAME and not re.search(r"[.?!]$|^[\d\s.,%-]+$", n) and len(n.split()) <= 4 for n in given
    )
    return len(given) > 0 and len(set(given)) == len(given) and plain


def _knows(names: tuple[str, ...] | list[str]) -> bool:
    """Whether one of the names is a known one, and none of them is longer than a name."""
    return any(n.strip().lower() in KNOWN for n in names) and all(len(n) <= _LONGEST_NAME for n in names)


def _named(cells: list[str]) -> tuple[str, ...]:
    """Names of columns, each different; empty ones stay empty, and their columns are left out."""
    seen: Counter[str] = Counter()
    names = []
    for cell in cells:
        name = cell.strip()
        seen[name] += 1
        names.append(f"{name} ({seen[name]})" if name and seen[name] > 1 else name)
    return tuple(names)


def _broken(error: csv.Error) -> RowError:
    if "field larger" in str(error):
        return RowError(
            f"a quote that is opened here is not closed within {LONGEST:,} characters, so nothing after it can be read."
        )
    return RowError(f"this cannot be read as a table ({error}), and so nothing after it.")
