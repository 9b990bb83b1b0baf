"""Making a file a data set: at once where it is small, else as a job of kind data.

Settings of the job: {"path", "name", "columns", "skip_bad", "upload", "state"}: a file or folder of this machine, and
what tells if it was changed since; with "upload" it is the page's own copy, as told in `uploads.py`; with "hub" in
place of "path" the files come from there first, as told in `hub_data.py`. How columns were mapped to roles by a person
is remembered for the next file with the same columns. How rows are read is in `engine.data`; how a worker claims its
job, and what becomes of errors, in `worker.py`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from adapters_store.files import Draft
from adapters_store.store import Store
from adapters_store.tables import DataSet, Job
from engine.data import check
from engine.data.check import DataError, Preview, Reading
from engine.data.shapes import Row
from jobs import hub_data, runner
from jobs.ending import Ended, Ending
from jobs.queue import Lease, patiently
from jobs.uploads import taken_over

LARGE = 20_000_000  # bytes; what is larger takes more than a few seconds
NOTED = 500  # rows between two looks at how far it is

Columns = Mapping[str, str] | None
Note = Callable[[float], object]  # told how much of the file was read, from 0 to 1


class Written(NamedTuple):
    """Rows that were read from a file and written into a draft."""

    format: str
    rows: int
    content_hash: str
    facts: dict[str, Any]


def preview(store: Store, path: Path, columns: Columns = None) -> Preview:
    """What the beginning of a file shows, with the columns as a person mapped them here or the last time."""
    return check.preview(path, remembered(store, path) if columns is None else columns)


def add(
    store: Store, path: Path, name: str, columns: Columns = None, skip_bad: bool = False, *, upload: bool = False
) -> DataSet | Job:
    """Make a file or a folder of files a data set called `name`; where it is large, queue that and return the job.

    Args:
        columns: maps roles to columns, and is remembered; None is as the last time with these columns,
            else found out; an empty one is found out anew.
        skip_bad: leave out rows that cannot be used.
        upload: `path` is the page's own copy. It is taken over and removed in the end, but left where it is when it is
            refused: the person may ask again, with another mapping or without the bad rows.

    Raises:
        DataError: it cannot be learned from, with the line and the reason for each row that cannot be used.
        QueueFull: it is large, and no further job may wait.
    """
    chosen = remembered(store, path) if columns is None else columns
    seen = check.preview(path, chosen)
    if not seen.format:
        raise DataError(seen.problems)
    if columns:
        store.remember(_key(seen.column_names), dict(columns))
    if _size(path) > LARGE:
        store.check_line()  # before the upload is taken away from where it can be asked for again
        return _queue(store, path, name, chosen, skip_bad, upload)
    data = add_now(store, path, name, chosen, skip_bad)
    if upload:
        path.unlink(missing_ok=True)
    return data


def add_now(
    store: Store, path: Path, name: str, columns: Columns = None, skip_bad: bool = False, source: str = "file"
) -> DataSet:
    """Make a file a data set before returning, however large it is. The same rows again are the same data set.

    Raises:
        DataError: as `add`.
    """
    with store.files.draft("datasets") as draft:
        written = _write(draft, path, columns, skip_bad)
        return _publish(store, draft, written, name, source)


def remembered(store: Store, path: Path) -> dict[str, str] | None:
    """How a person mapped the columns of such a file the last time; None if nobody did."""
    names = check.preview(path).column_names
    found = store.recall(_key(names)) if names else None
    return found if isinstance(found, dict) else None


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-made is listed.
        DataError, HubError, StoreError: with sentences for people.
    """
    gone = DataError(["The uploaded file is no longer here: it is kept for a day. Add it again."])
    from_hub = "hub" in lease.job.settings
    with hub_data.fetched(store, lease, ending) if from_hub else taken_over(lease, gone) as path:
        data = _added(store, lease, ending, path)
        lease.report(data_set=data.id)
        lease.move("completed")


