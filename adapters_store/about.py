"""What the library knows of a base model, a data set or an adapter, kept in its folder as about.json.

The library is the truth; this is for the day on which it is lost (`rebuild.py`). It stands beside the manifest and not
in it: a name can change, and what a folder was published as cannot. Knows nothing about where folders lie.
"""

import json
import os
from pathlib import Path
from typing import Any

from adapters_store.errors import StoreError
from adapters_store.files import Kind
from adapters_store.tables import Adapter, BaseModel, DataSet, to_json

NAME = "about.json"
Described = BaseModel | DataSet | Adapter
DESCRIBED: dict[type[Described], Kind] = {BaseModel: "models", DataSet: "datasets", Adapter: "adapters"}


def write(folder: Path, row: Described) -> None:
    """Write what `row` says into `folder`, where it does not stand there already. OSError as any writing."""
    told, file = to_json(_told(row)), folder / NAME
    try:
        if file.read_text("utf-8") == told:
            return
    except (OSError, ValueError):
        pass  # absent, or unreadable: it is written anew
    draft = file.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as out:
        out.write(told)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def read(folder: Path) -> dict[str, Any]:
    """The columns of the row by name; of an adapter also "base_model" and "data_set", each a dictionary like this.

    Raises:
        StoreError: the folder does not say it, or what it says makes no sense.
    """
    try:
        told = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder}: {NAME} is missing or cannot be read.") from error
    if not isinstance(told, dict):
        raise StoreError(f"{folder}: {NAME} holds no description.")
    return told


def _told(row: Described) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in row.__table__.columns.keys()}  # noqa: SIM118
    if isinstance(row, Adapter):
        told["base_model"] = _told(row.base_model)
        told["data_set"] = _told(row.data_set) if row.data_set else None
    return told
