"""The job of kind train: load the base, train, keep the best step, publish the adapter.

Here engine and library meet: the engine trains and knows no library, the library keeps and knows no tensors. How a
worker claims its job, and what becomes of errors, is in `worker.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job
from engine import adapter_files, models
from engine.data.check import read_rows
from engine.methods import fit
from engine.methods.fitted import Fitted
from engine.methods.stored import load_stored
from engine.settings import RunSettings, parse, titles
from engine.sizing import chosen_layers
from engine.train import Prepared, StepReport, prepare, train, validation_loss
from jobs import process, start_adapter
from jobs.ending import Ended, Ending
from jobs.progress import seconds_left, smooth
from jobs.queue import Lease, patiently


class InputError(RuntimeError):
    """What the run was set up with is gone or changed. The message says what, and what to do."""


@dataclass
class Kept:
    """The adapter of one step, on the CPU."""

    step: int
    loss: float | None
    validation_loss: float | None
    tensors: dict[str, Any]


class Course:
    """What is known of a run so far: makes metrics and progress of its reports, and keeps its best step.

    Args:
        base_validation_loss: of the base alone, where step 0 is not the base but a start of its own.
        goes_on: whether step 0 is an adapter of the library, against which the run is then measured too.
    """

    def __init__(self, base_validation_loss: float | None = None, goes_on: bool = False) -> None:
        self.loss: float | None = None
        self.first_loss: float | None = None
        self.base_validation_loss = base_validation_loss
        self.start_validation_loss: float | None = None
        self._goes_on = goes_on
        self.best: Kept | None = None
        self.last: StepReport | None = None
        self._pace: float | None = None  # smoothed seconds a step, validation included

    def take(self, report: StepReport, fitted: Fitted) -> None:
        """Note a report; `fitted` holds the adapter of that step."""
        before, self.last = self.last, report
        if report.step == 0:
            self.start_validation_loss = report.validation_loss if self._goes_on else None
            if self.base_validation_loss is None:
                self.base_validation_loss = report.validation_loss
            return
        if report.loss is not None:
            self.loss = report.loss
            self.first_loss = report.loss if self.first_loss is None else self.first_loss
            self._pace = smooth(self._pace, report.seconds - (before.seconds if before else 0.0))
        if self._improves(report):
            self.best = Kept(report.step, self.loss, report.validation_loss, fitted.tensors())

    def _improves(self, report: StepReport) -> bool:
        """Best among the trained steps: a run that never beats its base still keeps the step that came closest."""
        now = report.validation_loss
        if now is None:
            return False
        return self.best is None or self.best.validation_loss is None or now < self.best.validation_loss

    def kept(self, fitted: Fitted) -> Kept | None:
        """What the run leaves: its best step by validation, or the last one where nothing was measured."""
        if self.last is None or self.last.step == 0:
            return None
        return self.best or Kept(self.last.step, self.loss, None, fitted.tensors())

    def progress(self) -> dict[str, Any]:
        """The job's progress after the last report."""
        assert self.last is not None
        last, best = self.last, self.best
        said = {
            "stage": "",
            "step": last.step,
            "steps": last.steps,
            "loss": self.loss,
            "first_loss": self.first_loss,
            "first_validation_loss": self.base_validation_loss,
            "start_validation_loss": self.start_validation_loss,
            "best_validation_loss": best.validation_loss if best else None,
            "best_step": best.step if best else None,
            "seconds_left": seconds_left(last.step, last.steps, last.seconds, self._pace),
            "memory_bytes": memory_now(),
            "peak_memory_bytes": memory_peak(),
        }
        if last.validation_loss is not None:
            said["validation_loss"] = last.validation_loss
        if last.tokens_per_second is not None:
            said["tokens_per_second"] = last.tokens_per_second
        return said


