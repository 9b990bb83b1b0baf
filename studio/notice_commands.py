"""`python -m studio notices ...`: who is told when a run has ended.

Only here can it be set: whatever gets into a page must not be able to have a program started. A part of the command
line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.line_commands import JobNumber
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import plain, show

if TYPE_CHECKING:
    from adapters_store.store import Store
    from jobs import notices as telling
    from studio import asking
else:
    asking, telling = Deferred("studio.asking"), Deferred("jobs.notices")

notices = Commands(help="Who is told when a run has ended.", **PLAIN)


@notices.command("show")
def show_notices(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Say who is told when a run has ended."""
    with asking.opened(data_dir) as store:
        _show(store, as_json)


@notices.command("command")
def set_command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PROGRAM [WORD...]",
            help="What to run, after --. It is started without a shell, with the run as JSON on its input and in "
            "LORA_STUDIO_JOB, _NAME, _KIND, _STATE and _SAYS, and may take 30 seconds.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Run a command of yours when a run has ended. It takes the place of the one before."""
    with asking.opened(data_dir) as store:
        try:
            told = telling.Notices.of(store)
            dataclasses.replace(told, command=telling.whole_command(words)).keep(store)
        except telling.NoticeError as error:
            raise UsageError(str(error)) from error
        _show(store, as_json)


@notices.command("webhook")
def set_webhook(
    address: Annotated[
        str, typer.Argument(metavar="URL", help="Where to send the run as JSON, by POST.", show_default=False)
    ],
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="HOST", help="Another machine it may be on.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Tell an address when a run has ended. It is on this machine, or on a host that is allowed here."""
    with asking.opened(data_dir) as store:
        try:
            hosts = tuple(host.lower() for host in allow_host or ())
            dataclasses.replace(telling.Notices.of(store), webhook=address, hosts=hosts).keep(store)
        except telling.NoticeError as error:
            raise UsageError(str(error)) from error
        _show(store, as_json)


@notices.command("off")
def set_off(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Tell neither a command nor an address."""
    with asking.opened(data_dir) as store:
        telling.Notices().keep(store)
        _show(store, as_json)


@notices.command("try")
def try_out(number: JobNumber, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Tell of a run now. It is told as if it had just ended, and what came of it is said."""
    with asking.opened(data_dir) as store:
        told = telling.Notices.of(store)
        if not told.anybody():
            raise CommandFailed("Nobody is told when a run ends. Set a command or a webhook first.")
        said = telling.tell(store, store.job(number), told)
    show(as_json, {"says": said}, "\n".join(map(plain, said)))
    if not all(one.endswith("told.") for one in said):
        raise typer.Exit(1)


def _show(store: Store, as_json: bool) -> None:
    told = telling.Notices.of(store)
    lines = [
        f"Runs this command: {plain(' '.join(told.command))}" if told.command else "",
        f"Tells this address: {plain(told.webhook)}" if told.webhook else "",
    ]
    none = "Nobody is told when a run ends."
    show(as_json, dataclasses.asdict(told), "\n".join(line for line in lines if line) or none)
