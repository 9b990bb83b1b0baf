"""`python -m studio jobs duplicate NUMBER --rank 8 ...`: a run once more, with some of its settings changed.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.line_commands import JobNumber
from studio.options import AsJson, DataDir, Detach, with_settings

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.tables import Job
    from studio import again, asking
else:
    again, asking = Deferred("studio.again"), Deferred("studio.asking")


def duplicating(see_through: Callable[[Store, Job, bool, bool], None]) -> Callable[..., None]:
    """The command; `see_through` waits for the run, unless it is detached, and shows what came of it."""

    @with_settings
    def duplicate(
        number: JobNumber,
        name: Annotated[
            str, typer.Option("--name", metavar="NAME", help="What to call the adapter.", show_default=False)
        ] = "",
        detach: Detach = False,
        as_json: AsJson = False,
        data_dir: DataDir = None,
        **values: object,
    ) -> None:
        """Train a run once more with changed settings. What is not given stays as it was in that run."""
        with asking.opened(data_dir) as store:
            see_through(store, again.changed(store, store.job(number), values, name), detach, as_json)

    return duplicate
