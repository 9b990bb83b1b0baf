"""`python -m studio ...`: all that the page can do, for scripts.

Results go to stdout, progress and problems to stderr. Exit codes: 0 done, 1 failed, 2 asked for with values that cannot
be. Imports neither torch nor Gradio; what the commands do is in `actions.py`, and their settings are declared in
`engine/settings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from studio.adapter_commands import adapters
from studio.compare_commands import compare, comparisons, votes
from studio.data_commands import data as data_sets
from studio.deferred import Deferred
from studio.device_commands import DeviceName, choose_device, chosen_device
from studio.disk_commands import show_disk
from studio.duplicate_commands import duplicating
from studio.edge import CommandFailed, at_the_edge
from studio.grid_commands import train_grid
from studio.line_commands import JobNumber, move_job, pause_run, queue
from studio.log_commands import show_log
from studio.model_commands import models
from studio.notice_commands import notices
from studio.options import PLAIN, AsJson, Commands, DataDir, Detach, with_settings
from studio.pin_commands import pin_checkpoint, unpin_checkpoint
from studio.rebuild_command import rebuild_library
from studio.suite_commands import commands as suites
from studio.switch_commands import auto_resume, end_stalled, spare_memory
from studio.terminal import facts, plain, print_json, say, show, table
from studio.words import ANEW

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.tables import Job
    from studio import actions, again, asking, doctor, line, opening, records
else:
    actions, again = Deferred("studio.actions"), Deferred("studio.again")
    asking, doctor, records = Deferred("studio.asking"), Deferred("studio.doctor"), Deferred("studio.records")
    line, opening = Deferred("studio.line"), Deferred("studio.opening")


app = Commands(help="LoRA Studio for scripts.", add_completion=False, **PLAIN)
jobs = Commands(help="The queue: what runs, waits and has ended.", **PLAIN)
app.add_typer(jobs, name="jobs")
app.add_typer(adapters, name="adapters")
app.add_typer(models, name="models")
app.add_typer(data_sets, name="data")
app.add_typer(comparisons, name="comparisons")
app.add_typer(votes, name="votes")
app.add_typer(notices, name="notices")
app.add_typer(suites, name="suites")
app.command("compare")(compare)
app.command("disk")(show_disk)
app.command("rebuild")(rebuild_library)
jobs.command("move")(move_job)
jobs.command("pause")(pause_run)
jobs.command("log")(show_log)
jobs.command("device")(choose_device)
jobs.command("pin")(pin_checkpoint)
jobs.command("unpin")(unpin_checkpoint)
jobs.add_typer(queue, name="queue")


# --- training -----------------------------------------------------------------------------------------------------


@app.command()
@with_settings
def train(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A sample's name, a data set's name, or a file; given again, they are mixed. DATA=0.5 is a weight: "
            "how often its rows come in an epoch, 1 if not given.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="A base model's name or number.", show_default="starter"),
    ] = "",
    parent: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="ADAPTER",
            help="Go on from this adapter (name or number): base and shape are its own, and so is the data unless "
            "--data is given.",
            show_default=False,
        ),
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What to call the adapter.", show_default=False)
    ] = "",
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="SETTING=VALUE,...",
            help="A run for each value; given again, a run for each combination.",
            show_default=False,
        ),
    ] = None,
    device: DeviceName = "",
    yes: Annotated[bool, typer.Option("--yes", help="Queue a grid without asking.")] = False,
    stops: Annotated[
        bool, typer.Option("--stop-on-error", help="Cancel what still waits of a grid when one of its runs fails.")
    ] = False,
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    **values: object,
) -> None:
    """Fine-tune a base model and wait for the adapter."""
    on = chosen_device(device, bool(grid))
    with opening.opened(data_dir) as store:
        chosen = asking.beginning(store, data or (), model, parent)
        if grid:
            train_grid(store, chosen, values, grid, name, yes, stops, detach, as_json)
            return
        job = actions.start_run(
            store,
            base_model_id=chosen.base.id,
            data_set_id=chosen.data.id,
            mixture=[(one.id, weight) for one, weight in chosen.mixture],
            values=values,
            name=name,
            start_adapter_id=chosen.start.id if chosen.start else None,
            device=on,
        )
        _see_through(store, job, detach, as_json)


def _see_through(store: Store, job: Job, detach: bool, as_json: bool) -> None:
    if detach:
        show(as_json, records.job_record(job), str(job.id))
        return
    if line.holds_back(store, job):
        say(f"{line.PAUSED} Let it go on: python -m studio jobs queue continue")
    _show_trained(store, asking.wait(store, job), as_json)


def _show_trained(store: Store, job: Job, as_json: bool) -> None:
    adapter = store.adapter(job.adapter_id) if job.adapter_id is not None else None
    made = records.adapter_record(adapter) if adapter else None
    if as_json:
        print_json({"job": records.job_record(job), "adapter": made})
    elif adapter:
        print(f"Adapter {adapter.id}: {plain(adapter.name)}")
    if adapter is None:
        raise CommandFailed(f"Job {job.id} ({job.state}) left no adapter. {job.why}".strip())


# --- jobs ---------------------------------------------------------------------------------------------------------


@jobs.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(metavar="WHOLE", min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List jobs, the newest first."""
    with opening.opened(data_dir) as store:
        found = [records.job_record(job) for job in store.jobs(limit=limit)]
    rows = [(job["id"], job["kind"], job["name"], job["state"], job["says"]) for job in found]
    show(as_json, found, table(("Job", "Kind", "Name", "State", ""), rows) if rows else "No jobs yet.")


