"""`python -m studio jobs pin | unpin NUMBER STEP`: checkpoints of a run that stay.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.line_commands import JobNumber
from studio.options import AsJson, DataDir
from studio.terminal import plain, show

if TYPE_CHECKING:
    from studio import asking, pinning, records
else:
    asking, pinning = Deferred("studio.asking"), Deferred("studio.pinning")
    records = Deferred("studio.records")

Step = Annotated[
    int, typer.Argument(metavar="STEP", help="The step of the checkpoint; jobs show names them.", show_default=False)
]


def pin_checkpoint(number: JobNumber, step: Step, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Keep a checkpoint of a run until it is unpinned. It can answer in compare as NUMBER:STEP, also after the run."""
    with asking.opened(data_dir) as store:
        row, _ = pinning.set_pin(store, number, step, True)
        name = store.job(number).name
    says = f"Step {step} of {plain(name)} stays. It can answer: python -m studio compare --contestant {number}:{step}"
    show(as_json, {**records.checkpoint_record(row), "pinned": True, "kept": True}, says)


def unpin_checkpoint(number: JobNumber, step: Step, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Let a checkpoint go as others do. At once if its run has ended, else when there are newer ones."""
    with asking.opened(data_dir) as store:
        row, kept = pinning.set_pin(store, number, step, False)
        name = store.job(number).name
    then = "goes when there are newer ones" if kept else "is deleted"
    says = f"Step {step} of {plain(name)} is not pinned any more and {then}."
    show(as_json, {**records.checkpoint_record(row), "pinned": False, "kept": kept}, says)
