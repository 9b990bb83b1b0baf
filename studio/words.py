"""Names people give, made safe: to show on one line, to be a file's name, and to be the only one of their kind.

And sizes, as people read them. Knows nothing about where a name is kept. A name never becomes a path: folders are named
by keys.
"""

import re
import unicodedata
from collections.abc import Collection

ANEW = "The learning rate schedule starts anew with its warm-up."  # said wherever a run is given more epochs

LONGEST = 80  # characters


def clean_name(text: str, fallback: str) -> str:
    """`text` on one line, without control characters, at most 80 characters; `fallback` when nothing is left."""
    seen = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(seen.split())[:LONGEST].strip() or fallback


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or `name-2`, `name-3`, ... : the first that is not taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def size(count: int) -> str:
    """`count` bytes in the unit that fits: `20 kB`, `19.6 MB`, `1.2 GB`. What is there is never `0`."""
    if round(count / 1e3) < 1000:
        return f"{max(1, round(count / 1e3)) if count else 0} kB"
    if round(count / 1e6, 1) < 1000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e9:,.1f} GB"


def file_name(name: str) -> str:
    """`name` as a plain ASCII file name without ending: safe on every system and in an HTTP header."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")
    return safe[:LONGEST] or "adapter"
