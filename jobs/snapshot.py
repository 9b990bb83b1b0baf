"""The rows of a data set as a job that reads them finds them: still those it was made with, and from which files.

Apart from `inputs.py`, which needs torch to know a base model. Knows nothing about what the job does with the rows.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection
from itertools import accumulate
from pathlib import Path

from adapters_store.tables import DataSet


def sources(data: DataSet) -> tuple[int, ...]:
    """How many rows of a data set come from each of the files it was made of; () where that is not known."""
    known = tuple(data.facts.get("sources", ()))
    return known if sum(known) == data.rows else ()


def sources_without(data: DataSet, left_out: Collection[int]) -> list[int]:
    """The same for the rows that are left without those with these numbers; [] where it is not known."""
    ends = list(accumulate(sources(data)))
    kept = list(sources(data))
    for row in left_out if ends else ():
        kept[bisect_right(ends, row)] -= 1
    return [count for count in kept if count]


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
