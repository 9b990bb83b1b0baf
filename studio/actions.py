"""What a person can ask the studio for, once, for the page and for the command line.

Each function checks what it was given, writes rows or snapshots through the store and, where work is to be done, sees
to it that a runner is there. Knows nothing about widgets, options or HTTP, and imports neither torch nor Gradio: work
that needs tensors is queued as a job.
"""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from adapters_store.files import locate
from adapters_store.store import FINAL, Store, StoreError
from adapters_store.tables import MEASURED, Adapter, BaseModel, DataSet, Job, Weighted
from engine import starter
from engine.misfits import misfits
from engine.settings import RATES, Method, RunSettings, SettingsError, defaults_for, parse, usable
from engine.shape import at_odds_with
from engine.sizing import count
from jobs import adding_data, runner, sources, start_adapter
from studio import method_words, mixtures
from studio.mixtures import Weights
from studio.words import clean_name, file_name, free_name

OF_AN_ADAPTER = ("README.md", "adapter_config.json", "studio_adapter.json", "adapter_model.safetensors")  # if there
SPARE_BYTES = 200_000_000  # logs, metrics and the database need room beside the adapter


class ActionError(ValueError):
    """What was asked for cannot be done. The message is a sentence (or several) for the person who asked."""

    @property
    def problems(self) -> list[str]:
        """The sentences, as other errors for people carry them."""
        return [str(self)]


class NotNow(ActionError):
    """What was asked for could be done, but not as things are here: no room, or files that are gone or damaged."""


def open_store(data_dir: Path | None) -> Store:
    """The store in `data_dir`, or in the folder this person's studio lives in by default."""
    return Store(locate(data_dir))


def import_samples(store: Store) -> None:
    """Make the bundled sample sets data sets of this studio, but not those that were deleted. Safe to call again."""
    deleted = {data.name for data in store.data_sets(deleted=True) if data.source == "sample"}
    for sample in starter.samples():
        if sample.name not in deleted:
            adding_data.add_now(store, sample.path, sample.name, source="sample")


def import_file(store: Store, path: Path, name: str) -> DataSet:
    """Read, check and keep a copy of a person's file or folder; the same rows again give the same data set.

    Columns that a person has mapped before are read so again.

    Raises:
        DataError: with the line and the reason for each row that cannot be used.
    """
    wanted = clean_name(Path(name).stem, "data set")
    return adding_data.add_now(store, path, wanted, adding_data.remembered(store, path))


def fetch_starter(store: Store) -> Job | None:
    """See to it that the starter model comes: None when it is here, else the job that fetches it."""
    if starter_model(store) is not None:
        return None
    fetches = [job for job in store.jobs(kinds=["fetch"]) if job.settings.get("source") == "starter"]
    job = next((job for job in fetches if job.state not in FINAL), None)
    if job is None:
        # The key counts the attempts, so that two callers at once ask for the same job.
        key = f"fetch-starter-{len(fetches)}"
        job = store.submit("fetch", starter.STARTER_NAME, {"source": "starter"}, key=key)
    elif job.state == "interrupted":
        job = _begin_again(store, job)
    runner.ensure(store.files.root)
    return job


def _begin_again(store: Store, job: Job) -> Job:
    try:
        return store.move(job.id, "queued", who="person")
    except StoreError:  # somebody else was first
        return store.job(job.id)


def starter_model(store: Store) -> BaseModel | None:
    """The starter model, when its files are here."""
    models = [model for model in store.base_models() if model.source == "starter"]
    return next((model for model in models if store.base_path(model).is_dir()), None)


def add_model(store: Store, text: str, name: str | None = None, revision: str = "") -> Job:
    """Queue what makes the model that `text` names a base model: a folder, a GGUF file, or a model on a hub.

    Raises:
        ActionError: it names none.
        QueueFull: no further job may wait.
    """
    try:
        source = sources.read(text, revision)
    except sources.SourceError as error:
        raise ActionError(str(error)) from error
    wanted = clean_name(name or source.name, "model")
    return queue(store, "fetch", wanted, {**source.settings, "name": wanted})


def start_run(
    store: Store,
    *,
    base_model_id: int,
    data_set_id: int,
    values: Mapping[str, object],
    name: str = "",
    key: str | None = None,
    start_adapter_id: int | None = None,
    grid: str | None = None,
    mixture: Weights = (),
    device: str | None = None,
) -> Job:
    """Queue a run of the base model on the data set. Settings that `values` leaves out get the set's defaults.

    `mixture` are all sets the run learns from with their weights; () for that one alone. With `start_adapter_id` it
    starts from that adapter and keeps its shape. `device` is the one it is to run on; None: any. Asking again with the
    same `key` gives the job of the first time.

    Raises:
        SettingsError: all values that cannot be used, at once.
        NotFound: no such base model, data set or adapter.
        ActionError: files are missing, the adapter is of another base, the disk is full.
        QueueFull: no further job may wait.
    """
    base = store.base_model(base_model_id)
    mixed = [Weighted(store.data_set(id), weight) for id, weight in mixture or [(data_set_id, 1.0)]]
    start = _start(store, base, start_adapter_id)
    settings = check_settings(base, mixed, values, start)
    _check_files(store, base, mixed)
    _check_room(store, base, settings)
    wanted = clean_name(name, _run_name(store, mixed, settings, start))
    return queue(
        store,
        "train",
        wanted,
        settings.model_dump(mode="json"),
        base_model_id=base.id,
        data_set_id=mixed[0].data_set.id,
        start_adapter_id=start.id if start else None,
        key=key,
        grid=grid,
        mixture=mixtures.weights(mixed),
        device=device,
    )


