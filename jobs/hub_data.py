"""A data set on a hub as a job of kind data: what there is to choose, the queueing, and the files as they are fetched.

Settings of the job: {"hub": {"id", "commit", "subset", "split"}, "name", "columns", "skip_bad"}. The commit was looked
up when it was queued, so what comes is what was chosen. What was half fetched is kept for a day for the next try,
unless the job was cancelled. What becomes of the rows is in `adding_data.py`. Nothing of a hub is imported before it is
needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_store.store import Store
from adapters_store.tables import DataSet, Job
from engine import hub_id
from engine.hub_id import HubId
from jobs import runner
from jobs.ending import Ending
from jobs.queue import Lease

if TYPE_CHECKING:
    from engine.hub_data import DataListing as DataListing
    from engine.hub_data import Part as Part

PREFIX = "hub:"  # what a person writes before the id of a data set


class HubDataError(ValueError):
    """What was asked for is no data set on a hub, or cannot be had. `problems` says why, and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def read(text: str) -> HubId:
    """The data set that `text` names, with or without "hub:" before it, such as organisation/name@revision.

    Raises:
        HubDataError: it is no such name.
    """
    wanted = hub_id.parse(text.strip().removeprefix(PREFIX).removeprefix("datasets/"))
    if wanted is None:
        told = f"{text.strip()[:200] or 'Nothing'} is not the id of a data set on a hub"
        raise HubDataError([f"{told}, which looks like organisation/name or organisation/name@revision."])
    return wanted


def look_up(wanted: HubId) -> DataListing:
    """The data set at its commit, with its subsets and splits. HubDataError where it cannot be had."""
    from engine import hub_data
    from engine.download import Hub, HubError

    try:
        with Hub() as connection:
            return hub_data.look_up(connection, wanted)
    except HubError as error:
        raise HubDataError(error.problems) from error


def chosen(listing: DataListing, subset: str, split: str) -> Part:
    """The part that is meant, as `DataListing.part`. HubDataError, with what there is to choose, where it is none."""
    from engine.download import HubError

    try:
        return listing.part(subset, split)
    except HubError as error:
        raise HubDataError(error.problems) from error


def add(
    store: Store, listing: DataListing, part: Part, name: str, columns: Mapping[str, str] | None, skip_bad: bool
) -> DataSet | Job:
    """Queue the fetching of a part of a data set; the data set that it has become already, if it is here.

    Raises:
        QueueFull: no further job may wait.
    """
    origin = _origin(listing, part)
    for data in store.data_sets():
        same = data.facts.get("hub") == origin and columns in (None, data.facts.get("columns"))
        if same and store.rows_path(data).is_file():
            return data
    settings = {"hub": origin, "name": name, "columns": dict(columns) if columns else None, "skip_bad": skip_bad}
    job = store.submit("data", name, settings)
    runner.ensure(store.files.root)
    return job


def beginning(store: Store, listing: DataListing, part: Part) -> Path:
    """A file that begins as the part does, to look at; kept for a day. HubDataError where it cannot be had."""
    from engine import hub_beginning
    from engine.download import Hub, HubError

    place = store.files.unfinished(f"beginning {_source(_origin(listing, part))}")
    try:
        with Hub() as connection:
            return hub_beginning.beginning(connection, listing, part, place)
    except HubError as error:
        raise HubDataError(error.problems) from error


def _origin(listing: DataListing, part: Part) -> dict[str, str]:
    return {"id": listing.wanted.id, "commit": listing.commit, "subset": part.subset, "split": part.split}


def _source(origin: Mapping[str, str]) -> str:
    """What nothing else that is fetched is called."""
    return f"{os.environ.get('HF_ENDPOINT', '')} {sorted(origin.items())}"


def told(origin: Mapping[str, Any]) -> str:
    """Where rows came from, in words."""
    return f"{origin['id']}, {origin['subset']}, {origin['split']}, commit {str(origin['commit'])[:12]}"


@contextmanager
def fetched(store: Store, lease: Lease, ending: Ending) -> Iterator[Path]:
    """The files of the claimed job, all whole, while they are worked on.

    Raises:
        Ended: cancelled, or the worker was told to end.
        HubError: with a sentence for people.
    """
    from engine import hub_data
    from engine.download import Hub

    origin = lease.job.settings["hub"]
    place, done = store.files.unfinished(f"data {_source(origin)}"), False

    def progress(stage: str, here: int, whole: int) -> None:
        ending.check()
        os.utime(place)  # still in use: see `unfinished`
        lease.report(stage=stage, done_bytes=here, total_bytes=whole)

    lease.move("running")
    try:
        with ending.may_interrupt(), Hub() as connection:
            lease.say(f"Asking {connection.host}")
            listing = hub_data.look_up(connection, HubId(origin["id"], origin["commit"]))
            part = listing.part(origin["subset"], origin["split"])
            path = hub_data.fetch(connection, listing, part, place, progress)
        yield path
        done = True
    finally:
        if done or lease.stop == "cancel":
            shutil.rmtree(place, ignore_errors=True)
