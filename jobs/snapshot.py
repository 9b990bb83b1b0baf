"""Whether the rows of a data set are still those it was made with: what a job that reads them begins with.

Apart from `inputs.py`, which needs torch to know a base model. Knows nothing about what the job does with the rows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters_store.tables import DataSet


def sources(data: DataSet) -> tuple[int, ...]:
    """How many rows of a data set come from each of the files it was made of; () where that is not known."""
    known = tuple(data.facts.get("sources", ()))
    return known if sum(known) == data.rows else ()


class SnapshotError(RuntimeError):
    """The rows of a data set are gone or changed. The message says so, and what to do."""


def check_rows(data: DataSet, path: Path) -> None:
    """Check that the rows in `path` are those of the data set's hash; this reads all of them.

    Raises:
        SnapshotError: they are gone or changed.
    """
    if not path.is_file():
        raise SnapshotError(f"The rows of the data set {data.name} are gone from disk. Upload the file again.")
    with path.open("rb") as rows:
        if hashlib.file_digest(rows, "sha256").hexdigest() != data.content_hash:
            raise SnapshotError(f"The rows of the data set {data.name} were changed on disk. Upload the file again.")
