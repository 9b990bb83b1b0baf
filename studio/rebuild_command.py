"""`python -m studio rebuild`: a damaged library made anew.

Sees to it that nobody else has the library open, and says what came of it. What is done is in
`adapters_store/rebuild.py`. A part of the command line, apart because it is for a bad day only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.options import AsJson, DataDir
from studio.terminal import show

if TYPE_CHECKING:
    import filelock
    import psutil

    from adapters_store import files, rebuild
else:
    filelock, psutil = Deferred("filelock"), Deferred("psutil")
    files, rebuild = Deferred("adapters_store.files"), Deferred("adapters_store.rebuild")

COUNTED = {
    "adapter": "adapters",
    "base_model": "base models",
    "data_set": "data sets",
    "job": "jobs",
    "metric": "measured steps",
    "comparison": "comparisons",
    "vote": "votes",
    "suite": "suites",
}
LEAVING = 10.0  # seconds that a runner may need to leave after its page was closed


def rebuild_library(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Make a damaged library anew. From what can be read of it, its newest copy and the folders; deletes nothing."""
    root = files.locate(data_dir).expanduser().absolute()
    if not root.is_dir():
        raise UsageError(f"There is no data folder at {root}. Name it with --data-dir.")
    with _alone(root):
        if rebuild.whole(root):
            raise UsageError(f"The library of {root} is whole: there is nothing to rebuild.")
        made = rebuild.rebuild(root)
    show(as_json, _record(made), _text(made))


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the locks of page and runner, with no worker at work. CommandFailed, with who is in the way."""
    with ExitStack() as held:
        for name in ("page", "runner"):
            try:
                held.enter_context(filelock.FileLock(root / f"{name}.lock").acquire(timeout=LEAVING))
            except filelock.Timeout as error:
                raise CommandFailed(
                    f"The {name} of {root} is open. Close the studio, let its runs end, and try again."
                ) from error
        at_work = [process.pid for process in psutil.process_iter() if _works_on(process, root)]
        if at_work:
            named = ", ".join(map(str, at_work))
            raise CommandFailed(f"Processes still work on {root}: {named}. Let them end, or end them, and try again.")
        yield


def _works_on(process: psutil.Process, root: Path) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "jobs.worker" in words and str(root) in words


def _record(made: rebuild.Rebuilt) -> dict[str, Any]:
    return {
        "damaged": str(made.aside),
        "not_read_in_full": made.unread,
        "copy": str(made.copy) if made.copy else None,
        "listed_by_their_folders": made.from_folders,
        "put_aside": [f"{kind}/{key}" for kind, key in made.unlisted],
        "rows": {name: made.counts.get(table, 0) for table, name in COUNTED.items()},
    }


def _text(made: rebuild.Rebuilt) -> str:
    lines = ["The library was made anew. It holds " + _counts(made.counts) + "."]
    if made.unread:
        lines.append(f"Not all could be read of: {', '.join(name.replace('_', ' ') for name in made.unread)}.")
        from_copy = f"What was missing there came from the copy {made.copy}." if made.copy else "There is no good copy."
        lines.append(from_copy)
    if made.from_folders:
        lines.append(f"Listed by what their folders say: {made.from_folders}.")
    if made.unlisted:
        lines.append(f"{len(made.unlisted)} folders that nothing is known of were put aside.")
    lines.append(f"The damaged library is kept in {made.aside}. To check the new one: python -m studio doctor")
    return "\n".join(lines)


def _counts(rows: dict[str, int]) -> str:
    """Such as "1 adapter, 3 data sets": all that there is, in the order of COUNTED."""
    there = [(rows.get(table, 0), name) for table, name in COUNTED.items() if rows.get(table, 0)]
    return ", ".join(f"{count:,} {name if count > 1 else name.removesuffix('s')}" for count, name in there) or "nothing"