def _start(store: Store, base: BaseModel, id: int | None) -> Adapter | None:
    """The adapter a run is to start from. That its files are to the byte what they were is for the worker to check."""
    if id is None:
        return None
    start = store.adapter(id)
    if problem := start_adapter.unusable(store, start, base):
        raise ActionError(problem)
    return start


def _run_name(store: Store, mixture: Sequence[Weighted], settings: RunSettings, start: Adapter | None) -> str:
    called = mixtures.called(mixture)
    if start is None:
        return f"{called}-{method_words.suffix(settings)}"
    same = {data.id for data, _ in start.mixture} == {data.id for data, _ in mixture}
    wanted = start.name if same else f"{start.name}-{called}"
    adapters, runs = store.adapters(limit=1000)[0], store.jobs(kinds=["train"], limit=1000)
    taken = {adapter.name for adapter in adapters} | {run.name for run in runs}
    return free_name(clean_name(wanted, "run"), taken)


def check_settings(
    base: BaseModel, mixture: Sequence[Weighted], values: Mapping[str, object], start: Adapter | None = None
) -> RunSettings:
    """The full settings of a run from the given ones, checked alone, against the base model and its start.

    Those that are left out follow from how many rows an epoch of the mixture has.

    Raises:
        SettingsError: all problems at once.
    """
    problems = mixtures.problems(mixture)
    if start is not None:
        problems += at_odds_with(start_adapter.shape_of(start), values, start.name)
        values = start_adapter.values_from(start, [data.id for data, _ in mixture], values)
    method: Method = next((known for known in RATES if known == values.get("method")), "lora")
    settings = defaults_for(mixtures.rows_an_epoch(mixture), method)
    try:
        settings = parse({**settings.model_dump(), **values})
    except SettingsError as error:
        problems += error.problems
        settings = usable(values)
    problems += misfits(base.facts, settings, base.name)
    if problems:
        raise SettingsError(problems)
    return settings


def stop_job(store: Store, job_id: int, how: Literal["keep", "cancel"]) -> Job:
    """Ask a job to end: `keep` saves the adapter trained so far, `cancel` keeps nothing."""
    job = store.request_stop(job_id, how, "person")
    runner.ensure(store.files.root)  # the runner is who ends a worker that does not listen
    return job


def zip_adapter(store: Store, adapter_id: int, target: Path | IO[bytes]) -> str:
    """Write the adapter's folder as a zip and return a file name for it that is safe everywhere.

    It is in PEFT's format, or in our own where PEFT does not have the method. Only the files that make the adapter go
    in: nothing of this machine, the data or the run.

    Raises:
        NotFound: no such adapter.
        ActionError: its files on disk are damaged.
    """
    adapter = store.adapter(adapter_id)
    if adapter.deleted_at is not None:
        raise ActionError(start_adapter.deleted(adapter))
    problems = store.files.problems("adapters", adapter.folder)
    if problems:
        raise NotNow(f"The adapter {adapter.name} is damaged on disk and was not exported. " + " ".join(problems))
    folder = store.adapter_path(adapter)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
        for part in OF_AN_ADAPTER:
            if (folder / part).is_file():
                archive.write(folder / part, part)
    return f"{file_name(adapter.name)}.zip"


def metrics_csv(store: Store, job_id: int) -> tuple[str, str]:
    """The loss curve of a job as CSV text, and a safe file name for it. Only numbers leave: no cell is a formula."""
    job = store.job(job_id)
    columns = ("step", *MEASURED)
    measured = ([getattr(metric, column) for column in columns] for metric in store.metrics(job.id))
    rows = (["" if value is None else repr(value) for value in row] for row in measured)
    return "\n".join(map(",".join, [columns, *rows])) + "\n", f"{file_name(job.name)}-metrics.csv"


def queue(
    store: Store,
    kind: str,
    name: str,
    settings: dict[str, Any],
    *,
    base_model_id: int | None = None,
    data_set_id: int | None = None,
    start_adapter_id: int | None = None,
    key: str | None = None,
    grid: str | None = None,
    mixture: Weights = (),
    device: str | None = None,
) -> Job:
    """Put a job at the end of the queue, and see to it that a runner is there. QueueFull if it has no room."""
    job = store.submit(
        kind,
        name,
        settings,
        base_model_id=base_model_id,
        data_set_id=data_set_id,
        start_adapter_id=start_adapter_id,
        key=key,
        grid=grid,
        mixture=mixture,
        device=device,
    )
    runner.ensure(store.files.root)
    return job


def _check_files(store: Store, base: BaseModel, mixture: Sequence[Weighted]) -> None:
    if not store.base_path(base).is_dir():
        raise NotNow(f"The files of the base model {base.name} are gone from {store.base_path(base)}.")
    for data, _ in mixture:
        if not store.rows_path(data).is_file():
            raise NotNow(f"The rows of the data set {data.name} are gone from disk. Upload the file again.")


def _check_room(store: Store, base: BaseModel, settings: RunSettings) -> None:
    needed = 14 * count(base.facts, settings).tensor_bytes + SPARE_BYTES  # the adapter twice, 3 checkpoints of 4 each
    free = shutil.disk_usage(store.files.root).free
    if free < needed:
        raise NotNow(
            f"The disk has {free / 1e6:,.0f} MB free, and this run wants {needed / 1e6:,.0f} MB. "
            "Free some space, or choose a method or a rank that trains less."
        )
