"""`python -m studio disk`: what the data folder takes, and what of it can go.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio import words
from studio.deferred import Deferred
from studio.options import AsJson, DataDir
from studio.terminal import say, show

if TYPE_CHECKING:
    from studio import asking, disk
else:
    asking, disk = Deferred("studio.asking"), Deferred("studio.disk")


def show_disk(
    free: Annotated[
        bool, typer.Option("--free", help="Delete what can go: trash, caches, what was broken off.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say what takes room. With --free, delete what nothing needs; nothing in use or pinned is touched."""
    with asking.opened(data_dir) as store:
        freed = disk.free(store) if free else None
        found, pinned = disk.uses(store), disk.pinned(store)
    if freed is not None:
        say(f"{words.size(freed)} freed.")
    record = {"freed_bytes": freed, "uses": [use._asdict() for use in found]}
    show(as_json, record, disk.text(found, pinned))
