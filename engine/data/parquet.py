"""Rows of a Parquet file, a few thousand at a time.

The library that reads them is imported when there is one to read. Knows nothing about what a column means.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from typing import IO, TYPE_CHECKING

from engine.data.problems import DataError
from engine.data.raw import Raw, RawRow
from engine.data.stream import Stream

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BATCH = 2_000  # rows
_DAMAGED = "The Parquet file is damaged or was cut off. Copy or download it again."


class Parquet(Raw):
    """A Parquet file; one in a gzip is unpacked into a file without a name first."""

    container = "Parquet"
    unit = "Row"

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._given, self._total = 0, 1

    def detected(self) -> dict[str, str]:
        """As `Raw.detected`; its text is UTF-8 by its own rules."""
        return {**super().detected(), "encoding": "utf-8"}

    def share(self) -> float:
        """As `Raw.share`, by rows."""
        return self._given / self._total

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`."""
        import pyarrow

        source = self._seekable()
        try:
            yield from self._of(_opened(source))
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError([_DAMAGED]) from error
        finally:
            source.close()

    def _of(self, file: ParquetFile) -> Generator[RawRow]:
        self._given, self._total = 0, max(1, file.metadata.num_rows)
        for batch in file.iter_batches(BATCH, use_threads=False):
            for row in batch.to_pylist():
                self._given += 1
                yield self._given, row

    def _seekable(self) -> IO[bytes]:
        if not self._stream.packed:
            return self._stream.file()
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  its caller closes it
        shutil.copyfileobj(self._stream.restart(), unpacked)
        unpacked.seek(0)
        return unpacked


def _opened(source: IO[bytes]) -> ParquetFile:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(source, pre_buffer=False)
