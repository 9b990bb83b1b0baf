"""What is worked out of the library once for each of its revisions, however many tabs ask for it.

It keeps the newest answer and nothing about who asked. Knows nothing about what the answer is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The answer of `make` as of the newest revision that was asked for.

    Ask for the revision before, and never after, reading: then an answer can be newer than its number, never older.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None
        self._lock = threading.Lock()

    def at(self, revision: int) -> T:
        """The answer at `revision` or later. Several who ask at once wait for one that works it out."""
        with self._lock:
            if self._made is None or self._made[0] < revision:
                self._made = revision, self._make()
            return self._made[1]
