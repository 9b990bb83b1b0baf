"""An adapter as it comes from outside: a folder or a zip, looked into without trusting anything in it.

A zip is never unpacked: the two or three files that make an adapter are found by their own names, and read as streams
with a limit. No name from the archive becomes a path. Of the weights only the head is read here: names, kinds and
shapes. Holds no torch, so that the page can look before it asks a worker.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

from engine import json_file

PEFT_CONFIG, OWN_CONFIG, WEIGHTS = "adapter_config.json", "studio_adapter.json", "adapter_model.safetensors"
TEMPLATE = "chat_template.jinja"  # need not be there
KNOWN = (PEFT_CONFIG, OWN_CONFIG, WEIGHTS, TEMPLATE)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LARGEST_CONFIG = 1_000_000  # bytes
LARGEST_HEAD = 2_000_000  # bytes of names and shapes before the numbers
LARGEST_LIST = 500_000  # bytes of names in a zip: some thousand files
MOST_TENSORS = 20_000
BLOCK = 1 << 20
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

Facts = dict[str, tuple[str, list[int]]]  # of each tensor: dtype, shape


class PackageError(ValueError):
    """Files that are no adapter, or a hostile one. The message says which, and what to do."""


@dataclass(frozen=True)
class Part:
    """One file of a package."""

    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Package:
    """An adapter that was looked at.

    Attributes:
        config_name: `adapter_config.json`, or `studio_adapter.json` for the formats of our own.
        tensors: what the head of the weights' file says.
        template: the chat template beside them, as it was found.
    """

    config_name: str
    config: dict[str, Any]
    tensors: Facts
    weights: Part
    template: Part | None = None


@contextmanager
def opened(path: Path) -> Iterator[Package]:
    """The adapter in the folder or zip at `path`, while it is open.

    Raises:
        PackageError: in sentences for people.
    """
    with ExitStack() as held:
        yield _looked_at(_in_folder(path) if path.is_dir() else _in_zip(_archive(path, held)))


def _archive(path: Path, held: ExitStack) -> zipfile.ZipFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PackageError(f"{path.name} is neither a folder nor a file.")
        file = held.enter_context(path.open("rb"))
        _check_directory(file)
        return held.enter_context(zipfile.ZipFile(file))
    except FileNotFoundError:
        raise PackageError(f"There is nothing at {path}. Give the adapter's folder, or a zip of it.") from None
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        if isinstance(error, PackageError):
            raise
        raise PackageError(
            f"{path.name} cannot be read as a zip ({_first(error)}). Give the adapter's folder, or a zip of it."
        ) from error


def copy(part: Part, target: Path, progress: Callable[[int, int], None]) -> None:
    """Write the part to `target`, exactly as many bytes as it said it has. PackageError if it holds more or fewer."""
    done = 0
    with _opened(part) as source, target.open("xb") as sink:
        while block := _read(source, min(BLOCK, part.size - done + 1)):
            done += len(block)
            if done > part.size:
                break
            sink.write(block)
            progress(done, part.size)
    if done != part.size:
        raise PackageError(f"{WEIGHTS} is damaged: it holds not the {part.size:,} bytes it says it has.")


# --- where the files are ----------------------------------------------------------------------------------------


def _in_folder(path: Path) -> dict[str, Part]:
    """The known files of a folder. Links are followed, for model hubs keep their files behind links; nothing but a
    regular file is opened."""
    found = {}
    for name in KNOWN:
        file = path / name
        if file.exists():
            facts = file.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise PackageError(f"{file} is no file that could be read.")
            found[name] = Part(facts.st_size, lambda file=file: file.open("rb"))  # type: ignore[misc]
    return _complete(found, [entry.name for entry in os.scandir(path)], str(path))


def _in_zip(archive: zipfile.ZipFile) -> dict[str, Part]:
    """The known files of a zip: at its top, or together in one folder there."""
    found: dict[str, dict[str, Part]] = {}
    for entry in archive.infolist():
        folder, _, name = entry.filename.rpartition("/")
        _check_name(entry.filename)
        if name not in KNOWN or "/" in folder or folder == "__MACOSX":
            continue
        if name in found.setdefault(folder, {}):
            raise PackageError(f"The zip holds {name} twice. It was not opened.")
        _check_entry(entry, name)
        found[folder][name] = Part(entry.file_size, lambda entry=entry: archive.open(entry))  # type: ignore[misc]
    found = {folder: parts for folder, parts in found.items() if set(parts) != {TEMPLATE}}
    if len(found) > 1:
        places = ", ".join(f"{folder or 'the top'}"[:60] for folder in sorted(found)[:4])
        raise PackageError(f"The zip holds several adapters ({places}). Give one of them.")
    names = [entry.filename.rpartition("/")[2] for entry in archive.infolist()]
    return _complete(next(iter(found.values()), {}), names, "The zip")


def _check_directory(file: IO[bytes]) -> None:
    """Before Python makes objects of them: how long the list of files in a zip is, from the record at its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 70_000))
    tail = file.read()
    # Where Python looks: at the very end, or, if there is a comment, wherever the mark stands last.
    at = len(tail) - 22
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("it has no end record")
    (length,) = struct.unpack("<I", tail[at + 12 : at + 16])
    if tail[max(0, at - 20) : at].startswith(b"PK\6\7") and tail[max(0, at - 76) : at].startswith(b"PK\6\6"):
        (length,) = struct.unpack("<Q", tail[at - 76 + 40 : at - 76 + 48])  # the record of large zips counts instead
    if length > LARGEST_LIST:
        raise PackageError(f"The zip lists too many files ({length:,} bytes of names). Zip the adapter's folder alone.")
    file.seek(0)


