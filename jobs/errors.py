"""What went wrong, in words for the person who has to do something about it.

Used at the two edges of this folder, worker and answerer, after they have logged the traceback. Knows nothing about who
is told.
"""

from __future__ import annotations

import errno
import traceback

OURS = ("engine", "jobs", "adapters_store")  # what these packages raise on purpose is a sentence already


def own_sentence(error: BaseException) -> str | None:
    """The error's own words if one of our packages raised it on purpose, else None."""
    if _package(type(error).__module__) in OURS:
        return str(error)
    if isinstance(error, ValueError) and type(error) is ValueError and _raised_by_us(error):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Free some space and try again."
    return None


def is_hopeless(error: BaseException) -> bool:
    """Whether the same would happen again, however often it is tried."""
    return bool(getattr(error, "hopeless", False))


def is_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of its GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def first_line(error: BaseException) -> str:
    """Kind and first line of an error that nobody foresaw."""
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line[:300]}" if line else type(error).__name__


def _raised_by_us(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and _package(frames[-1].f_globals.get("__name__", "")) in OURS


def _package(module: str) -> str:
    return module.partition(".")[0]
