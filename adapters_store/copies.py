"""Copies of the library: one a day while there is work, kept under copies/, the newest few.

What a copy is for stands in `rebuild.py`. A copy is made by SQLite's own means, whole and compact, while others write.
Knows nothing about what is in the library.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from adapters_store.database import copy_whole, said_in_words

FOLDER = "copies"
KEPT = 3  # days; a fault that nobody notices for a day or two must not leave copies of the fault alone
PAUSE_SECONDS = 3600.0  # between two copies of one day


def keep_copy(library: Path) -> Path | None:
    """Make today's copy of the library, in place of an earlier one of today; where, or None if it is not due.

    Not due is what was made less than PAUSE_SECONDS ago, or since when nothing was written.

    Raises:
        StoreError, OSError: it could not be made, for want of room or as the library is damaged; older copies stay.
    """
    target = library.parent / FOLDER / f"studio-{time.strftime('%Y-%m-%d')}.db"
    newest = max(map(_changed, daily(library)), default=0.0)
    written = max(_changed(library), _changed(library.with_name(f"{library.name}-wal")))
    if newest >= written or time.time() - newest < PAUSE_SECONDS:
        return None
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with said_in_words(library):
        copy_whole(library, target)
    for old in daily(library)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    return target


def daily(library: Path) -> list[Path]:
    """The copies of each day, the newest first."""
    return sorted((library.parent / FOLDER).glob("studio-*.db"), reverse=True)


def all_copies(library: Path) -> Iterator[Path]:
    """Every copy there is, the newest first, those from before a migration of the library among them."""
    found = [*daily(library), *library.parent.glob(f"{library.stem}-before-*{library.suffix}")]
    yield from sorted(found, key=_changed, reverse=True)


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