def _check_name(name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name:
        raise PackageError(f"The zip names a file outside of itself ({_short(name)}). It was not opened.")


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise PackageError(f"{name} in the zip is a link or no plain file. It was not opened.")
    if entry.flag_bits & 1:
        raise PackageError("The zip is locked with a password. Unpack it, and give the folder.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PackageError("The zip is packed in a rare way. Unpack it, and give the folder.")


def _complete(found: dict[str, Part], names: list[str], where: str) -> dict[str, Part]:
    pickles = sorted(name for name in names if name.endswith(PICKLES) and name.startswith(("adapter", "pytorch")))
    if WEIGHTS not in found and pickles:
        raise PackageError(
            f"{where} has the weights as {_short(pickles[0])}, a pickle, which can run code when it is opened and "
            "never is here. Save the adapter as safetensors: load it in PEFT where you trust it, and call "
            "save_pretrained(FOLDER, safe_serialization=True)."
        )
    if WEIGHTS not in found and "pytorch_lora_weights.safetensors" in names:
        raise PackageError(f"{where} holds an adapter for a model that makes pictures. Here are text models only.")
    missing = [WEIGHTS] if WEIGHTS not in found else []
    if not {PEFT_CONFIG, OWN_CONFIG} & set(found):
        missing.insert(0, PEFT_CONFIG)
    if missing:
        raise PackageError(f"{where} is no adapter in PEFT's format: {' and '.join(missing)} not found in it.")
    return found


# --- what is in them --------------------------------------------------------------------------------------------


def _looked_at(found: Mapping[str, Part]) -> Package:
    name = OWN_CONFIG if OWN_CONFIG in found else PEFT_CONFIG
    config = _object(_start(found[name], found[name].size, LARGEST_CONFIG, name), name)
    template = found.get(TEMPLATE)
    small = template if template and template.size <= LARGEST_CONFIG else None
    return Package(name, config, _head(found[WEIGHTS]), found[WEIGHTS], small)


def _head(part: Part) -> Facts:
    """What the head of a safetensors file says, once it is known to describe the file to the last byte."""
    if part.size < 10:
        raise PackageError(f"{WEIGHTS} is empty.")
    (length,) = struct.unpack("<Q", _start(part, 8, 8, WEIGHTS))
    if length > part.size - 8:
        raise PackageError(f"{WEIGHTS} is no safetensors file. A pickle by another name is not opened.")
    head = _object(_start(part, 8 + length, LARGEST_HEAD, WEIGHTS)[8:], WEIGHTS)
    head.pop("__metadata__", None)
    if len(head) > MOST_TENSORS:
        raise PackageError(f"{WEIGHTS} lists {len(head):,} tensors; an adapter has at most {MOST_TENSORS:,}.")
    facts = {name: _fact(name, entry) for name, entry in head.items()}
    numbers = sum(BYTES.get(dtype, 0) * prod(shape) for dtype, shape in facts.values())
    if all(dtype in BYTES for dtype, _ in facts.values()) and 8 + length + numbers != part.size:
        raise PackageError(
            f"{WEIGHTS} is damaged: {8 + length + numbers:,} bytes are described in it, and it has {part.size:,}."
        )
    return facts


def _fact(name: str, entry: object) -> tuple[str, list[int]]:
    dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    sound = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 1 <= n < 2**40 for n in shape)
    if not isinstance(dtype, str) or not sound or not isinstance(shape, list):
        raise PackageError(f"{WEIGHTS} is damaged: its head makes no sense at {_short(name)}.")
    return dtype, shape


def _start(part: Part, wanted: int, most: int, name: str) -> bytes:
    """The first `wanted` bytes of a part."""
    if wanted > most:
        raise PackageError(f"{name} is not believed: {wanted:,} bytes where {most:,} are the most there should be.")
    with _opened(part) as file:
        content = b""
        while len(content) < wanted and (block := _read(file, wanted - len(content))):
            content += block
    if len(content) != wanted:
        raise PackageError(f"{name} is damaged: it ends too early.")
    return content


def _opened(part: Part) -> IO[bytes]:
    with _damage_in_words():
        return part.open()


def _read(file: IO[bytes], most: int) -> bytes:
    with _damage_in_words():
        return file.read(most)


@contextmanager
def _damage_in_words() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise PackageError(f"A file of the adapter is damaged ({_first(error)}).") from error


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        return json_file.parsed(content)
    except ValueError as error:
        raise PackageError(f"{name} is damaged: {_first(error)}.") from None


def _first(error: BaseException) -> str:
    return _short(str(error).partition("\n")[0] or type(error).__name__)


def _short(text: str) -> str:
    return text if len(text) <= 80 and text.isprintable() else ascii(text)[:80]
