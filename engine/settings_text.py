"""How people write lists and pairs: `0-3, 8` for blocks, `q_proj=8, v_proj=32` for layers with a value of their own.

Knows nothing about which settings are written so, or what their values may be: that is declared in `settings.py`.
"""

import re
from collections.abc import Iterable

LONGEST = 500  # characters; nobody writes more, and short text cannot ask for endless work


def pattern(value: object) -> object:
    """`q_proj=8, v_proj=32` as a mapping, empty text as None; what is no text stays for the types to check.

    Raises:
        ValueError: with what it should be, to follow "should be".
    """
    if not isinstance(value, str):
        return value
    pairs = [part.split("=") for part in _parts(value, "pairs like q_proj=8, v_proj=32")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("pairs like q_proj=8, v_proj=32")
    return {name.strip(): number.strip() for name, number in pairs} or None


def numbers(value: object) -> object:
    """`0-3, 8` as [0, 1, 2, 3, 8], empty text as None; what is no text stays for the types to check.

    Raises:
        ValueError: with what it should be, to follow "should be".
    """
    if not isinstance(value, str):
        return value
    found: set[int] = set()
    for part in _parts(value, "numbers of blocks like 0-3, 8"):
        found.update(_span(part))
    return sorted(found) or None


def _span(part: str) -> Iterable[int]:
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
    if not match:
        raise ValueError("numbers of blocks like 0-3, 8")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"numbers of blocks like 0-3, 8, the lower one first: {last}-{first} instead of {part}")
    return range(first, last + 1)


def _parts(text: str, like: str) -> list[str]:
    if len(text) > LONGEST:
        raise ValueError(f"{like}, in at most {LONGEST} characters")
    return [part for part in re.split(r"[,\s]+", text.strip()) if part]
