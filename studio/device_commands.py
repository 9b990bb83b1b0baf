"""`python -m studio jobs device` and `train --device`: on which GPU a run is to run.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import UsageError
from studio.line_commands import JobNumber
from studio.options import AsJson, DataDir
from studio.terminal import show

if TYPE_CHECKING:
    from jobs import devices
    from studio import asking, records
else:
    devices = Deferred("jobs.devices")
    asking, records = Deferred("studio.asking"), Deferred("studio.records")

AUTO = "auto"
DeviceName = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="The GPU to run on, like cuda:1.", show_default="whichever is free"),
]


def chosen_device(name: str, grid: bool = False) -> str | None:
    """The device that a person has named; None for whichever is free. UsageError for one that is not here."""
    if name in ("", AUTO):
        return None
    if grid:
        raise UsageError("--device is for one run. The runs of a grid take whichever device is free.")
    here = [place.name for place in devices.places()]
    if name not in here:
        known = f"It has {', '.join(here)}." if here else "Runs have one place here, and nothing is to be chosen."
        raise UsageError(f"{name!r} is not a device of this machine. {known}")
    return name


def choose_device(
    number: JobNumber,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Like cuda:1; auto is whichever is free.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Choose the device of a run that waits."""
    with asking.opened(data_dir) as store:
        job = store.choose_device(number, chosen_device(name))
    on = f"waits for {job.wanted_device}" if job.wanted_device else "takes whichever device is free"
    show(as_json, records.job_record(job), f"{job.name} {on}.")
