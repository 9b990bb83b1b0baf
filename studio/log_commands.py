"""`python -m studio jobs log`: what a job has logged, and what it logs from now on.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import UsageError
from studio.line_commands import JobNumber
from studio.options import AsJson, DataDir
from studio.terminal import print_json, say

if TYPE_CHECKING:
    from adapters_store.store import Store
    from studio import asking, following, job_log
else:
    asking, following, job_log = Deferred("studio.asking"), Deferred("studio.following"), Deferred("studio.job_log")

POLL = 0.5  # seconds between two looks at a log that is followed


def show_log(
    number: JobNumber,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as it grows, until the job ends.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Print the log of a job. Control characters in it are shown as numbers."""
    if follow and as_json:
        raise UsageError("Choose one of --follow and --json: what grows is not one value.")
    with asking.opened(data_dir) as store:
        file = store.files.log(f"job-{store.job(number).id}")
        if follow:
            _follow(store, number)
        elif as_json:
            print_json(
                {"number": number, "file": str(file), "lines": [line.rstrip("\n") for line in job_log.lines(file)]}
            )
        elif file.exists():
            sys.stdout.writelines(job_log.lines(file))
        else:
            say("It has no log: no worker has begun with it yet.")


def _follow(store: Store, number: int) -> None:
    end, over = 0, False
    while True:
        part = job_log.stretch(store.files.log(f"job-{number}"), end)
        if part.left_out:
            say(f"{part.left_out} bytes before this are left out; without --follow all of it is printed.")
        sys.stdout.write(part.text)
        sys.stdout.flush()
        end = part.end
        if over:  # looked at once more after the end, so that the last lines are there
            return
        over = store.job(number).state in following.ENDED
        if not over:
            time.sleep(POLL)
