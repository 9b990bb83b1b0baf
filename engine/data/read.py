"""Opens a file of rows by what is in it, whatever its name ends in, or a folder of such files.

JSONL, JSON, CSV and TSV, Parquet, plain text and Markdown, and gzips of these. Knows nothing about what a row means:
see `detect.py` and `check.py`.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

from engine.data.delimited import Table, layout_of
from engine.data.json_rows import Json, JsonLines, is_json, is_lines
from engine.data.parquet import Parquet
from engine.data.problems import DataError, RowError
from engine.data.prose import Prose, is_markdown
from engine.data.raw import Raw, RawRow
from engine.data.signatures import NO_TEXT, PARQUET, refusal
from engine.data.stream import GZIP, HEAD, Decoding, Stream

__all__ = ["DataError", "opened"]

MOST_FILES = 10_000  # of a folder


def opened(path: Path) -> Raw:
    """The rows of a file, or of all files in a folder. To be closed, as a context manager.

    Raises:
        DataError: if it is no file of rows; the sentence says what to do.
    """
    if path.is_dir():
        return Folder(path)
    stream = Stream(path)
    try:
        return _raw(stream)
    except BaseException:
        stream.close()
        raise


def _raw(stream: Stream) -> Raw:
    if stream.head.startswith(GZIP):
        raise DataError(["This is a gzip within a gzip. Unpack it once, and drop what was in it."])
    if told := refusal(stream.head):
        raise DataError([told])
    if stream.head.startswith(PARQUET):
        return Parquet(stream)
    return _of_text(stream)


def _of_text(stream: Stream) -> Raw:
    if stream.encoding.startswith("utf-8") and b"\0" in stream.head:
        raise DataError([NO_TEXT])
    head = _begin(stream)
    whole = len(stream.head) < HEAD
    if not head:
        raise DataError(["The file is empty." if whole else "The file begins with nothing but white space."])
    if is_lines(head):
        return JsonLines(stream)
    if is_json(head):
        return Json(stream)
    if layout := layout_of(head, whole):
        return Table(stream, layout)
    return Prose(stream, is_markdown(head))


def _begin(stream: Stream) -> str:
    """The first text of a file, after white space. DataError if it is in no encoding that is known."""
    raw = io.BytesIO(stream.head)
    errors = "surrogateescape" if stream.encoding.startswith("utf-8") else "ignore"
    text = io.TextIOWrapper(raw, stream.encoding, errors, "").read().lstrip()
    lines = text.splitlines()
    if lines and "\udc80" <= max(text) <= "\udfff":
        _check_any(Decoding(stream), lines)
    return text


def _check_any(decoding: Decoding, lines: list[str]) -> None:
    """DataError if hardly a line can be read: then it is another encoding, or no text at all."""
    broken = 0
    for number, line in enumerate(lines[:-1] or lines, 1):
        try:
            decoding.mend(line)
        except RowError:
            broken = broken or number
            continue
        if line.strip():
            return
    if broken:
        raise DataError([f"Line {broken} is not UTF-8 text. Save the file as UTF-8 and try again."])


class Folder(Raw):
    """The files of a folder and of those in it, one after another in the order of their names."""

    container = "folder"

    def __init__(self, path: Path) -> None:
        """Opens each file once, to see what it is. DataError if there is none with rows."""
        self._path = path
        self.left_out = []
        self._files = self._chosen()
        self._now: Raw | None = None
        self.file = 0

    def __exit__(self, *_: object) -> None:
        if self._now is not None:
            self._now.__exit__()

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`."""
        for number, file in enumerate(self._files):
            with opened(file) as self._now:
                self.file = number
                try:
                    yield from self._now.rows()
                except DataError as error:
                    raise DataError([f"{file.relative_to(self._path)}: {told}" for told in error.problems]) from error
        self.file = len(self._files)

    def place(self, number: int) -> str:
        """As `Raw.place`, with the file."""
        assert self._now is not None
        return f"{self._files[self.file].relative_to(self._path)}, {self._now.place(number).lower()}"

    def share(self) -> float:
        """As `Raw.share`, by files."""
        inner = self._now.share() if self._now is not None and self.file < len(self._files) else 0.0
        return min(1.0, (self.file + inner) / len(self._files))

    def detected(self) -> dict[str, str]:
        """As `Raw.detected`: what the files are, and how many."""
        return {"container": f"folder of {self._inner}", "files": str(len(self._files))}

    def _chosen(self) -> list[Path]:
        kinds: dict[str, list[Path]] = {}
        told: dict[Path, str] = {}
        for file in _files(self._path):
            try:
                with opened(file) as raw:
                    kinds.setdefault(raw.container, []).append(file)
                    told[file] = raw.understood
            except DataError as error:
                self.left_out.append(f"{file.relative_to(self._path)} is left out: {error.problems[0]}")
        tables = [kind for kind in kinds if kind not in ("plain text", "Markdown")]
        kept = [file for kind in tables or kinds for file in kinds[kind]]
        if not kept:
            raise DataError(["There is no file with rows in this folder.", *self.left_out])
        for kind in set(kinds) - set(tables or kinds):
            self.left_out += [f"{f.relative_to(self._path)} is left out: it is text beside rows." for f in kinds[kind]]
        self._inner = ", ".join(tables or kinds)
        self.understood = told[kept[0]]
        return sorted(kept)


def _files(folder: Path) -> list[Path]:
    """The files to look at, hidden ones not. DataError if there are too many."""
    found: list[Path] = []
    for path in folder.rglob("*"):
        inner = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in inner):
            found.append(path)
        if len(found) > MOST_FILES:
            raise DataError([f"This folder has more than {MOST_FILES:,} files. Choose the folder with the rows."])
    return sorted(found)
