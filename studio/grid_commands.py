"""`python -m studio train --grid ...`: many runs in one command, counted and confirmed before they are queued.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.terminal import plain, show, table

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.tables import Job
    from studio import asking, grid, records
    from studio.asking import Beginning
else:
    asking, grid, records = Deferred("studio.asking"), Deferred("studio.grid"), Deferred("studio.records")


def train_grid(
    store: Store,
    chosen: Beginning,
    values: Mapping[str, object],
    texts: Sequence[str],
    name: str = "",
    yes: bool = False,
    stops: bool = False,
    detach: bool = False,
    as_json: bool = False,
) -> None:
    """Queue every combination of the values, and wait for all unless `detach`; then show the best run first.

    With `stops`, those that still wait are cancelled when one fails.
    """
    runs = grid.plan(chosen.base, chosen.data, values, grid.read(texts), name, chosen.start, chosen.mixture)
    _confirm(f"{grid.says(runs)} {grid.takes(store, chosen.base, runs)}", yes)
    jobs = grid.queue(store, chosen.base, chosen.data, runs, chosen.start, chosen.mixture, stops=stops)
    if detach:
        show(as_json, [records.job_record(job) for job in jobs], "\n".join(str(job.id) for job in jobs))
        return
    _show(store, [asking.wait(store, job) for job in jobs], as_json)


def _confirm(says: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{says} To queue them, add --yes.")
    typer.confirm(f"{says} Queue them?", abort=True, err=True)


def _show(store: Store, ended: Sequence[Job], as_json: bool) -> None:
    """All runs as one table. CommandFailed if none of them left an adapter."""
    best = store.best_of_grid(ended[0].grid or "", len(ended))
    rows = [(a.id, a.name, a.validation_loss, a.training_loss) for a in best]
    text = table(("Adapter", "Name", "Validation", "Training"), rows)
    left = {a.job_id for a in best}
    without = [
        f"Job {job.id}, {plain(job.name)}, left no adapter: it is {job.state}." for job in ended if job.id not in left
    ]
    record = {
        "jobs": [records.job_record(job) for job in ended],
        "adapters": [records.adapter_record(adapter) for adapter in best],
    }
    show(as_json, record, "\n".join([text, *without]))
    if not best:
        raise CommandFailed("No run of the grid left an adapter.")
