"""The log of a job, as text that a terminal or a page may show: read in stretches, with control characters escaped.

What the workers of a job log, one after the other, stands in one file, which only grows: a JSON object a line, told as
a line of text (`jobs/job_notes.py`), and between them whatever a library has printed. A stretch ends with a whole
line, so that the next one can go on behind it. Knows nothing about who shows it, or about what is logged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MOST = 64_000  # bytes of one stretch; of an older log, what stands before its last so many bytes is left out

# Control characters but newline and tab, and marks that turn the direction of writing: none may steer what shows them.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")


class Stretch(NamedTuple):
    """A part of a log.

    Attributes:
        text: whole lines, escaped.
        end: bytes from the beginning of the log to the end of the stretch: where the next one begins.
        left_out: bytes between where it was asked to begin and where it begins.
    """

    text: str
    end: int
    left_out: int


def stretch(file: Path, begin: int = 0) -> Stretch:
    """The newest lines of the log `file` behind its first `begin` bytes, MOST bytes at most; empty if there are none.

    A line that is still being written is left to the next stretch.
    """
    try:
        with file.open("rb") as log:
            size = log.seek(0, 2)
            start = max(begin, size - MOST)
            log.seek(start)
            content = log.read(MOST)
    except FileNotFoundError:
        return Stretch("", 0, 0)
    if start > begin:  # in the middle of a line
        start += content.find(b"\n") + 1
        content = content[content.find(b"\n") + 1 :]
    whole = content[: content.rfind(b"\n") + 1]
    text = "".join(map(_told, whole.splitlines(keepends=True)))
    return Stretch(text, start + len(whole), start - begin)


def lines(file: Path) -> Iterator[str]:
    """The whole log, line by line, escaped; nothing if there is none."""
    with suppress(FileNotFoundError), file.open("rb") as log:
        for line in log:
            yield _told(line)


def escaped(text: str) -> str:
    """The text with every character that could steer a terminal or a reader's eye as its number, like \\x1b."""
    return _STEERING.sub(_number, text)


def _told(line: bytes) -> str:
    """A line of the file as text for people; its end stays as it is."""
    text = line.decode("utf-8", "backslashreplace")
    if not text.startswith('{"at": '):
        return escaped(text)
    try:
        said = json.loads(text)
        told = f"{said['at']} {said['who']} {said['level']} {said['says']}"
    except (ValueError, KeyError, TypeError):  # one that was cut off as it was written
        return escaped(text)
    trace = f"\n{said['trace']}" if said.get("trace") else ""
    return escaped(told + trace) + ("\n" if text.endswith("\n") else "")


def _number(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
