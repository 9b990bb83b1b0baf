"""What went wrong, in words for the person who has to do something about it.

Used at the two edges of this folder, worker and answerer, after they have logged the traceback. Knows nothing about who
is told.
"""

from __future__ import annotations

import errno
import os
import re
import traceback

from adapters_store import drives

OURS = ("engine", "jobs", "adapters_store")  # what these packages raise on purpose is a sentence already

_WINDOWS = os.name == "nt"  # its own numbers, where no Python has turned them into the common ones
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), *((112,) if _WINDOWS else ())}
FORBIDDEN = {errno.EACCES, errno.EPERM, *((5,) if _WINDOWS else ())}
FULL_DISK = (
    "The disk is full. Delete files that are not needed any more, such as merged models, and try again. "
    "Deleted adapters leave the disk after a week."
)
_OS_ERROR = re.compile(r"os error (\d+)")


def own_sentence(error: BaseException) -> str | None:
    """The error's own words if one of our packages raised it on purpose, else None."""
    if _package(type(error).__module__) in OURS:
        return str(error)
    if isinstance(error, ValueError) and type(error) is ValueError and _raised_by_us(error):
        return str(error)
    number = _os_error(error)
    if number in FULL:
        return FULL_DISK
    where = getattr(error, "filename", None)
    if number == errno.EROFS:
        return drives.READ_ONLY.format(where=where or "the data folder")
    if number in FORBIDDEN:
        where = where or "one of its files"
        return f"LoRA Studio may not read or write {where}. Give your user the right to, and try again."
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


def _os_error(error: BaseException) -> int | None:
    """The number by which the system named the trouble; safetensors has it in its text only."""
    if isinstance(error, OSError):
        return error.errno
    found = _OS_ERROR.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None


def _raised_by_us(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and _package(frames[-1].f_globals.get("__name__", "")) in OURS


def _package(module: str) -> str:
    return module.partition(".")[0]
