"""The adapter a run starts from: what shape it gives the run, and whether it is still what it was.

Rows and folders only: the tensors are read by `training.py`, and no torch is imported, so that the page can ask too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, Job
from engine.settings import RunSettings, parse
from engine.shape import SHAPE, at_odds_with, continued

RESTORE = "python -m studio adapters restore"

# How the rows of a data set are parted into those that are learned from and those that it is measured on.
SPLIT = ("seed", "validation_share")


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
    assert job.base_model is not None
    adapter = store.adapter(job.start_adapter_id)
    problem = unusable(store, adapter, job.base_model) or _damage(store, adapter)
    problems = [problem] if problem else at_odds_with(shape_of(adapter), settings.model_dump(), adapter.name)
    if problems:
        raise StartError(" ".join(problems))
    return adapter


def unusable(store: Store, adapter: Adapter, base: BaseModel) -> str:
    """Why no run of `base` can start from this adapter, in a sentence or two; empty where it can. Reads no file."""
    if adapter.deleted_at is not None:
        return deleted(adapter)
    if adapter.base_model.fingerprint != base.fingerprint:
        return (
            f"The adapter {adapter.name} belongs to {adapter.base_model.name}, so a run of {base.name} cannot start "
            f"from it. Choose {adapter.base_model.name}, or leave --model out."
        )
    if not store.files.complete("adapters", adapter.folder):
        return f"Files of the adapter {adapter.name} are gone from disk. Start from another one."
    return ""


def deleted(adapter: Adapter) -> str:
    """What is said of an adapter that was deleted: the way to bring it back."""
    return f"The adapter {adapter.name} was deleted. Bring it back first: {RESTORE} {adapter.id}"


def values_from(start: Adapter, data_ids: Iterable[object], values: Mapping[str, object]) -> dict[str, object]:
    """`values` for a run on these data sets that starts from an adapter: its shape is the adapter's own.

    On the same data, rows that were kept aside stay aside, or the run would be measured on rows it has learned.
    """
    shape = shape_of(start)
    split = {name: getattr(shape, name) for name in split_kept(start, data_ids)}
    return {**split, **values, **{name: getattr(shape, name) for name in SHAPE}}


def split_kept(start: Adapter, data_ids: Iterable[object]) -> tuple[str, ...]:
    """The names of SPLIT if one of the data sets is one that `start` was trained on, else none."""
    return SPLIT if {data.id for data, _ in start.mixture}.intersection(data_ids) else ()


def _damage(store: Store, adapter: Adapter) -> str:
    problems = store.files.problems("adapters", adapter.folder)
    if not problems and store.files.digest("adapters", adapter.folder) == adapter.sha256:
        return ""
    told = " ".join(problems) or "Its files are not those it was stored with."
    return f"The adapter {adapter.name} is damaged on disk. {told} Start from another one."
