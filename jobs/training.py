"""The job of kind train: load the base, train, keep the best step, publish the adapter.

Here engine and library meet: the engine trains and knows no library, the library keeps and knows no tensors. How a
worker claims its job, and what becomes of errors, is in `worker.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job
from engine import adapter_files, models
from engine.checkpoint import Checkpoint
from engine.data import known_templates
from engine.data.check import each_row
from engine.data.render import Marked, encode_all
from engine.data.tokens import TokenRows
from engine.methods import fit
from engine.methods.stored import load_stored
from engine.passes import Passes, validation_loss
from engine.position import Position, StepReport
from engine.prepared import Portion, Prepared, divided, room
from engine.settings import RunSettings, parse, titles
from engine.sizing import chosen_layers
from engine.train import TrainingError, train
from jobs import start_adapter
from jobs.checkpoints import Checkpoints
from jobs.course import Course, Kept, metric
from jobs.ending import Ended, Ending
from jobs.inputs import check_base
from jobs.kept_tokens import KeptTokens
from jobs.queue import Lease, patiently
from jobs.snapshot import check_rows, sources

log = logging.getLogger("training")

TOLD = 2000  # rows between two words on how many were read


@dataclass
class UnderWay:
    """A run that can be trained: on what, with what, and where it stands."""

    loaded: models.LoadedBase
    prepared: Prepared
    settings: RunSettings
    position: Position
    course: Course
    passes: Passes


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
        InputError, SnapshotError, ModelError, DataError, TrainingError, AdapterError, StoreError: with a sentence for
            people.
    """
    with ending.may_interrupt():
        base, settings = _inputs(store, lease)
        start = start_adapter.checked(store, lease.job, settings)
        lease.say("Loading the base model")
        path, precision = store.base_path(base), settings.base_precision
        loaded = models.load(path, precision=precision, base_trained=settings.changes_base)
        lease.say("Reading the data")
        prepared = _prepared(store, lease, loaded, settings)
        checkpoints = Checkpoints(store, lease, settings, start, loaded.device, prepared)
        state = checkpoints.newest()
    # Not to be interrupted: a transaction broken off at any line could keep the library's only connection.
    checkpoints.go_on_from(state)
    done = state.step if state else 0
    lease.report(stage="", step=done, steps=prepared.steps, device=loaded.device.name, device_why=loaded.device.why)
    lease.report(alike=prepared.across)
    lease.move("running")
    with ending.may_interrupt():
        if state is None:
            under_way = _begun(store, lease, loaded, prepared, settings, start)
        else:
            under_way = _gone_on(lease, loaded, prepared, settings, state)
            del state  # its tensors are in the model now, and may be as large
    _train(lease, ending, checkpoints, under_way)
    course, fitted = under_way.course, under_way.position.fitted
    trained = Trained(settings, loaded.model, course, course.kept(fitted))
    fitted.remove()
    _finish(store, lease, trained)


def _prepared(store: Store, lease: Lease, loaded: models.LoadedBase, settings: RunSettings) -> Prepared:
    """The rows as tokens, kept from an earlier run or made now, and split."""
    base = lease.job.base_model
    assert base is not None
    limit = room(settings, base.facts["max_length"])
    writer = known_templates.put(loaded.tokenizer, settings.chat_template)
    portions = [
        Portion(_tokens(store, lease, writer, data, limit, settings.loss_on), weight, sources(data))
        for data, weight in lease.job.mixture
    ]
    return divided(portions, settings, limit)


def _tokens(store: Store, lease: Lease, tokenizer: Any, data: DataSet, limit: int, loss_on: str) -> TokenRows:
    """All rows of a data set as tokens, kept from an earlier run or made now."""

    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(each_row(store.rows_path(data))):
            if number % TOLD == 0:
                lease.say(f"Reading the data: {number:,} of {data.rows:,} rows of {data.name}")
            yield row

    def tokens() -> Iterator[Marked]:
        return encode_all(tokenizer, rows(), limit, loss_on)

    return KeptTokens(store).rows(data, tokenizer, {"length": limit, "loss_on": loss_on}, tokens)


