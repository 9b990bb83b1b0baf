"""The list of what a folder holds: for each file its size and SHA-256, kept in the folder's manifest.json.

A folder is whole when it agrees with its manifest. Knows nothing about where folders lie, what they are for, or the
library.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adapters_store.errors import StoreError

NAME = "manifest.json"


class FileFact(NamedTuple):
    """One file of a published folder: its size in bytes and the SHA-256 of its content, in hexadecimal."""

    size: int
    sha256: str


def seal(folder: Path) -> dict[str, FileFact]:
    """Put every file of `folder` safely on the disk, and last of all the manifest that vouches for them.

    ValueError if the folder is empty or holds anything but plain files and folders.
    """
    facts = {path.relative_to(folder).as_posix(): _settled(path) for path in _plain_files(folder)}
    if not facts:
        raise ValueError(f"{folder} is empty: there is nothing to publish.")
    for inner in [path for path in folder.rglob("*") if path.is_dir()]:
        sync_folder(inner)
    with (folder / NAME).open("w", encoding="utf-8") as file:
        json.dump({"files": {name: fact._asdict() for name, fact in facts.items()}}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    return facts


def read(folder: Path) -> dict[str, FileFact]:
    """The facts by name, as the manifest of `folder` states them. StoreError if it is absent or makes no sense."""
    try:
        files = json.loads((folder / NAME).read_text("utf-8"))["files"]
        facts = {str(name): FileFact(int(fact["size"]), str(fact["sha256"])) for name, fact in files.items()}
    except FileNotFoundError as error:
        what = f"{NAME} is missing" if folder.is_dir() else "the folder is missing"
        raise StoreError(f"{folder}: {what}, so nothing vouches for its files.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: {NAME} cannot be read, so nothing vouches for its files.") from error
    strays = [name for name in facts if not _stays_inside(name)]
    if strays:
        raise StoreError(f"{folder}: {NAME} names a file outside the folder: {strays[0]!r}.")
    return facts


def digest(facts: dict[str, FileFact]) -> str:
    """One SHA-256 for all of it: the same names and contents give the same digest, wherever the folder lies."""
    whole = hashlib.sha256()
    for name, fact in sorted(facts.items()):
        whole.update(f"{name}\0{fact.sha256}\n".encode())
    return whole.hexdigest()


def differences(folder: Path) -> list[str]:
    """In sentences, how `folder` departs from its manifest; empty if it is whole. Reads every byte."""
    try:
        facts = read(folder)
    except StoreError as error:
        return [str(error)]
    return [sentence for name, fact in facts.items() for sentence in _difference(folder / name, name, fact)]


def complete(folder: Path) -> bool:
    """Whether every file is there in its full size: a quick look, where `differences` reads every byte."""
    try:
        return all((folder / name).stat().st_size == fact.size for name, fact in read(folder).items())
    except (OSError, StoreError):
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut. Windows has no such call, and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settled(path: Path) -> FileFact:
    with path.open("r+b") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return FileFact(path.stat().st_size, sha256)


def _plain_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and path != folder / NAME:
            yield path
        elif not stat.S_ISDIR(mode):
            raise ValueError(f"{path.name} may not be published: only plain files and folders, and no {NAME}.")


def _difference(path: Path, name: str, fact: FileFact) -> Iterator[str]:
    try:
        size = path.stat().st_size
        if size != fact.size:
            yield f"{name} has {size} bytes where {fact.size} were written."
            return
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != fact.sha256:
                yield f"{name} has changed since it was written (its SHA-256 differs)."
    except FileNotFoundError:
        yield f"{name} is missing."
    except OSError as error:
        yield f"{name} cannot be read: {error.strerror}."


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and not any(mark in name for mark in "\\:\0")
