"""Any rows of a data set by their number, also in the middle of a large one.

Where every so many-th row begins is remembered as far as somebody has looked, so that a page of rows costs a short
read and not the whole file. A snapshot never changes, so what is remembered stays right. Knows nothing about what a row
says.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from itertools import islice
from pathlib import Path

from engine.data.check import Row

APART = 256  # rows between two remembered places
MOST_FILES = 16


class RowPlaces:
    """The remembered places of the files that were looked at last. Safe to share between threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, list[int]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, path: Path, first: int, count: int) -> list[Row]:
        """Up to `count` rows from row number `first` on, counted from 0. Fewer where the file ends."""
        with self._lock:
            place = self._place(path, first // APART)
        if place is None:
            return []
        with path.open("rb") as file:
            file.seek(place)
            start = first % APART
            return [json.loads(line) for line in islice(file, start, start + count)]

    def _place(self, path: Path, wanted: int) -> int | None:
        """Where the `wanted`-th remembered row begins, in bytes; None behind the end."""
        places = self._known.setdefault(path, [0])
        self._known.move_to_end(path)
        if len(self._known) > MOST_FILES:
            self._known.popitem(last=False)
        if wanted >= len(places):
            _look_further(path, places, wanted)
        return places[wanted] if wanted < len(places) else None


def _look_further(path: Path, places: list[int], wanted: int) -> None:
    with path.open("rb") as file:
        at = places[-1]
        file.seek(at)
        while len(places) <= wanted:
            stretch = [len(line) for line in islice(file, APART)]
            if len(stretch) < APART:
                return
            at += sum(stretch)
            places.append(at)
