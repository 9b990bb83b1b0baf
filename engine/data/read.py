"""Reading a file of rows by what is in it, whatever its name ends in: JSONL, one JSON value, CSV or TSV.

Yields each row with the line it starts on. Knows nothing about what a row means: see `detect.py` and `check.py`.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST_LINE = 10_000_000  # characters; a longer one is no training row and would fill the memory
RawRow = tuple[int, Any]  # (line number from 1, the parsed value)


class DataError(ValueError):
    """A file that cannot be learned from. `problems` are the first 100 sentences, `total` counts them all."""

    def __init__(self, problems: list[str], total: int | None = None) -> None:
        super().__init__(" ".join(problems[:3]))
        self.problems = problems[:100]
        self.total = len(problems) if total is None else total


def raw_rows(path: Path) -> Iterator[RawRow]:
    """The rows of `path`, each with its line number.

    Raises:
        DataError: if the file cannot be read as any of the formats.
    """
    text = _decode(path)
    first = text.lstrip()[:1]
    if not first:
        raise DataError(["The file is empty."])
    if first == "[" or (first == "{" and _is_one_object(text)):
        return _json_rows(text)
    if first == "{":
        return _jsonl_rows(text)
    return _table_rows(text)


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError([f"The file cannot be read: {error.strerror}."]) from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError([f"Line {line} is not UTF-8 text. Save the file as UTF-8 and try again."]) from error
    if "\0" in text[:4096]:
        raise DataError(["This is not a text file. A data set is a JSONL, JSON or CSV file."])
    return text


def _is_one_object(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json_rows(text: str) -> Iterator[RawRow]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError([f"The file is not valid JSON: {error}."]) from error
    except RecursionError as error:
        raise DataError(["The JSON in this file is nested too deeply to be rows of text."]) from error
    rows = value if isinstance(value, list) else _rows_within(value)
    # A JSON value has no lines of its own, so the place in the list stands for it.
    return iter([(number, row) for number, row in enumerate(rows, 1)])


def _rows_within(value: dict[str, Any]) -> list[Any]:
    """The rows of an object that wraps them, such as {"data": [...]}; otherwise the object is one row."""
    lists = [v for k, v in value.items() if k in {"data", "rows", "train", "examples"} and isinstance(v, list)]
    return lists[0] if len(lists) == 1 else [value]


def _jsonl_rows(text: str) -> Iterator[RawRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield number, DataError([f"Line {number} has {len(line):,} characters; {LONGEST_LINE:,} is the limit."])
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            yield number, DataError([f"Line {number} is not valid JSON: {reason}."])


def _table_rows(text: str) -> Iterator[RawRow]:
    header = text.lstrip().splitlines()[0]
    delimiter = max(",;\t|", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    csv.field_size_limit(LONGEST_LINE)
    names = [name or "" for name in reader.fieldnames or []]
    start = reader.line_num + 1
    try:
        for row in reader:
            if None in row or None in row.values():
                found = sum(v is not None for k, v in row.items() if k is not None) + len(row.get(None) or [])
                yield start, DataError([f"Line {start} has {found} columns, the header has {len(names)}."])
            else:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError([f"Line {reader.line_num} cannot be read as CSV: {error}."]) from error
