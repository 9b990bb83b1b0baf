"""From a file to clean rows: every row is made one of two shapes, or named with the reason why it cannot be.

A clean row is {"messages": [{"role", "content"[, "weight"]}, ...]} or {"text": ...}, with "source" where a column tells
it. They are kept as canonical JSONL,
whose SHA-256 is the identity of a data set. Rows pass by one at a time, so that a file may be larger than the memory.
Knows nothing about tokens: see `render.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from engine.data.detect import SAMPLE, Format, column_names, detect
from engine.data.problems import MOST_NAMED, DataError, RowError
from engine.data.raw import Raw
from engine.data.read import opened
from engine.data.shapes import Row, clean
from engine.data.sources import Sources

__all__ = ["BadRow", "Checked", "DataError", "Preview", "Reading", "Row", "each_row", "preview", "read", "read_rows",
           "spans", "write_rows"]  # fmt: skip

# The number of a row's place, what stands there, the place in words or nothing, and which file of several it is in.
Given = tuple[int, Any, str, int]
PREVIEWED = 3  # clean rows of a preview
MOST_COLUMNS = 200  # of a preview
MOST_COUNTED = 1000  # files whose rows are counted one by one
ENOUGH = 16_000_000  # characters of values after which a sample is large enough


class BadRow(NamedTuple):
    """A row that cannot be used: the number of its place, why, and both in a sentence."""

    line: int
    reason: str
    sentence: str


@dataclass(frozen=True)
class Checked:
    """A file that was read: its format, a sentence on how it was understood, and its clean rows.

    Attributes:
        bad: the first 100 rows that were left out; `bad_total` counts them all.
    """

    format: str
    understood: str
    rows: list[Row]
    facts: dict[str, Any] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    bad_total: int = 0


@dataclass(frozen=True)
class Preview:
    """What the beginning of a file shows.

    Attributes:
        format: empty if it was not understood, or cannot be read; then `problems` say why.
        columns: the column of each role.
        column_names: all of them, for a person to choose from.
        rows: the first 3 clean ones; None if it was not understood.
        problems: sentences, also on rows among the first that cannot be used.
    """

    format: str
    understood: str
    columns: dict[str, str]
    column_names: list[str]
    rows: list[Row] | None
    problems: list[str]


class Reading:
    """A file being read: iterate over it once, for its clean rows. A context manager.

    Attributes:
        bad: the first 100 rows so far that cannot be used; `bad_total` counts them all.
    """

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None, name: str | None = None) -> None:
        """Find the format. `columns` maps roles to names of columns; None finds that out, too.

        Raises:
            DataError: the file cannot be read, or holds nothing to learn from.
        """
        self.bad: list[BadRow] = []
        self.bad_total = 0
        self._by_file: Counter[int] = Counter()
        self.by_source = Sources()
        self._name = name or path.name
        self._raw = opened(path)
        try:
            self._given = _placed(self._raw)
            self._sample = _sample(self._given)
            self._form = _detected(self._sample, columns)
        except BaseException:
            self._raw.__exit__()
            raise

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._given.close()
        self._raw.__exit__()

    def __iter__(self) -> Iterator[Row]:
        return (row for _, row, *_ in self._clean(chain(self._sample, self._given)))

    def beginning(self) -> Iterator[Row]:
        """The clean rows among those that told the format: no more of the file is read, however few they are."""
        return (row for _, row, *_ in self._clean(self._sample))

    def places(self) -> Iterator[tuple[int, str]]:
        """Instead of the clean rows their places, one by one: the number, and the place in words."""
        for number, _, place, _ in self._clean(chain(self._sample, self._given)):
            yield number, place or self._raw.place(number)

    def _clean(self, given: Iterable[Given]) -> Iterator[Given]:
        for number, value, place, file in given:
            try:
                row = clean(value, self._form)
            except RowError as error:
                self._note(number, str(error), place or self._raw.place(number))
            else:
                self._by_file[file] += 1
                self.by_source.number(row.get("source", ""))
                yield number, row, place, file

    def _note(self, number: int, reason: str, place: str) -> None:
        self.bad_total += 1
        if len(self.bad) < MOST_NAMED:
            self.bad.append(BadRow(number, reason, f"{place}: {reason}"))

    def share(self) -> float:
        """How much of the file was read, from 0 to 1."""
        return self._raw.share()

    @property
    def column_names(self) -> list[str]:
        """The names of the columns of the first rows."""
        return _names(self._sample)

    @property
    def format(self) -> str:
        """The name of the format."""
        return self._form.name

    @property
    def understood(self) -> str:
        """A sentence or two on how the file was understood."""
        if self._raw.understood.startswith("Read as "):
            return self._raw.understood
        return f"{self._form.understood} {self._raw.understood}".strip()

    @property
    def columns(self) -> dict[str, str]:
        """The column of each role."""
        return self._form.columns

    def facts(self) -> dict[str, Any]:
        """What is to be remembered of the file with its rows; after they were read.

        `sources` are the numbers of usable rows of each file of a folder, in the order of the rows; `by_source` is told
        by `Sources.facts`.
        """
        known: dict[str, Any] = {"columns": self.columns, "file": self._name, "understood": self.understood}
        known["detected"] = self._raw.detected()
        if 1 < len(self._by_file) <= MOST_COUNTED:
            known["sources"] = [count for _, count in sorted(self._by_file.items())]
        if "source" in self.columns:
            known["by_source"] = self.by_source.facts(self.columns["source"])
        if self._raw.left_out:
            known["left_out"] = self._raw.left_out[:MOST_NAMED]
        if self.bad_total:
            known["bad"] = {"total": self.bad_total, "first": [bad.sentence for bad in self.bad]}
        return known

    def check_end(self, usable: int, skip_bad: bool) -> None:
        """DataError if, of the file that was read, no row is usable, or a bad one is not to be left out."""
        if self.bad_total and not (skip_bad and usable):
            raise DataError([bad.sentence for bad in self.bad], self.bad_total)
        if not usable:
            raise DataError(["There are no rows in this file."])


def read(
    path: Path, name: str | None = None, columns: Mapping[str, str] | None = None, skip_bad: bool = False
) -> Checked:
    """Read and check a file, or a folder of files, into memory; the format is found from its content.

    Args:
        columns: maps roles (messages, system, prompt, input, answer, text) to names of columns; None finds them.
        skip_bad: leave out rows that cannot be used, and name them in the answer.

    Raises:
        DataError: naming every row that cannot be used, by line and reason; or that no row can.
    """
    with Reading(path, columns, name) as reading:
        rows = list(reading)
        reading.check_end(len(rows), skip_bad)
        return Checked(reading.format, reading.understood, rows, reading.facts(), reading.bad, reading.bad_total)


def preview(path: Path, columns: Mapping[str, str] | None = None) -> Preview:
    """What the beginning of a file shows, however long the file is. Problems are told and not raised."""
    try:
        with Reading(path, columns) as reading:
            rows = list(islice(reading.beginning(), PREVIEWED))
            bad = [one.sentence for one in reading.bad]
            names = reading.column_names[:MOST_COLUMNS]
            return Preview(reading.format, reading.understood, reading.columns, names, rows, bad)
    except DataError as error:
        names = error.column_names[:MOST_COLUMNS]
        return Preview("", "", dict(columns or {}), names, None, error.problems)


def write_rows(rows: Iterable[Row], path: Path) -> str:
    """Write canonical JSONL and return the SHA-256 of its bytes."""
    total = hashlib.sha256()
    encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
    with path.open("wb") as out:
        for row in rows:
            line = f"{encode(row)}\n".encode()
            total.update(line)
            out.write(line)
    return total.hexdigest()


def each_row(path: Path) -> Iterator[Row]:
    """Rows written by `write_rows`, one by one."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """Rows written by `write_rows`, the first `limit` of them."""
    return list(islice(each_row(path), limit))


def spans(row: Row) -> list[tuple[str, bool]]:
    """The row as pieces of text for showing, each with whether the model learns it."""
    if "text" in row:
        return [(row["text"], True)]
    return [(m["content"], m["role"] == "assistant" and m.get("weight", 1) != 0) for m in row["messages"]]


def _detected(sample: list[Given], columns: Mapping[str, str] | None) -> Format:
    """The format of the sample. DataError, with the names of the columns, if it is not understood."""
    try:
        return detect((value for _, value, *_ in sample), columns)
    except DataError as error:
        error.column_names = _names(sample)
        raise


def _names(sample: list[Given]) -> list[str]:
    return column_names(value for _, value, *_ in sample if isinstance(value, dict))


def _placed(raw: Raw) -> Generator[Given]:
    """The rows of a file with their numbers; the first ones with their places, as they are asked for later."""
    with closing(raw.rows()) as rows:
        try:
            for count, (number, value) in enumerate(rows):
                yield number, value, raw.place(number) if count < SAMPLE else "", raw.file
        except UnicodeDecodeError as error:
            raise DataError(
                [f"The file is not valid {error.encoding} text. Save it as UTF-8 and try again."]
            ) from error


def _sample(placed: Iterator[Given]) -> list[Given]:
    """The rows that tell the format. DataError if none of them can be read at all."""
    sample: list[Given] = []
    taken = 0
    for row in islice(placed, SAMPLE):
        sample.append(row)
        taken += len(str(row[1]))
        if taken > ENOUGH:
            break
    broken = [f"{place}: {value}" for _, value, place, _ in sample if isinstance(value, RowError)]
    if broken and len(broken) == len(sample):
        raise DataError(broken)
    return sample
