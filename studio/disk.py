"""What takes room in the data folder, and what of it can go without anybody missing it.

Nothing that is in use is ever freed: no base model, data set or adapter, no checkpoint of a run that may go on or that
is pinned, nothing that a living process is about to finish, no download that a job waits for. Knows nothing about page
or terminal.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from adapters_store.rebuild import ASIDE
from adapters_store.states import LIVE
from adapters_store.store import Store
from studio import words

MERGED = "Merged models lie where they were written, and are a person's own to delete."
_KINDS = {"base models": "models", "data sets": "datasets", "adapters": "adapters", "checkpoints": "checkpoints"}
_OTHERS = {"token cache": "cache", "trash": "trash", "unfinished": "temp", "logs": "logs", "uploads": "uploads"}
CAN_GO = {
    "token cache": "made anew when a run needs it",
    "trash": "deleted, and cannot be brought back afterwards",
    "unfinished": "left by what was broken off",
}


class Use(NamedTuple):
    """What one kind of thing takes.

    Attributes:
        what: base models, data sets, adapters, checkpoints, token cache, trash, unfinished, logs, uploads, library, or
            merged models, which lie outside of the data folder.
        size_bytes: all of it.
        free_bytes: of these, what `free` would delete.
    """

    what: str
    size_bytes: int
    free_bytes: int


def uses(store: Store) -> list[Use]:
    """What takes room, kind by kind, those of data first."""
    root = store.files.root
    places = {what: root / folder for what, folder in (_KINDS | _OTHERS).items()}
    goes = {what: sum(map(_size, paths)) for what, paths in _deletable(store).items()}
    found = [Use(what, _size(place), goes.get(what, 0)) for what, place in places.items()]
    library = Use("library", sum(map(_size, [*root.glob("studio*.db*"), root / "copies", root / ASIDE])), 0)
    return [*found, library, Use("merged models", sum(map(_size, _merged(store))), 0)]


def free(store: Store, kinds: Collection[str] = CAN_GO) -> int:
    """Delete what nobody will miss of these kinds; the bytes that were freed."""
    before = sum(use.size_bytes for use in uses(store))
    doomed = _deletable(store)
    if "unfinished" in kinds:
        store.clear_strays()  # some of it goes to the trash
        store.files.drop(doomed["unfinished"])
    if "trash" in kinds:
        store.files.empty_trash(-math.inf)
    if "token cache" in kinds:
        store.files.drop(doomed["token cache"])
    return max(0, before - sum(use.size_bytes for use in uses(store)))


def in_trash(store: Store) -> list[str]:
    """The names of what can still be brought back from the trash, the newest adapters first."""
    there = {path.name for path in _inside(store.files.root / "trash")}
    adapters = [(one.name, one.folder) for one in store.deleted_adapters()]
    deleted = [*adapters, *((one.name, one.folder) for one in store.data_sets(deleted=True))]
    return [name for name, folder in deleted if any(path.endswith(folder) for path in there)]


def pinned(store: Store) -> str:
    """What pinned checkpoints take, and that they stay; nothing where there are none."""
    found = [store.checkpoint_path(one) for one in store.checkpoints() if one.pinned]
    if not found:
        return ""
    takes = words.size(sum(map(_size, found)))
    if len(found) == 1:
        return f"1 pinned checkpoint ({takes}) stays until it is unpinned."
    return f"{len(found)} pinned checkpoints ({takes} together) stay until they are unpinned."


def text(found: list[Use], pinned: str = "") -> str:
    """The uses as lines for a person; `pinned` is what is said of pinned checkpoints."""
    lines = [f"{use.what:<13}{words.size(use.size_bytes):>10}{_goes(use)}" for use in found if use.size_bytes]
    total, freed = sum(use.size_bytes for use in found), sum(use.free_bytes for use in found)
    more = f"python -m studio disk --free deletes {words.size(freed)} of it." if freed else "Nothing of it is idle."
    said = " ".join(filter(None, [more, pinned, MERGED]))
    return "\n".join([*lines, f"{'together':<13}{words.size(total):>10}", said])


def _goes(use: Use) -> str:
    return f"   {words.size(use.free_bytes)} can go: {CAN_GO[use.what]}" if use.free_bytes else ""


def _deletable(store: Store) -> dict[str, list[Path]]:
    """What may go, by kind. While jobs are at work the caches they may read from stay."""
    root = store.files.root
    busy = {job.kind for job in store.jobs(states=["queued", *LIVE], limit=1000)}
    unfinished = [] if busy else store.files.unfinished_folders()
    return {
        "trash": _inside(root / "trash"),
        "token cache": [] if busy & {"train", "examine", "clean"} else _inside(root / "cache" / "tokens"),
        "unfinished": [*store.files.leftovers(), *unfinished],
    }


def _merged(store: Store) -> set[Path]:
    """Where models were written to, if they are still there."""
    done = store.jobs(kinds=["export"], states=["completed"], limit=1000)
    return {Path(job.settings["folder"]) for job in done}


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    """Bytes of all files in `path`; what vanishes meanwhile, and what a link points to, is not counted."""
    total = 0
    for folder, _, names in os.walk(path) if path.is_dir() else [(str(path.parent), [], [path.name])]:
        for name in names:
            try:
                total += os.lstat(Path(folder) / name).st_size
            except OSError:
                continue
    return total
