"""What a person can ask for with an adapter as a whole: bring one in from outside, and merge one into its base.

Each function looks before it queues, so that most of what is wrong is said at once; the worker checks all of it. As
`actions.py`, knows nothing about widgets, options or HTTP, and imports neither torch nor Gradio.
"""

import shlex
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, Job
from jobs import adapter_base, adapter_package, start_adapter
from jobs.adapter_package import Package, PackageError
from studio.actions import ActionError, queue
from studio.words import clean_name, file_name

UNMERGEABLE = ("bottleneck", "prompt")
OF_NO_USE = ("adapter", "adapters", "default", "final", "output", "lora")  # names of folders that name nothing


def likely_base(store: Store, path: Path) -> BaseModel | None:
    """The base model that the adapter in this folder or zip fits; None if there is none.

    Raises:
        ActionError: there is no adapter at `path`, in words.
    """
    with _looking(path) as package:
        return adapter_base.best(package, _present(store))


def import_adapter(
    store: Store, path: Path, base_model_id: int | None = None, name: str = "", *, upload: bool = False
) -> Job:
    """Queue the import of an adapter in PEFT's format, or of our own, from a folder or a zip.

    Args:
        base_model_id: what it is an adapter for; None takes the base model that it fits.
        upload: `path` is the page's own copy; it is taken over, and removed in the end.

    Raises:
        ActionError: there is no adapter, or it fits no base model.
        NotFound: no such base model.
    """
    with _looking(path) as package:
        base = store.base_model(base_model_id) if base_model_id else adapter_base.best(package, _present(store))
        named = str(package.config.get("base_model_name_or_path") or package.config.get("base_model") or "")
    if base is None:
        said = f" Its config names {clean_name(named, 'none')}." if named else ""
        raise ActionError(f"This adapter fits none of the base models here.{said} Add its base model first.")
    wanted = clean_name(name or _name_of(path), "adapter")
    store.check_line()  # before the upload is taken away from where it can be asked for again
    place = _kept(store, path) if upload else path.expanduser().absolute()
    return queue(store, "import", wanted, {"path": str(place), "name": wanted, "upload": upload}, base_model_id=base.id)


def cannot_merge(adapter: Adapter) -> str:
    """Why the adapter cannot be merged into its base, in a sentence; empty where it can."""
    if (adapter.settings or {}).get("method") in UNMERGEABLE:
        return "An adapter of this method stands beside the weights, so it cannot be merged. Download it as it is."
    return ""


def to_use(folder: object) -> str:
    """How a merged model becomes a base model of the studio."""
    return f"To use it here: python -m studio models add {shlex.quote(str(folder))}"


def default_folder(store: Store, adapter: Adapter) -> Path:
    """Where a merged model goes if nobody says: a new folder in the data folder's exports."""
    exports = store.files.root / "exports"
    stem = f"{file_name(adapter.base_model.name)}-{file_name(adapter.name)}"
    return next(
        place for n in range(1, 10_000) if not (place := exports / (stem if n == 1 else f"{stem}-{n}")).exists()
    )


def merge_adapter(store: Store, adapter_id: int, folder: Path | None = None) -> Job:
    """Queue the writing of the base model with the adapter merged into it, as a model folder of its own.

    Args:
        folder: one that is not there yet, or empty; None is `default_folder`.

    Raises:
        ActionError: it cannot be merged, or the folder cannot be written to.
        NotFound: no such adapter.
    """
    adapter = store.adapter(adapter_id)
    if adapter.deleted_at is not None:
        raise ActionError(start_adapter.deleted(adapter))
    if why := cannot_merge(adapter):
        raise ActionError(why)
    target = (folder or default_folder(store, adapter)).expanduser().absolute()
    _check_target(store, target)
    settings = {"adapter_id": adapter.id, "folder": str(target)}
    return queue(store, "export", f"{adapter.name}, merged", settings, base_model_id=adapter.base_model_id)


def _check_target(store: Store, target: Path) -> None:
    root, exports = store.files.root.resolve(), (store.files.root / "exports").resolve()
    place = target.resolve()
    if place.is_relative_to(root) and not (place.is_relative_to(exports) and place != exports):
        raise ActionError(f"{target} lies in the studio's own data folder. Choose a folder of its own.")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ActionError(f"{target} is there already and not empty. Name a folder that is not there yet.")
    if any(job.settings.get("folder") == str(target) for job in store.jobs(kinds=["export"], states=["queued", *LIVE])):
        raise ActionError(f"{target} is being written already.")


def _present(store: Store) -> list[BaseModel]:
    return [base for base in store.base_models() if store.base_path(base).is_dir()]


@contextmanager
def _looking(path: Path) -> Iterator[Package]:
    """The adapter at `path`, with what is wrong with it as an error of this module."""
    try:
        with adapter_package.opened(path.expanduser()) as package:
            yield package
    except PackageError as error:
        raise ActionError(str(error)) from error


def _name_of(path: Path) -> str:
    """The folder's or zip's own name; that of the folder around it where it says nothing."""
    stem = path.stem if path.is_file() else path.name
    return path.absolute().parent.name if stem.casefold() in OF_NO_USE and path.is_dir() else stem


def _kept(store: Store, upload: Path) -> Path:
    """The upload, moved to where it stays until the job has read it."""
    place = store.files.unfinished(f"adapter {uuid.uuid4()}")
    return Path(shutil.move(upload, place / "adapter.zip"))