@dataclass
class Trained:
    """A run whose training is over, for better or worse."""

    settings: RunSettings
    model: Any
    course: Course
    kept: Kept | None

    @property
    def last(self) -> StepReport:
        """The last report of the run."""
        assert self.course.last is not None
        return self.course.last


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end: completed, stopped, or cancelled because nothing was learned yet.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-made is left.
        InputError, ModelError, DataError, TrainingError, AdapterError, StoreError: with a sentence for people.
    """
    with ending.may_interrupt():
        base, data, settings = _inputs(store, lease)
        start = start_adapter.checked(store, lease.job, settings)
        lease.say("Loading the base model")
        loaded = models.load(store.base_path(base), precision=settings.base_precision)
        lease.say("Reading the data")
        rows = read_rows(store.rows_path(data))
        prepared = prepare(loaded.tokenizer, rows, settings, base.facts["max_length"])
    # Not to be interrupted: a transaction broken off at any line could keep the library's only connection.
    lease.report(stage="", step=0, steps=prepared.steps, device=loaded.device.name, device_why=loaded.device.why)
    lease.move("running")
    with ending.may_interrupt():
        # Before anything is put on the base: an adapter, and a soft prompt, begin elsewhere than the base.
        alone = start is not None or settings.method == "prompt"
        measured = validation_loss(loaded, prepared.validation, settings.micro_batch) if alone else None
        course = Course(measured, goes_on=start is not None)
        fitted = fit(loaded.model, settings)
        if start is not None:
            load_stored(fitted, adapter_files.read(store.adapter_path(start)))
        _train(lease, ending, loaded, fitted, prepared, settings, course)
        trained = Trained(settings, loaded.model, course, course.kept(fitted))
        fitted.remove()
    _finish(store, lease, trained)


def _inputs(store: Store, lease: Lease) -> tuple[BaseModel, DataSet, RunSettings]:
    """The base model, data set and settings of the job, after checking that they are still what they were."""
    job = lease.job
    assert job.base_model is not None
    assert job.data_set is not None
    lease.say("Checking base model and data")
    _check_base(job.base_model, store.base_path(job.base_model))
    _check_rows(job.data_set, store.rows_path(job.data_set))
    return job.base_model, job.data_set, parse(job.settings)


def _check_base(base: BaseModel, path: Path) -> None:
    if not path.is_dir():
        raise InputError(f"The base model {base.name} is no longer in {path}. Put it back or add it again.")
    if models.fingerprint(path) != base.fingerprint:
        raise InputError(
            f"The files of the base model {base.name} in {path} have changed since it was added. "
            "Add the folder again and start a new run."
        )


def _check_rows(data: DataSet, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"The rows of the data set {data.name} are gone from disk. Upload the file again.")
    with path.open("rb") as rows:
        if hashlib.file_digest(rows, "sha256").hexdigest() != data.content_hash:
            raise InputError(f"The rows of the data set {data.name} were changed on disk. Upload the file again.")


def _train(
    lease: Lease,
    ending: Ending,
    loaded: models.LoadedBase,
    fitted: Fitted,
    prepared: Prepared,
    settings: RunSettings,
    course: Course,
) -> None:
    """Train until the last step or until somebody asks to stop, reporting every step."""

    def should_stop() -> bool:
        ending.check()
        return lease.stop == "keep"

    for report in train(loaded, fitted, prepared, settings, should_stop):
        course.take(report, fitted)
        lease.report(_metric(report), **course.progress())


def memory_now() -> int:
    """Bytes the run holds now: of the GPU where one is used, of the machine else."""
    return torch.cuda.memory_allocated() if _on_gpu() else process.memory_bytes()


def memory_peak() -> int:
    """The most bytes the run has held so far, counted like `memory_now`."""
    return torch.cuda.max_memory_allocated() if _on_gpu() else process.peak_memory_bytes()


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _metric(report: StepReport) -> dict[str, Any]:
    return {
        "step": report.step,
        "loss": report.loss,
        "validation_loss": report.validation_loss,
        "learning_rate": report.learning_rate,
        "gradient_norm": report.gradient_norm,
        "tokens": report.tokens,
        "tokens_per_second": report.tokens_per_second,
        "memory_bytes": memory_now(),
        "seconds": report.seconds,
    }


def _finish(store: Store, lease: Lease, trained: Trained) -> None:
    """Save what was learned. From here on only a cancel, before the adapter is published, undoes the run."""
    if trained.kept is None:
        lease.move("cancelled", "Stopped before the first step was done, so there was nothing to keep.")
        return
    lease.move("finishing")
    adapter = _publish(store, lease, trained, trained.kept)
    lease.report(seconds_left=None, adapter=adapter.name)
    if trained.last.stopped:
        limit = trained.settings.max_seconds
        lease.move("stopped", "" if lease.stop else f"The time limit of {limit:g} s was reached.")
    else:
        lease.move("completed")


def _publish(store: Store, lease: Lease, trained: Trained, kept: Kept) -> Adapter:
    job, settings = lease.job, trained.settings
    assert job.base_model is not None
    with store.files.draft("adapters") as draft:
        adapter_files.write(
            draft.path, kept.tensors, base_name=job.base_model.name, settings=settings, model=trained.model
        )
        if lease.stop == "cancel":
            raise Ended
        key = draft.publish()
    try:
        return patiently(lambda: _list(store, job, trained, kept, key))
    except BaseException:
        store.files.to_trash("adapters", key)
        raise


def _list(store: Store, job: Job, trained: Trained, kept: Kept, key: str) -> Adapter:
    """The row of a published adapter; asking twice gives the same one."""
    assert job.base_model is not None
    settings = trained.settings
    chosen = chosen_layers(job.base_model.facts, settings)
    return store.add_adapter(
        name=job.name,
        folder=key,
        job_id=job.id,
        base_model_id=job.base_model.id,
        data_set_id=job.data_set_id,
        parent_id=job.start_adapter_id,
        method=titles("method")[settings.method],
        rank=settings.rank,
        alpha=settings.alpha,
        target_modules=sorted({str(layer["name"]) for layer in chosen}),
        settings=settings.model_dump(mode="json"),
        training_loss=kept.loss,
        validation_loss=kept.validation_loss,
        base_validation_loss=trained.course.base_validation_loss,
        best_step=kept.step,
        steps=trained.last.step,
        seconds=trained.last.seconds,
        size_bytes=store.files.size("adapters", key),
        sha256=store.files.digest("adapters", key),
        token=job.token,
    )
