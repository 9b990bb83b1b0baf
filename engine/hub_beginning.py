"""The beginning of one split of a data set on a hub: enough of its first file to see what its rows are.

A small file is fetched whole. Of a larger one only its first bytes are asked for; of Parquet, whose directory stands at
its end, the bytes of the first rows. What comes in part cannot be checked by its hash: it is for looking at alone. How
rows are read from it is in `engine.data`.
"""

from __future__ import annotations

import io
import json
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from engine.download import Hub, HubError, Refused, RemoteFile
from engine.hub import refusal
from engine.hub_data import BELOW, DataListing, Part

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SMALL = 4_000_000  # bytes; what is not larger is fetched whole
FIRST = 2_000_000  # bytes of a larger text
ROWS = 200  # of a larger file of another kind
MOST_PIECES = 64_000_000  # bytes of a Parquet file that are fetched for these rows
PIECE = 1 << 18  # bytes of it that are asked for at once, at least


def beginning(hub: Hub, listing: DataListing, part: Part, into: Path) -> Path:
    """A file in `into`, an existing folder, that begins as the part does. What is there already is not fetched again.

    Raises:
        HubError: no connection, no right to it, or its beginning alone cannot be had.
    """
    first = part.files[0]
    here = into / f"beginning{''.join(Path(first.name).suffixes[-2:])}"
    if here.is_file():
        return here
    address = f"{BELOW}{listing.wanted.id}/resolve/{listing.commit}/{quote(first.name)}"
    try:
        if first.size <= SMALL:
            hub.fetch(address, replace(first, name=here.name), into, lambda arrived: None)
        elif first.name.endswith(".parquet"):
            _written(here, _first_rows(hub, address, first))
        else:
            _written(here, _first_lines(hub.piece(address, 0, FIRST), first.name.endswith(".gz")))
    except Refused as refused:
        raise HubError([refusal(hub, listing.wanted, refused, "data set", BELOW)]) from None
    return here


def _written(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _first_lines(content: bytes, packed: bool) -> bytes:
    """The first bytes of a text, unpacked, as far as its lines are whole; of a text without lines all of them."""
    if packed:
        try:
            content = zlib.decompressobj(wbits=31).decompress(content, SMALL)
        except zlib.error as error:
            raise HubError(["Its first file is a damaged gzip."]) from error
    whole = content[: content.rfind(b"\n") + 1] or content
    if whole.lstrip().startswith(b"["):
        return _first_values(whole.decode("utf-8", "ignore")).encode() or whole
    if whole.lstrip().startswith(b"{") and not _is_object(whole.lstrip().partition(b"\n")[0]):
        raise HubError(["Its first file is one JSON object, of which no part can be shown before it is fetched."])
    return whole


def _first_values(text: str) -> str:
    """The first values of a list in JSON, each on a line; empty if it is no such list."""
    lines: list[str] = []
    rest, decode = text.lstrip()[1:], json.JSONDecoder().raw_decode
    with suppress(ValueError, RecursionError):  # the last one is cut
        while len(lines) < ROWS:
            value, end = decode(rest.lstrip(" \t\r\n,"))
            lines.append(f"{json.dumps(value)}\n")
            rest = rest.lstrip(" \t\r\n,")[end:]
    return "".join(lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _first_rows(hub: Hub, address: str, file: RemoteFile) -> bytes:
    """A Parquet file of the first rows of the one at `address`."""
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    try:
        with io.BufferedReader(_Remote(hub, address, file.size), PIECE) as source:
            whole = parquet.ParquetFile(source, pre_buffer=False, buffer_size=PIECE)
            batch = next(whole.iter_batches(ROWS, use_threads=False), None)
            rows = pyarrow.Table.from_batches([batch] if batch else [], whole.schema_arrow)
        parquet.write_table(rows, out)
    except (pyarrow.ArrowException, OSError) as error:
        raise HubError(["Its first file is a damaged Parquet file."]) from error
    return out.getvalue()


class _Remote(io.RawIOBase):
    """A file on a hub, of which the bytes that are read are fetched."""

    def __init__(self, hub: Hub, address: str, size: int) -> None:
        self._hub, self._address, self._size = hub, address, size
        self._at = self._fetched = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, into: WriteableBuffer, /) -> int:
        room = memoryview(into)
        count = min(len(room), self._size - self._at)
        if count <= 0:
            return 0
        self._fetched += count
        if self._fetched > MOST_PIECES:
            raise HubError(["The first rows of this Parquet file are too large to be shown before it is fetched."])
        content = self._hub.piece(self._address, self._at, count)
        room[: len(content)] = content
        self._at += len(content)
        return len(content)
