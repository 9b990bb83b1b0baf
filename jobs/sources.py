"""Where a base model can come from: what a person typed, told apart, and what lies on this disk.

Stands between the page and the command line, which hold no torch, and the engine. Looks at names and at the heads of
files only; whether a model works is found out by the job (`fetching.py`). Asks no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from engine import disk, hub_id
from engine.disk import Found

__all__ = ["Found", "Source", "SourceError", "find", "read"]

find = disk.find


class SourceError(ValueError):
    """What was typed names no model. The message says what would."""


class Source(NamedTuple):
    """A model to fetch or to look at: what to call it, and the settings of the job that does it."""

    name: str
    settings: dict[str, Any]


def read(text: str, revision: str = "") -> Source:
    """The source that `text` names: a folder, a GGUF file, or else a model on a hub, at `revision` if that is given.

    What is there on this disk goes first: `org/name` is a folder where there is such a folder.

    Raises:
        SourceError: none of the three, or a revision of what is no model on a hub.
    """
    path = Path(text.strip()).expanduser().absolute()
    if text.strip() and path.exists():
        if revision:
            raise SourceError(f"{path} lies on this machine, and has no revisions. Leave the revision out.")
        return _folder(path) if path.is_dir() else _file(path)
    wanted = hub_id.parse(text, revision)
    if wanted is None:
        raise SourceError(_nothing(text.strip(), path))
    return Source(wanted.name, {"source": "hub", "id": wanted.id, "revision": wanted.revision})


def _folder(path: Path) -> Source:
    if (path / "config.json").is_file():
        return Source(path.name, {"source": "folder", "path": str(path)})
    inside = next(iter(disk.find(path)), None)
    hint = f"It holds {inside.path}. Give that." if inside else ""
    raise SourceError(
        f"{path} is not a model folder: it has no config.json. "
        + (hint or "Give the folder that holds config.json, the tokenizer and the .safetensors files.")
    )


def _file(path: Path) -> Source:
    if disk.is_gguf(path):
        return Source(path.stem, {"source": "gguf", "path": str(path)})
    if path.parent.joinpath("config.json").is_file():
        raise SourceError(f"{path} is a part of a model. Give the folder it lies in: {path.parent}.")
    raise SourceError(f"{path} is no GGUF file. Give a GGUF file, or a folder with config.json and .safetensors files.")


def _nothing(text: str, path: Path) -> str:
    if not text:
        return "Give a folder with config.json and .safetensors files, the id of a model on a hub, or a GGUF file."
    looks_like_a_path = text.startswith(("/", "~", ".")) or "\\" in text or ":" in text
    if looks_like_a_path and "://" not in text:
        return f"There is no {path} on this machine."
    return (
        f"{text} is neither a folder nor a GGUF file on this machine, nor the id of a model on a hub, "
        "which looks like organisation/name or organisation/name@revision."
    )
