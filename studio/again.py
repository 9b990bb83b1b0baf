"""A job once more: on from its interruption, the same from its beginning, or more epochs from where it ended.

For the page and the command line. What a run is, and what it may start from, is in `actions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters_store.store import LIVE, Store, StoreError
from adapters_store.tables import Job
from engine.settings import parse
from engine.shape import continued
from jobs import runner, start_adapter
from studio import actions, adapter_actions

ENDED_WITH_ADAPTER = ("completed", "stopped")
ENDED_WITHOUT = ("failed", "cancelled", "interrupted")


def can_go_on(job: Job) -> bool:
    """Whether the run has left an adapter that more epochs can start from."""
    return job.kind == "train" and job.state in ENDED_WITH_ADAPTER and job.adapter_id is not None


def after_interruption(store: Store, job: Job) -> Job:
    """Queue an interrupted or paused job again; a run goes on from its checkpoint, if it has one.

    Raises:
        ActionError: the job was neither.
    """
    try:
        job = store.move(job.id, "queued", who="person")
    except StoreError as error:
        job = store.job(job.id)
        if job.state not in ("queued", *LIVE):  # else somebody else was first
            raise actions.ActionError(
                f"{job.name} is {job.state}. Only a paused or interrupted job can be continued."
            ) from error
    runner.ensure(store.files.root)
    return job


def more_epochs(store: Store, job: Job, epochs: object, key: str | None = None) -> Job:
    """Queue a run of `epochs` more on the same base and data with the same settings, from the adapter `job` left.

    Raises:
        ActionError: the run left no adapter.
        SettingsError: no such number of epochs.
    """
    if not can_go_on(job):
        raise actions.ActionError(_why_not(store, job))
    assert job.adapter_id is not None
    values = {**continued(parse(job.settings)).model_dump(mode="json"), "epochs": epochs}
    return _queued(store, job, values, "", job.adapter_id, key)


def from_the_beginning(store: Store, job: Job, key: str | None = None) -> Job:
    """Queue the run once more as it was: same base, data, settings and start.

    Raises:
        ActionError: the job did not train, or what it needs is gone.
    """
    return _queued(store, job, job.settings, job.name, job.start_adapter_id, key)


def changed(store: Store, job: Job, values: Mapping[str, object], name: str = "") -> Job:
    """Queue the run once more with other `values` for some of its settings: same base, data and start.

    Raises:
        ActionError: the job did not train, or what it needs is gone.
        SettingsError: all values that cannot be used, at once.
    """
    return _queued(store, job, {**job.settings, **values}, name, job.start_adapter_id, None)


def can_retry(job: Job) -> bool:
    """Whether the job is none that trains, has left nothing, and what it was to work on can still be had."""
    return job.kind != "train" and job.state in ENDED_WITHOUT and not _upload_is_gone(job)


def retry(store: Store, job: Job) -> Job | None:
    """Do a fetch, an import or an export that left nothing once more; what an earlier try left is taken up.

    A second press finds the job of the first. None: the starter model is here already.

    Raises:
        ActionError: there is nothing to do again, or what it needs is gone.
    """
    if not can_retry(job):
        raise actions.ActionError(_why_no_retry(job))
    if job.state == "interrupted":
        return after_interruption(store, job)
    if job.settings.get("source") == "starter":
        return actions.fetch_starter(store)
    under_way = store.jobs(kinds=[job.kind], states=["queued", *LIVE])
    set_up = (job.settings, job.data_set_id)
    same = next((one for one in under_way if (one.settings, one.data_set_id) == set_up), None)
    return same or _as_it_was(store, job)


def _as_it_was(store: Store, job: Job) -> Job:
    if job.kind == "export":
        return adapter_actions.merge_adapter(store, job.settings["adapter_id"], Path(job.settings["folder"]))
    return actions.queue(
        store, job.kind, job.name, job.settings, base_model_id=job.base_model_id, data_set_id=job.data_set_id
    )


def _upload_is_gone(job: Job) -> bool:
    """An import removes the page's own copy of what was uploaded when it ends."""
    return bool(job.settings.get("upload")) and not Path(job.settings["path"]).exists()


def _why_no_retry(job: Job) -> str:
    if job.kind == "train":
        return f"{job.name} is a run. Train it again instead."
    if job.state in ENDED_WITHOUT:
        where = "Add it again on the Data tab." if job.kind == "data" else "Import it again in the Library."
        return f"The upload of {job.name} is not kept. {where}"
    return f"{job.name} is {job.state}. Only what failed, or was cancelled or interrupted, can be tried again."


def _queued(store: Store, job: Job, values: dict[str, object], name: str, start: int | None, key: str | None) -> Job:
    if job.base_model_id is None or job.data_set_id is None:
        raise actions.ActionError(f"{job.name} did not train, so there is nothing to train again.")
    return actions.start_run(
        store,
        base_model_id=job.base_model_id,
        data_set_id=job.data_set_id,
        mixture=[(data.id, weight) for data, weight in job.mixture],
        values=values,
        name=name,
        key=key,
        start_adapter_id=start,
        device=job.wanted_device,
    )


def _why_not(store: Store, job: Job) -> str:
    if job.kind != "train":
        return f"{job.name} did not train, so it cannot be given more epochs."
    if job.state in ENDED_WITH_ADAPTER:
        gone = next((adapter for adapter in store.deleted_adapters() if adapter.job_id == job.id), None)
        return start_adapter.deleted(gone) if gone else f"The adapter of {job.name} is gone. Train it again."
    return f"{job.name} is {job.state}. Only a run that is completed, or stopped and kept, can be given more epochs."
