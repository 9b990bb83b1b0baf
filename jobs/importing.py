"""The job of kind import: check an adapter from outside against its base model, and put it into the library.

Settings: {"path", "name", "upload"}: a folder or zip of this machine; with "upload" it is the page's own copy, as told
in `uploads.py`. Names and shapes are checked before a byte of the weights is copied, the numbers after. What is
published is written anew; nothing of the package but the numbers is kept. How a worker claims its job, and what becomes
of errors, is in `worker.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel
from engine import adapter_files, models
from engine.adapter_files import AdapterError, AdapterOnDisk
from engine.paths import last_name
from engine.settings import RunSettings, titles
from jobs import adapter_package
from jobs.adapter_package import Package, PackageError
from jobs.ending import Ended, Ending
from jobs.inputs import check_base
from jobs.queue import Lease, patiently
from jobs.uploads import taken_over

SPARE_BYTES = 200_000_000


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-made is listed.
        PackageError, InputError, AdapterError, ModelError, StoreError: with a sentence for people.
    """
    gone = PackageError("The uploaded file is no longer here: it is kept for a day. Import the adapter again.")
    with taken_over(lease, gone) as path:
        adapter = _Import(store, lease, ending, path).adapter()
        lease.report(adapter=adapter.name)
        lease.move("completed")


class _Import:
    """One import."""

    def __init__(self, store: Store, lease: Lease, ending: Ending, path: Path) -> None:
        self.store, self.lease, self.ending, self.path = store, lease, ending, path
        assert lease.job.base_model is not None
        self.base: BaseModel = lease.job.base_model

    def adapter(self) -> Adapter:
        """Look, check, copy, check, list."""
        self.lease.move("running")
        with self.store.files.draft("adapters") as draft:
            with self.ending.may_interrupt():
                read, settings = self._written(draft.path)
            self.lease.move("finishing")
            if self.lease.stop == "cancel":
                raise Ended
            key = draft.publish()
        try:
            return patiently(lambda: self._list(key, read, settings))
        except BaseException:
            self.store.files.to_trash("adapters", key)
            raise

    def _written(self, target: Path) -> tuple[AdapterOnDisk, dict[str, Any]]:
        """The adapter, written into `target` in our own words, and the settings of its shape."""
        self.lease.say("Checking the base model")
        folder = self.store.base_path(self.base)
        check_base(self.base, folder)
        self.lease.say("Checking names and shapes")
        model = models.without_weights(folder, self.base.name)
        incoming = target / "incoming"
        incoming.mkdir()
        with adapter_package.opened(self.path) as package:
            adapter_files.check_fits(adapter_files.foreseen(package.config, package.tensors), model)
            self._check_room(package)
            (incoming / package.config_name).write_text(json.dumps(package.config), "utf-8")
            adapter_package.copy(package.weights, incoming / adapter_files.WEIGHTS, self._progress)
            if package.template is not None:  # `take_over` keeps it if it is one that is known
                adapter_package.copy(package.template, incoming / adapter_package.TEMPLATE, self._progress)
        self.lease.report(stage="Checking the numbers", done_bytes=None, total_bytes=None)
        try:
            read = adapter_files.take_over(incoming, target, base_name=self.base.name, model=model)
        except AdapterError as error:  # the person knows another path
            told = str(error).replace(f"The adapter in {incoming}", "This adapter").replace(f"{incoming}/", "")
            raise AdapterError(told) from error
        shutil.rmtree(incoming)
        return read, adapter_files.shape_settings(read, model)

    def _check_room(self, package: Package) -> None:
        needed = 2 * package.weights.size + SPARE_BYTES
        free = shutil.disk_usage(self.store.files.root).free
        if free < needed:
            raise PackageError(
                f"The disk has {free / 1e6:,.0f} MB free, and this adapter wants {needed / 1e6:,.0f} MB. "
                "Free some space, and import it again."
            )

    def _progress(self, done: int, total: int) -> None:
        self.ending.check()
        self.lease.report(stage="Copying", done_bytes=done, total_bytes=total)

    def _list(self, key: str, read: AdapterOnDisk, settings: dict[str, Any]) -> Adapter:
        job, defaults = self.lease.job, RunSettings()
        return self.store.add_adapter(
            name=job.settings["name"],
            folder=key,
            job_id=job.id,
            base_model_id=self.base.id,
            data_set_id=None,
            method=titles("method")[read.method],
            rank=settings.get("rank", defaults.rank),
            alpha=settings.get("alpha", defaults.alpha),
            target_modules=sorted({last_name(path) for path in read.low_rank}),
            settings=settings,
            training_loss=None,
            validation_loss=None,
            base_validation_loss=None,
            best_step=None,
            steps=0,
            seconds=0.0,
            size_bytes=self.store.files.size("adapters", key),
            sha256=self.store.files.digest("adapters", key),
            token=job.token,
        )
