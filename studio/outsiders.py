"""Contestants that are not in the library: checkpoints that are kept or pinned, and merged models.

A merged model is one that an export job of this studio wrote and that is still where it was written. Knows nothing
about columns or how an answer is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adapters_store.errors import NotFound, StoreError
from adapters_store.store import Store
from adapters_store.tables import BaseModel, Checkpoint, Job

Kind = Literal["checkpoint", "merged"]
OFFERED = 50  # merged models, the newest


@dataclass(frozen=True)
class Outsider:
    """What answers without being in the library.

    Attributes:
        id: of the checkpoint, or of the job that wrote the merged model.
        base: the model it was made from.
        label: how it is offered; `name` is what its column is called.
        path: its folder.
        mark: what tells its weights from all others.
        settings: those of the run; empty for a merged model.
    """

    kind: Kind
    id: int
    base: BaseModel
    name: str
    label: str
    path: Path
    mark: str
    settings: Mapping[str, Any]

    @property
    def precision(self) -> str | None:
        """The precision of the base that it was trained on; None for a whole model."""
        return None if self.kind == "merged" else str(self.settings.get("base_precision", "full"))


def offered(store: Store) -> list[Outsider]:
    """All that can be chosen, the newest first of each kind."""
    kept = [_of_checkpoint(store, one) for one in store.checkpoints()]
    merged = [_of_export(store, job) for job in store.jobs(kinds=["export"], states=["completed"], limit=OFFERED)]
    return [one for one in (*kept, *merged) if one is not None]


def find(store: Store, kind: str, number: int) -> Outsider | None:
    """The one of this kind and number; None if it is no longer there."""
    if kind == "checkpoint":
        row = next((one for one in store.checkpoints() if one.id == number), None)
        return _of_checkpoint(store, row) if row else None
    try:
        job = store.job(number)
    except NotFound:
        return None
    return _of_export(store, job) if job.kind == "export" and job.state == "completed" else None


def _of_checkpoint(store: Store, row: Checkpoint) -> Outsider | None:
    try:
        job, mark = store.job(row.job_id), store.files.digest("checkpoints", row.folder)
    except StoreError:
        return None
    if job.base_model is None:
        return None
    name, path = f"{job.name} at step {row.step}", store.checkpoint_path(row)
    return Outsider("checkpoint", row.id, job.base_model, name, f"{name} (checkpoint)", path, mark, job.settings)


def _of_export(store: Store, job: Job) -> Outsider | None:
    folder = Path(job.settings["folder"])
    if job.base_model is None or not (folder / "config.json").is_file():
        return None
    label = f"{job.name} (whole model)"
    return Outsider("merged", job.id, job.base_model, job.name, label, folder, _mark(folder), {})


def _mark(folder: Path) -> str:
    """Of names, sizes and times of its files: reading gigabytes for each look at the choices would take too long."""
    total = hashlib.sha256()
    for file in sorted(folder.glob("*")):
        facts = file.stat()
        total.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return f"files:{total.hexdigest()}"
