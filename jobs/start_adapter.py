"""The adapter a run starts from: what shape it gives the run, and whether it is still what it was.

Rows and folders only: the tensors are read by `training.py`, and no torch is imported, so that the page can ask too.
"""

from __future__ import annotations

from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
from engine.settings import RunSettings, at_odds_with, continued, parse


class StartError(RuntimeError):
    """The adapter that a run was to start from cannot be used. The message says why, and what to do."""


def shape_of(adapter: Adapter) -> RunSettings:
    """The settings of a run that starts from `adapter`; all of SHAPE is the adapter's own.

    Raises:
        SettingsError: if no run can have this shape, such as a rank beyond the largest.
    """
    return parse(continued(parse(adapter.settings)).model_dump())


def checked(store: Store, job: Job, settings: RunSettings) -> Adapter | None:
    """The adapter `job` starts from, on disk as it was stored; None if the run starts from its base model.

    Raises:
        StartError: it was deleted or changed, belongs to another base model, or has another shape than the run.
    """
    if job.start_adapter_id is None:
        return None
    adapter = store.adapter(job.start_adapter_id)
    problem = unusable(store, adapter) or _unlike(adapter, job, settings)
    if problem:
        raise StartError(problem)
    return adapter


def unusable(store: Store, adapter: Adapter) -> str:
    """Why no run can start from this adapter, in a sentence or two; empty where it can."""
    if adapter.deleted_at is not None:
        return f"The adapter {adapter.name} was deleted. Bring it back, or start from another one."
    problems = store.files.problems("adapters", adapter.folder)
    if problems or store.files.digest("adapters", adapter.folder) != adapter.sha256:
        told = " ".join(problems) or "Its files are not those it was stored with."
        return f"The adapter {adapter.name} is damaged on disk. {told} Start from another one."
    return ""


def _unlike(adapter: Adapter, job: Job, settings: RunSettings) -> str:
    if job.base_model is None or adapter.base_model.fingerprint != job.base_model.fingerprint:
        here = job.base_model.name if job.base_model else "no base model"
        return f"The adapter {adapter.name} belongs to {adapter.base_model.name}, and this run has {here}."
    return " ".join(at_odds_with(shape_of(adapter), settings.model_dump(), adapter.name))
