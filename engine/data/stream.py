"""The bytes of a file as text: what encoding they are in, out of a gzip or not, and never more of it than asked for.

Text comes as it stands in the file. Bytes that are not UTF-8 pass as lone surrogates, and `Decoding.mend` says of each
row what they are: cp1252, the encoding of older Windows programs, if the whole file looks like that, else a mistake.
Knows nothing about rows.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.data.problems import DataError, RowError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD = 1 << 18  # bytes that tell what a file is
BLOCK = 1 << 18  # bytes read at a time
LONGEST = 10_000_000  # characters of a row; a longer one is no training row and would fill the memory
GZIP = b"\x1f\x8b"
FREE = 100_000_000  # bytes a gzip may unpack to, however small it is
MOST_PACKED = 100  # times its size a larger one may unpack to; text that people write packs 3 to 30 times

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_ESCAPED = re.compile("[\udc80-\udcff]")
_NOT_WESTERN = frozenset(b"\x81\x8d\x8f\x90\x9d\xff")  # cp1252 has no sign for them, or one that nobody writes
NOT_UTF8 = "this is not UTF-8 text. Save the file as UTF-8 and try again."


class Stream:
    """An open file, unpacked where it is a gzip. A context manager; `restart` goes back to its beginning."""

    def __init__(self, path: Path) -> None:
        """DataError if it cannot be opened, or is a device or a pipe, which might never end."""
        if path.exists() and not path.is_file():
            raise DataError(["This is no file with rows in it. Choose a file, or a folder of files."])
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise DataError([f"The file cannot be read: {error.strerror}."]) from error
        self.size = max(1, path.stat().st_size)
        self.packed = self._file.read(2) == GZIP
        try:
            self.head = self.restart().read(HEAD)
        except BaseException:
            self._file.close()
            raise
        self.encoding = encoding_of(self.head)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        self._file.close()

    def restart(self) -> io.BufferedReader:
        """The bytes from the beginning, unpacked."""
        self._file.seek(0)
        raw: Any = _Unpacked(self._file, self.size) if self.packed else _Left(self._file)
        return io.BufferedReader(raw, BLOCK)

    def file(self) -> BinaryIO:
        """The file itself from the beginning, packed or not."""
        self._file.seek(0)
        return self._file

    def text(self, newline: str | None = "") -> io.TextIOWrapper:
        """The text from the beginning; `newline` as `open` has it."""
        errors = "surrogateescape" if self.encoding.startswith("utf-8") else "strict"
        return io.TextIOWrapper(self.restart(), self.encoding, errors, newline)

    def share(self) -> float:
        """How much of the file was read, from 0 to 1."""
        return min(1.0, self._file.tell() / self.size) if not self._file.closed else 1.0


class _Left(io.RawIOBase):
    """A file that stays open when what reads it is let go of."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, into: WriteableBuffer, /) -> int:
        return self._file.readinto(into)  # type: ignore[attr-defined,no-any-return]


class _Unpacked(io.RawIOBase):
    """What is in a gzip, as long as it stays within bounds: a small file that unpacks without end is refused."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._inner = gzip.GzipFile(fileobj=file, mode="rb")
        self._most = max(FREE, MOST_PACKED * size)
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: WriteableBuffer, /) -> int:
        try:
            count = self._inner.readinto(into)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(["The gzip file is damaged or was cut off. Copy or download it again."]) from error
        self._given += count
        if self._given > self._most:
            raise DataError(
                [
                    f"The gzip file unpacks to more than {self._most / 1e6:,.0f} MB, over {MOST_PACKED} times its "
                    "size; text does not pack that well. Unpack it yourself if you trust it."
                ]
            )
        return count


def encoding_of(head: bytes) -> str:
    """What Python calls the encoding of a text that begins with `head`."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked:
        return marked
    pairs = len(head) // 2
    if pairs < 2:
        return "utf-8"
    first, second = (head[at : 2 * pairs : 2].count(0) / pairs for at in (0, 1))
    if second > 0.3 and first < 0.05:  # mostly Latin letters, whose other byte is zero
        return "utf-16-le"
    return "utf-16-be" if first > 0.3 and second < 0.05 else "utf-8"


class Decoding:
    """Which encoding the bytes of a file turned out to be in. What its first bytes leave open, the first row tells."""

    def __init__(self, stream: Stream) -> None:
        self._name = stream.encoding.removesuffix("-sig")
        self._western: bool | None = None
        if self._name == "utf-8":
            whole = stream.head.rpartition(b"\n")[0] or stream.head
            self._look(whole)

    @property
    def name(self) -> str:
        """What to call it: utf-8, cp1252, utf-16, ..."""
        return "cp1252" if self._western else self._name

    def mend(self, text: str) -> str:
        """`text` as it was meant. RowError if some of its bytes are in no encoding that this file can be in."""
        if text.isascii():
            return text
        if not is_foreign(text):
            self._western = self._western or False
            return text
        given = text.encode("utf-8", "surrogateescape")
        if self._western is None:
            self._western = is_western(given)
        if not self._western:
            raise RowError(NOT_UTF8)
        try:
            return given.decode("cp1252")
        except UnicodeDecodeError as error:
            raise RowError(NOT_UTF8) from error

    def _look(self, head: bytes) -> None:
        if head.isascii():
            return
        lines = [line for line in head.split(b"\n") if not line.isascii()]
        self._western = not any(map(_is_utf8, lines)) and is_western(b"\n".join(lines))


def is_foreign(text: str) -> bool:
    """Whether some bytes of the text were not UTF-8."""
    return not text.isascii() and bool(_ESCAPED.search(text))


def is_western(text: bytes) -> bool:
    """Whether bytes that are not UTF-8 look like cp1252: letters with accents and typographic signs here and there."""
    high = [byte for byte in text if byte > 127]
    letters = sum(chr(byte).isalpha() for byte in text if byte < 128)
    return not _NOT_WESTERN.intersection(high) and len(high) <= 0.4 * max(letters, 1)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