@jobs.command("show")
def show_job(number: JobNumber, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show a job. Its settings, where it stands, its checkpoints, and with --json its loss curve."""
    with opening.opened(data_dir) as store:
        job = store.job(number)
        metrics = [records.metric_record(metric) for metric in store.metrics(number)] if as_json else []
        kept = [records.checkpoint_record(one) for one in reversed(store.checkpoints(number))]
    record, steps = records.job_record(job), [f"{k['step']}{' (pinned)' if k['pinned'] else ''}" for k in kept]
    said = facts({**record, "kept steps": ", ".join(steps)})
    show(as_json, {**record, "checkpoints": kept, "metrics": metrics}, said)


@jobs.command("stop")
def stop_job(
    number: JobNumber,
    cancel: Annotated[bool, typer.Option("--cancel", help="Keep what is pinned; else the adapter so far.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Ask a job to end."""
    with opening.opened(data_dir) as store:
        record = records.job_record(actions.stop_job(store, number, "cancel" if cancel else "keep"))
    show(as_json, record, record["says"])


@jobs.command("again")
def run_again(
    number: JobNumber,
    epochs: Annotated[
        str, typer.Option(metavar="WHOLE", help=f"This many more, from the adapter it left. {ANEW}")
    ] = "",
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Give a finished run more epochs. Without --epochs, train the same once more from its beginning."""
    with opening.opened(data_dir) as store:
        job = store.job(number)
        more = again.more_epochs(store, job, epochs) if epochs else again.from_the_beginning(store, job)
        if more.start_adapter_name and epochs:
            say(f"Goes on from {plain(more.start_adapter_name)}. {ANEW}")
        _see_through(store, more, detach, as_json)


jobs.command("duplicate")(duplicating(_see_through))


@jobs.command("continue")
def continue_run(
    number: JobNumber,
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Go on with a paused or interrupted run. It begins at its last checkpoint."""
    with opening.opened(data_dir) as store:
        _see_through(store, again.after_interruption(store, store.job(number)), detach, as_json)


jobs.command("auto-resume")(auto_resume)
jobs.command("spare-memory")(spare_memory)
jobs.command("end-stalled")(end_stalled)


# --- health -------------------------------------------------------------------------------------------------------


@app.command("doctor")
def check_health(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte of the base models, too.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Check the data folder and the installation. Faults exit 1 and say how to mend, warnings exit 0."""
    report = doctor.examine(data_dir, deep=deep)
    show(as_json, report.record(), report.text())
    if report.faults:
        raise typer.Exit(1)


# --- the edge -----------------------------------------------------------------------------------------------------


def main(given: Sequence[str] | None = None) -> int:
    """Do what `given` (default: the process's arguments) asks; the exit code."""
    codes: list[int] = []

    def command() -> None:
        try:
            app(args=list(given) if given is not None else None, prog_name="python -m studio")
        except SystemExit as end:  # how Typer ends: its own usage errors are code 2
            codes.append(int(end.code or 0))

    return at_the_edge(command) or (codes[0] if codes else 0)
