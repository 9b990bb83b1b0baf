"""`python -m studio jobs auto-resume | spare-memory | end-stalled [on|off]`: what holds for all runs.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.options import AsJson, DataDir
from studio.terminal import show

if TYPE_CHECKING:
    from adapters_store.store import Store
    from jobs import queue as turns
    from jobs import resuming, stalls
    from studio import asking
else:
    resuming, stalls, turns = Deferred("jobs.resuming"), Deferred("jobs.stalls"), Deferred("jobs.queue")
    asking = Deferred("studio.asking")


class OnOff(StrEnum):
    """A switch."""

    ON = "on"
    OFF = "off"


Switch = Annotated[
    OnOff | None, typer.Argument(metavar="on|off", help="Left out: say which it is.", show_default=False)
]


def auto_resume(switch: Switch = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Let interrupted runs go on by themselves or not. If not, they wait for a person."""
    on = _switched(data_dir, switch, resuming.AUTO_RESUME, resuming.auto_resume)
    says = f"go on by themselves, up to {resuming.MOST_ATTEMPTS} attempts" if on else "wait for a person"
    show(as_json, {"auto_resume": on}, f"Interrupted runs {says}.")


def spare_memory(switch: Switch = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Halve the rows at once where memory is too small. Off, such a run fails and says what to change."""
    on = _switched(data_dir, switch, turns.SPARE_MEMORY, turns.spares_memory)
    says = "go on with half as many rows at once" if on else "fail and say what to change"
    show(as_json, {"spare_memory": on}, f"Runs for which memory is too small {says}.")


def end_stalled(switch: Switch = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """End workers that make no progress for long. Off, that is only reported."""
    on = _switched(data_dir, switch, stalls.END_STALLED, stalls.ends_stalled)
    says = "are ended some time after that was reported" if on else "are reported and left alone"
    show(as_json, {"end_stalled": on}, f"Workers that make no progress {says}.")


def _switched(data_dir: DataDir, switch: Switch, key: str, read: Callable[[Store], bool]) -> bool:
    """Set what is remembered under `key`, where a person said how. Whether it is on then."""
    with asking.opened(data_dir) as store:
        if switch:
            store.remember(key, switch is OnOff.ON)
        return read(store)
