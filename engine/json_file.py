"""JSON from outside, read as one object or not at all: whatever a file holds, its reader gets no other surprise.

Knows nothing about what stands in an object; what a value has to be is for the reader to check. Imports nothing heavy.
"""

import json
from pathlib import Path
from typing import Any

DEEPEST = 100  # objects and lists inside each other: those who read on may go down step by step


def read_object(file: Path) -> dict[str, Any] | None:
    """The object in `file`; None if the file cannot be read or holds anything else."""
    try:
        return parsed(file.read_bytes())
    except (OSError, ValueError):
        return None


def parsed(content: bytes) -> dict[str, Any]:
    """The object in a file's content. ValueError, in a few words, if it holds anything else."""
    try:
        found = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("it should hold one JSON object")
    if _depth_is_beyond(found, DEEPEST):
        raise ValueError("it is nested too deeply")
    return found


def _depth_is_beyond(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
