"""Adapters that are kept read between requests, as many as fit in a bound of bytes; the longest unasked goes first.

Knows nothing about requests or about the base model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 16
MOST_BYTES = 2_000_000_000  # of tensors: an adapter that replaces the whole base may be as large as it
WEIGHTS = "adapter_model.safetensors"


class WarmAdapters:
    """Adapters by folder."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[tuple[str, int], Any] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What the tensors of all take."""
        return sum(adapter.size_bytes for adapter in self._kept.values())

    def adapter(self, path: Path, read: Callable[[Path], Any] | None = None) -> Any:
        """The adapter in the folder `path`, read once, by `read` where it is no plain adapter folder.

        Raises:
            AdapterError: as `engine.adapter_files.read`.
        """
        from engine import adapter_files

        key = (str(path), stamp(path / WEIGHTS))
        if key not in self._kept:
            self._make_room(_size(path / WEIGHTS), self._most - 1)  # before: both at once may not fit
            self._kept[key] = (read or adapter_files.read)(path)
        self._kept.move_to_end(key)
        # Again: what stands in fewer bits in its file takes more in memory. The newest stays in any case.
        self._make_room(0, self._most, but=1)
        return self._kept[key]

    def _make_room(self, size: int, most: int, but: int = 0) -> None:
        while len(self._kept) > but and (len(self._kept) > most or self.size_bytes + size > self._most_bytes):
            self._kept.popitem(last=False)


def stamp(file: Path) -> int:
    """When the file was last written, so that what was replaced on disk is read again; 0 if it is not there."""
    return file.stat().st_mtime_ns if file.is_file() else 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
