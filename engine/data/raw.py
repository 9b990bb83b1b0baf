"""What every kind of file hands over: rows as they stand in it, one by one, each with the number of its place.

Knows nothing about single kinds of file, or about what a row means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

from engine.data.problems import RowError
from engine.data.stream import Decoding, Stream

RawRow = tuple[int, Any]  # (place from 1, the value there, or the RowError that stands in its way)


class Raw(ABC):
    """An open file of rows. A context manager.

    Attributes:
        container: what kind of file it is, as people call it.
        unit: what `place` counts.
        understood: a sentence on how rows were made of it; empty where they were there already.
        left_out: sentences on what of it is no rows.
        file: of several files, the number of the one whose row was given last.
    """

    container = ""
    unit = "Line"
    understood = ""
    file = 0

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoding = Decoding(stream)
        self.left_out: list[str] = []

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @abstractmethod
    def rows(self) -> Generator[RawRow]:
        """The rows from the beginning. DataError where the rest of the file cannot be read."""

    def place(self, number: int) -> str:
        """Where the row with this number stands, in words; right after it was given."""
        return f"{self.unit} {number:,}"

    def share(self) -> float:
        """How much of the file was read, from 0 to 1."""
        return self._stream.share()

    def detected(self) -> dict[str, str]:
        """What was found out about the file."""
        packed = {"packed": "gzip"} if self._stream.packed else {}
        return {"container": self.container, "encoding": self._decoding.name, **packed}


def too_long(longest: int) -> RowError:
    """What is said of a row that nobody would hold in memory."""
    return RowError(f"this has more than {longest:,} characters, which is the limit for a row.")