def _added(store: Store, lease: Lease, ending: Ending, path: Path) -> DataSet:
    settings, origin = lease.job.settings, lease.job.settings.get("hub")
    columns = _columns_of_hub(store, path, settings["columns"]) if origin else settings["columns"]
    if not origin:
        lease.move("running")
    size = _size(path)

    def note(share: float) -> None:
        ending.check()
        lease.report(stage="Reading", done_bytes=round(share * size), total_bytes=size)

    with store.files.draft("datasets") as draft:
        with ending.may_interrupt():
            _check_unchanged(path, settings)
            written = _write(draft, path, columns, settings["skip_bad"], note)
            _check_unchanged(path, settings)
        if origin:
            written = written._replace(facts={**written.facts, "file": hub_data.told(origin), "hub": origin})
        lease.move("finishing")
        if lease.stop == "cancel":
            raise Ended
        return patiently(lambda: _publish(store, draft, written, settings["name"], "hub" if origin else "file"))


def _columns_of_hub(store: Store, path: Path, columns: Columns) -> Columns:
    """How the columns of fetched files are mapped: as was said beforehand, which is remembered, or as the last time."""
    if columns:
        store.remember(_key(check.preview(path).column_names), dict(columns))
    return columns or remembered(store, path)


def _queue(store: Store, path: Path, name: str, columns: Columns, skip_bad: bool, upload: bool) -> Job:
    place = path.expanduser().absolute()
    if upload:
        place = Path(shutil.move(place, store.files.unfinished(f"data {uuid.uuid4()}") / path.name))
    settings = {"path": str(place), "name": name, "columns": columns, "skip_bad": skip_bad, "upload": upload}
    settings["state"] = _state(place)
    job = store.submit("data", name, settings)
    runner.ensure(store.files.root)
    return job


# --- rows and their folder ----------------------------------------------------------------------------------------


def _write(draft: Draft, path: Path, columns: Columns, skip_bad: bool, note: Note = lambda share: None) -> Written:
    with Reading(path, columns) as reading:
        rows = _Counted(reading, note)
        content_hash = check.write_rows(rows, draft.path / "rows.jsonl")
        reading.check_end(rows.count, skip_bad)
        return Written(reading.format, rows.count, content_hash, reading.facts())


class _Counted:
    """Rows that are counted as they pass, with a word now and then on how far it is."""

    def __init__(self, reading: Reading, note: Note) -> None:
        self._reading, self._note = reading, note
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._reading:
            if self.count % NOTED == 0:
                self._note(self._reading.share())
            self.count += 1
            yield row


def _publish(store: Store, draft: Draft, written: Written, name: str, source: str) -> DataSet:
    """List the rows as a data set, unless they are one already."""
    known = store.data_sets()
    for data in known:
        same = (data.content_hash, data.format) == (written.content_hash, written.format)
        if same and store.rows_path(data).is_file():
            return data
    folder = draft.publish()
    data = store.add_data_set(
        name=_free(name, {data.name for data in known}),
        source=source,
        format=written.format,
        rows=written.rows,
        content_hash=written.content_hash,
        folder=folder,
        facts=written.facts,
    )
    if data.folder != folder:  # somebody else brought the same rows at the same time
        store.files.to_trash("datasets", folder)
    return data


def _free(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of name-2, name-3, ... that is not taken."""
    return next(tried for n in count(1) if (tried := name if n == 1 else f"{name}-{n}") not in taken)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _state(path: Path) -> str:
    """What changes when a file, or any of a folder, is written to."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    told = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _check_unchanged(path: Path, settings: Mapping[str, Any]) -> None:
    """DataError if what was looked at when the job was queued is not what is there now."""
    if settings.get("state") not in (None, _state(path)):
        raise DataError(
            [f"{path.name} was changed after it was chosen, so nothing was added. Look at it and add it again."]
        )


def _key(names: list[str]) -> str:
    """Under what is remembered how columns of these names, in any order, were mapped."""
    digest = hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()
    return f"columns {digest[:32]}"