def _begun(
    store: Store,
    lease: Lease,
    loaded: models.LoadedBase,
    prepared: Prepared,
    settings: RunSettings,
    start: Adapter | None,
) -> UnderWay:
    """A run before its first step."""
    # Before anything is put on the base: an adapter, and a soft prompt, begin elsewhere than the base.
    alone = start is not None or settings.method == "prompt"
    told = partial(lease.moved, "measuring")
    measured = validation_loss(loaded, prepared.validation, settings.micro_batch, told) if alone else None
    position = Position(fit(loaded.model, settings), settings, loaded.device.kind)
    if start is not None:
        load_stored(position.fitted, adapter_files.read(store.adapter_path(start)))
    return _under_way(lease, loaded, prepared, settings, position, Course(measured, goes_on=start is not None))


def _gone_on(
    lease: Lease, loaded: models.LoadedBase, prepared: Prepared, settings: RunSettings, state: Checkpoint
) -> UnderWay:
    """A run where a checkpoint left it."""
    position = Position(fit(loaded.model, settings), settings, loaded.device.kind)
    state.resume(position)
    course = Course.from_notes(state.course, state.tensors["kept"])
    return _under_way(lease, loaded, prepared, settings, position, course)


def _under_way(
    lease: Lease,
    loaded: models.LoadedBase,
    prepared: Prepared,
    settings: RunSettings,
    position: Position,
    course: Course,
) -> UnderWay:
    light, compiled = settings.gradient_checkpointing, settings.compiled
    passes = Passes(loaded, light=light, compiled=compiled, measured=partial(lease.moved, "measuring"))
    return UnderWay(loaded, prepared, settings, position, course, passes)


def _inputs(store: Store, lease: Lease) -> tuple[BaseModel, RunSettings]:
    """The base model and settings of the job, after checking that base and data are still what they were."""
    job = lease.job
    assert job.base_model is not None
    assert job.mixture
    lease.say("Checking base model and data")
    check_base(job.base_model, store.base_path(job.base_model))
    for data, _ in job.mixture:
        check_rows(data, store.rows_path(data))
    return job.base_model, parse(job.settings)


def _train(lease: Lease, ending: Ending, checkpoints: Checkpoints, run: UnderWay) -> None:
    """Train until the last step or until somebody asks to stop, reporting every step, with a checkpoint now and then.

    Only what takes long may be interrupted, so that what is known of a run is always that of one whole step.
    """

    def should_stop() -> bool:
        lease.moved(f"learning step {position.step + 1}")
        ending.check()
        return lease.stop == "keep"

    position, course = run.position, run.course
    log.info("%s: %s %s", run.loaded.device.name, run.loaded.device.why, run.passes.told)
    lease.report(passes=run.passes.told)
    reports = train(
        run.loaded,
        position.fitted,
        run.prepared,
        run.settings,
        should_stop=should_stop,
        position=position,
        interruptible=ending.may_interrupt,
        passes=run.passes,
        first_loss=lambda loss: lease.report(loss=loss),
    )
    try:
        for report in reports:
            course.take(report, position.fitted)
            lease.report(metric(report), **course.progress())
            checkpoints.keep_if_due(position, course)
    except Ended:
        if not lease.lost and lease.stop != "cancel":
            checkpoints.keep(position, course)
        raise
    except TrainingError as error:
        lease.report({"step": error.step, "loss": math.nan}, broke_at=error.step)
        if not checkpoints.keep_for_good(position, course):
            raise
        kept = f"What it had learned by step {position.step} is kept as a checkpoint, and can answer under Compare."
        raise TrainingError(f"{error} {kept}", error.step) from error


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
    has_own = job.base_model.facts.get("chat_template", True)
    with store.files.draft("adapters") as draft:
        adapter_files.write(
            draft.path,
            kept.tensors,
            base_name=job.base_model.name,
            settings=settings,
            model=trained.model,
            template=known_templates.travelling(settings.chat_template, has_own),
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
