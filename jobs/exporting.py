"""The job of kind export: write a base model with an adapter merged into it, as a model folder of its own.

Settings: {"adapter_id", "folder"}. The folder appears whole or not at all: it is filled beside its place under another
name, and renamed. What a worker that was ended left behind is removed by the next export. Everything is computed on the
CPU, so that a run on the GPU is left alone. How a worker claims its job is in `worker.py`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
from engine import adapter_files, models, quantised
from engine.merge import cannot_merge, save_merged
from jobs.ending import Ended, Ending
from jobs.inputs import check_base
from jobs.queue import Lease

SPARE_BYTES = 200_000_000


class ExportError(RuntimeError):
    """A merged model that cannot be written. The message says why, and what to do."""


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-written stays.
        ExportError, InputError, AdapterError, ModelError, StoreError: with a sentence for people.
    """
    adapter = store.adapter(lease.job.settings["adapter_id"])
    target = Path(lease.job.settings["folder"])
    lease.move("running")
    _clear_away(store)
    check_target(target)
    partial = _partial(target, lease.job)
    try:
        with ending.may_interrupt():
            _make(partial)
            dtype = _write(store, lease, adapter, partial)
        lease.move("finishing")
        if lease.stop == "cancel":
            raise Ended
        _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    lease.report(folder=str(target), dtype=dtype, stage=f"Written in {dtype} to {target}")
    lease.move("completed")


def check_target(target: Path) -> None:
    """ExportError unless `target` is absent or an empty folder."""
    if os.path.lexists(target) and not target.is_dir():
        raise ExportError(f"{target} is a file. Name a folder that is not there yet.")
    if target.is_dir() and any(target.iterdir()):
        raise ExportError(f"{target} is there already and not empty. Name a folder that is not there yet.")


def _make(partial: Path) -> None:
    try:
        partial.mkdir(parents=True, mode=0o755)
    except OSError as error:
        raise ExportError(
            f"No folder can be made in {partial.parent} ({error.strerror}). Choose another place."
        ) from error


def _write(store: Store, lease: Lease, adapter: Adapter, folder: Path) -> str:
    """Fill `folder`; the dtype of its weights in words."""
    read = adapter_files.read(store.adapter_path(adapter))
    if why := cannot_merge(read.method):
        raise ExportError(why)
    lease.say("Checking the base model")
    path, precision = store.base_path(adapter.base_model), str(adapter.settings.get("base_precision") or "full")
    check_base(adapter.base_model, path)
    models.check_folder(path)
    stored = quantised.stored_dtype(path)
    dtype = stored if precision == "full" else torch.bfloat16
    needed = int(adapter.base_model.facts["parameters"]) * dtype.itemsize
    _check_room(folder, needed)
    lease.report(stage="Loading the base model", total_bytes=needed, done_bytes=0)
    device = models.Device(
        "cpu", "CPU", stored if precision == "full" else torch.float32, "Merging is done on the CPU."
    )
    base = models.load(path, device, precision)
    lease.report(stage="Merging and writing", total_bytes=needed, done_bytes=0)
    written = save_merged(base, read, folder)
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(written, written)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise ExportError(
            f"The merged model takes {needed / 1e6:,.0f} MB, and the disk of {folder.parent} has {free / 1e6:,.0f} MB "
            "free. Free some space, or choose a folder on another disk."
        )


def _put_in_place(partial: Path, target: Path) -> None:
    check_target(target)  # again: loading took its time
    if target.is_dir():
        target.rmdir()
    partial.rename(target)


def _partial(target: Path, job: Job) -> Path:
    return target.with_name(f".{target.name}.partial-{job.id}")


def _clear_away(store: Store) -> None:
    """Remove what workers that were killed have left beside the places they wrote to."""
    for job in store.jobs(kinds=["export"]):
        if job.state not in LIVE:
            shutil.rmtree(_partial(Path(job.settings["folder"]), job), ignore_errors=True)
