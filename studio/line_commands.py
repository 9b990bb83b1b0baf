"""`python -m studio jobs move | pause | queue ...`: the line of waiting jobs, and runs that wait for a person.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import show

if TYPE_CHECKING:
    from studio import asking, line, records
else:
    asking, line, records = Deferred("studio.asking"), Deferred("studio.line"), Deferred("studio.records")

JobNumber = Annotated[int, typer.Argument(metavar="NUMBER", help="The number of the job.", min=1, show_default=False)]

queue = Commands(help="Let the whole queue wait, or go on.", **PLAIN)


def move_job(
    number: JobNumber,
    up: Annotated[bool, typer.Option("--up", help="One place earlier.")] = False,
    down: Annotated[bool, typer.Option("--down", help="One place later.")] = False,
    first: Annotated[bool, typer.Option("--first", help="Before all others.")] = False,
    last: Annotated[bool, typer.Option("--last", help="After all others.")] = False,
    before: Annotated[
        int | None, typer.Option("--before", metavar="NUMBER", min=1, help="Right before this one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Move a waiting job in the line."""
    ways = [way for way, given in (("up", up), ("down", down), ("first", first), ("last", last)) if given]
    if len(ways) + (before is not None) != 1:
        raise UsageError("Say where to: one of --up, --down, --first, --last and --before.")
    with asking.opened(data_dir) as store:
        job = line.move(store, number, ways[0]) if before is None else line.move_before(store, number, before)
        place = line.place(store, number)
    show(as_json, {**records.job_record(job), "place": place}, f"{job.name} is number {place} in the line.")


def pause_run(number: JobNumber, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Pause a run. It keeps its last whole step and waits for: python -m studio jobs continue NUMBER."""
    with asking.opened(data_dir) as store:
        record = records.job_record(line.pause_run(store, number))
    show(as_json, record, record["says"])


@queue.command("pause")
def pause_queue(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Start no waiting run until the queue goes on. What runs goes on, and models still come and go."""
    with asking.opened(data_dir) as store:
        line.pause_queue(store, True)
    show(as_json, {"paused": True}, line.PAUSED)


@queue.command("continue")
def continue_queue(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Let the turns of waiting runs come again."""
    with asking.opened(data_dir) as store:
        line.pause_queue(store, False)
    show(as_json, {"paused": False}, "The queue goes on.")
