"""What the Data tab may ask about a file that is to become a data set: a look at its beginning, and the adding.

The file was uploaded, pasted, or lies somewhere on this machine. What the page names is checked: an upload lies among
the uploads, a path is a whole one. How a file is read is not known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from adapters_store.store import Store
from adapters_store.tables import DataSet
from engine.data.check import DataError
from jobs import adding_data
from studio import data_facts
from studio.actions import ActionError
from studio.question import Answer, fields
from studio.words import clean_name

LONGEST_PATH = 4000  # characters
LONGEST_PASTE = 5_000_000  # characters; more comes as a file
PASTED = "pasted rows.txt"


class File(NamedTuple):
    """A file that was named: where it is, what it is called, and whether it is only here for us."""

    path: Path
    name: str
    ours: bool


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""

    def data_look(question: object) -> Answer:
        """How the beginning of a file is understood, alone or as the person maps its columns."""
        asked = fields(question)
        file = _file(store, asked)
        return {
            "file": file.name,
            "upload": str(file.path) if file.ours else None,
            "name": clean_name(Path(file.name).stem.partition(".")[0], "data set"),
            **looked_at(store, file.path, columns_of(asked)),
        }

    def data_add(question: object) -> Answer:
        """Make a file a data set, or queue that where it takes long. What is wrong with its rows comes as a list."""
        asked = fields(question)
        file, columns = _file(store, asked), columns_of(asked)
        name = clean_name(str(asked.get("name") or ""), clean_name(Path(file.name).stem, "data set"))
        try:
            made = adding_data.add(store, file.path, name, columns, asked.get("skip_bad") is True, upload=file.ours)
        except DataError as error:
            return {"problems": error.problems, "total": error.total}
        return {"id": made.id} if isinstance(made, DataSet) else {"job": made.id}

    def data_forget(question: object) -> Answer:
        """Throw away an upload that is not wanted after all."""
        _forget(_file(store, fields(question)))
        return {}

    return [data_look, data_add, data_forget]


def looked_at(store: Store, path: Path, columns: dict[str, str] | None) -> Answer:
    """How the beginning of a file is understood, with its first rows as pieces to show."""
    seen = adding_data.preview(store, path, columns)
    return {
        "understood": seen.understood,
        "columns": columns or seen.columns,
        "names": seen.column_names,
        "rows": [{"key": n, "pieces": data_facts.shown_row(row)} for n, row in enumerate(seen.rows or [])],
        "problems": seen.problems[:100],
        "mapped": columns is not None,
    }


# --- what the page named ------------------------------------------------------------------------------------------


def _file(store: Store, asked: Mapping[str, Any]) -> File:
    """The file that a question names. ActionError, in words, where there is none."""
    uploads = store.files.root / "uploads"
    if isinstance(asked.get("text"), str):
        return _pasted(uploads, asked["text"])
    if isinstance(asked.get("upload"), str):
        path = Path(asked["upload"][:LONGEST_PATH]).resolve()
        if not path.is_relative_to(uploads.resolve()) or not path.is_file():
            raise ActionError("The upload is not there any more. Choose the file again.")
        return File(path, path.name, True)
    return _on_this_machine(asked.get("path"))


def _on_this_machine(text: object) -> File:
    given = text.strip() if isinstance(text, str) else ""
    if not given or len(given) > LONGEST_PATH or "\0" in given:
        raise ActionError("Say which file: its whole path on this machine.")
    path = Path(given)
    with suppress(RuntimeError):  # nobody of that name has a home here
        path = path.expanduser()
    if not path.is_absolute():
        raise ActionError(f"{given} is not a whole path. Give it from the root of the disk on.")
    if not path.exists():
        raise ActionError(f"There is no file at {given}.")
    return File(path, path.name, False)


def _pasted(uploads: Path, text: str) -> File:
    if not text.strip():
        raise ActionError("Nothing was pasted.")
    if len(text) > LONGEST_PASTE:
        raise ActionError(f"{len(text):,} characters were pasted; {LONGEST_PASTE:,} are the most. Save them as a file.")
    data = text.encode("utf-8", "replace")
    folder = uploads.resolve() / f"pasted-{hashlib.sha256(data).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / PASTED
    path.write_bytes(data)
    return File(path, PASTED, True)


def _forget(file: File) -> None:
    if not file.ours:
        return
    file.path.unlink(missing_ok=True)
    with suppress(OSError):  # another file of the same upload lies in it
        file.path.parent.rmdir()


def columns_of(asked: Mapping[str, Any]) -> dict[str, str] | None:
    """The roles that a person gave to columns; None where that is left to the studio."""
    given = asked.get("columns")
    if not isinstance(given, dict):
        return None
    return {str(role): str(column) for role, column in given.items() if column}
