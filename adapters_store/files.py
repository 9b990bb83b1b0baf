"""The data folder: the only place that turns keys into paths and that publishes, trashes and sweeps folders.

A folder is filled as a draft under temp/ and becomes visible by one rename, after every byte of it is on the disk; so
what lies in models/, datasets/, adapters/ and checkpoints/ is whole. Does not protect against a person who edits those
folders by hand (`problems` finds that), and knows nothing about the rows that point here.
"""

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import psutil
from platformdirs import user_data_path

from adapters_store import manifest
from adapters_store.errors import StoreError
from adapters_store.manifest import FileFact

__all__ = ["KINDS", "DataFolder", "Draft", "FileFact", "Kind", "locate"]

Kind = Literal["models", "datasets", "adapters", "checkpoints"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_KEY = re.compile(r"[0-9a-f]{32}")
_LOG_NAME = re.compile(r"\w[\w.-]{0,79}", re.ASCII)
_TEMP_NAME = re.compile(r"[a-z]+\.(?P<pid>\d+)\.(?P<started>\d+)\.[0-9a-f]{32}")
_DAY = 24 * 3600.0


def locate(given: Path | None = None) -> Path:
    """The data folder to use: the one given, else $LORA_STUDIO_DATA, else the platform's place for such things."""
    if given is not None:
        return given
    asked = os.environ.get("LORA_STUDIO_DATA")
    return Path(asked) if asked else user_data_path("lora-studio", appauthor=False)


class DataFolder:
    """One data folder and all that lies in it."""

    def __init__(self, root: Path) -> None:
        """Make the tree under `root` where it is absent, for this user's eyes only. StoreError if that cannot be."""
        self.root = root.expanduser().absolute()
        try:
            _make_private(self.root)
            for name in (*KINDS, "logs", "temp", "trash"):
                _make_private(self.root / name)
        except OSError as error:
            raise StoreError(
                f"LoRA Studio cannot keep its data in {self.root}: {error.strerror}. "
                "Choose another folder with --data-dir."
            ) from error

    @property
    def database(self) -> Path:
        """The library's file."""
        return self.root / "studio.db"

    @property
    def temporary(self) -> Path:
        """Where what nobody will ask for again may lie for a while."""
        return self.root / "temp"

    def path(self, kind: Kind, key: str) -> Path:
        """Where the folder with this key lies, published or not. ValueError for a key that no draft ever had."""
        return self.root / _checked(kind) / _checked_key(key)

    def log(self, name: str) -> Path:
        """The log file of this name. ValueError for a name that is not letters, digits, dot, dash and underscore."""
        if not _LOG_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for a log file.")
        return self.root / "logs" / f"{name}.log"

    # --- publishing ---------------------------------------------------------------------------------------------

    def draft(self, kind: Kind) -> "Draft":
        """A new empty folder to fill and publish. A context manager: what was not published is gone at its end."""
        return Draft(self.root, _checked(kind))

    def unfinished(self, name: str) -> Path:
        """The folder for what is being fetched under this name, with all that an earlier try left in it.

        Made when absent; kept until it is removed, or until a day after it was last asked for or changed.
        """
        path = self.root / "temp" / f"unfinished-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        path.mkdir(mode=0o700, exist_ok=True)
        os.utime(path)
        return path

    def manifest(self, kind: Kind, key: str) -> dict[str, FileFact]:
        """What the folder was published with, by file name. StoreError if it is missing or unreadable."""
        return manifest.read(self.path(kind, key))

    def digest(self, kind: Kind, key: str) -> str:
        """The folder's identity: SHA-256 over the names and hashes of its manifest. StoreError as `manifest`."""
        return manifest.digest(self.manifest(kind, key))

    def size(self, kind: Kind, key: str) -> int:
        """Bytes of all files of the folder. StoreError as `manifest`."""
        return sum(fact.size for fact in self.manifest(kind, key).values())

    def problems(self, kind: Kind, key: str) -> list[str]:
        """In sentences, what is missing or damaged; empty if the folder is whole. Reads every byte."""
        return manifest.differences(self.path(kind, key))

    def complete(self, kind: Kind, key: str) -> bool:
        """Whether every file of the folder is there in its full size; a quick look that reads no file."""
        return manifest.complete(self.path(kind, key))

    def age(self, kind: Kind, key: str) -> float:
        """Seconds since the folder was filled."""
        return time.time() - self.path(kind, key).stat().st_mtime

    def published(self, kind: Kind) -> list[str]:
        """The keys of all published folders of a kind."""
        folders = (self.root / _checked(kind)).iterdir()
        return sorted(path.name for path in folders if _KEY.fullmatch(path.name))

    # --- trash --------------------------------------------------------------------------------------------------

    def to_trash(self, kind: Kind, key: str) -> None:
        """Take the folder out of sight; `from_trash` brings it back. Nothing happens if it is not there."""
        source = self.path(kind, key)
        if not source.exists():
            return
        if source.is_symlink():
            raise StoreError(
                f"{source} is a link, which LoRA Studio never makes. It was left alone; remove it by hand."
            )
        os.utime(source)  # the time in the trash is counted from now
        _move(source, self._in_trash(kind, key))

    def from_trash(self, kind: Kind, key: str) -> None:
        """Put the folder back where it was. Nothing happens if it is there; StoreError if the trash was emptied."""
        target = self.path(kind, key)
        if target.exists():
            return
        source = self._in_trash(kind, key)
        if not source.exists():
            raise StoreError("Its files are no longer in the trash, so it cannot be brought back.")
        _move(source, target)

    def empty_trash(self, older_than_s: float) -> None:
        """Delete for good what has been in the trash for longer than `older_than_s` seconds."""
        for path in (self.root / "trash").iterdir():
            if time.time() - path.lstat().st_mtime > older_than_s:
                self._delete(path)

    def discard(self, kind: Kind, key: str) -> None:
        """Delete a folder for good, without a stay in the trash. Nothing happens if it is not there."""
        with suppress(FileNotFoundError):
            self._delete(self.path(kind, key))

    def _delete(self, path: Path) -> None:
        # Renamed first, so that a folder half deleted is never taken for a whole one.
        doomed = self.root / "temp" / _temp_name("trash", uuid.uuid4().hex)
        path.rename(doomed)
        _remove(doomed)

    def _in_trash(self, kind: Kind, key: str) -> Path:
        return self.root / "trash" / f"{_checked(kind)}.{_checked_key(key)}"

    # --- sweeping -----------------------------------------------------------------------------------------------

    def leftovers(self) -> list[Path]:
        """What lies in temp/ though its process is gone; where that cannot be told, what is older than a day."""
        return sorted(path for path in (self.root / "temp").iterdir() if _abandoned(path))

    def unfinished_folders(self) -> list[Path]:
        """What `unfinished` has made and nobody has removed."""
        return sorted((self.root / "temp").glob("unfinished-*"))

    def drop(self, paths: Iterable[Path]) -> None:
        """Delete what lies in temp/ or cache/ for good. ValueError for a path that lies elsewhere."""
        for path in paths:
            if not any(path.is_relative_to(self.root / name) for name in ("temp", "cache")):
                raise ValueError(f"{path} is not to be made anew, and is not deleted.")
            _remove(path)

    def sweep(self) -> list[Path]:
        """Delete the leftovers; the paths of those that are now gone."""
        leftovers = self.leftovers()
        for path in leftovers:
            _remove(path)
        return [path for path in leftovers if not os.path.lexists(path)]


class Draft:
    """A folder being filled under temp/, named after the process that fills it."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self.key = uuid.uuid4().hex
        self.path = root / "temp" / _temp_name(kind, self.key)
        self._target = root / kind / self.key
        self.path.mkdir(mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path.exists():
            _remove(self.path)

    def publish(self) -> str:
        """Make the folder whole, durable and visible; returns its key. ValueError if it is empty or holds links."""
        if not self._target.exists():
            manifest.seal(self.path)
            try:
                _move(self.path, self._target)
            except OSError:
                # Renamed, but who publishes is told that it failed: a folder that nobody will ever list.
                with suppress(OSError):
                    self._target.rename(self.path)
                raise
        return self.key


def _make_private(folder: Path) -> None:
    # A folder that already holds a person's other things keeps the mode they gave it.
    fresh = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if fresh or not any(folder.iterdir()):
        folder.chmod(0o700)


def _move(source: Path, target: Path) -> None:
    """Rename a folder so that the new name survives a power cut."""
    source.rename(target)
    manifest.sync_folder(target.parent)
    manifest.sync_folder(source.parent)


def _remove(path: Path) -> None:
    """Delete a folder or file as far as it goes; never follows a link. What resists is left to the next sweep."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _checked(kind: Kind) -> Kind:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of folder: {', '.join(KINDS)}.")
    return kind


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key: 32 hexadecimal digits.")
    return key


def _temp_name(kind: str, key: str) -> str:
    return f"{kind}.{os.getpid()}.{round(psutil.Process().create_time() * 1000)}.{key}"


def _abandoned(path: Path) -> bool:
    name = _TEMP_NAME.fullmatch(path.name)
    running = _same_process(int(name["pid"]), int(name["started"]) / 1000) if name else None
    return _older_than_a_day(path) if running is None else not running


def _same_process(pid: int, started: float) -> bool | None:
    """Whether the process with this number and start time runs; None if it cannot be told.

    It cannot be told where the number is in use but the start time differs: the number may have passed to another
    process, or the clock, from which start times are derived, may have been set.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return True if abs(process.create_time() - started) < 2 else None
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def _older_than_a_day(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _DAY
    except FileNotFoundError:
        return False
