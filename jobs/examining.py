"""The jobs of kinds examine and clean: what is doubtful about a data set, and a copy of it without that.

Settings of examine: {"validation_share", "seed"}, the split whose overlap is told. What is found is kept with the data
set, as `findings` in its facts. Settings of clean: {"name", "fixes"}; what it makes is a data set of its own, whose
facts say what it was made from. What is looked for is in `engine/data/hygiene.py`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from adapters_store.store import Store
from adapters_store.tables import DataSet, Job
from engine.data import hygiene
from engine.data.check import Row, write_rows
from engine.data.row_file import RowFile
from engine.data.sources import Sources
from jobs import runner
from jobs.ending import Ending
from jobs.queue import Lease, patiently
from jobs.snapshot import check_rows, sources_without


class ExamineError(RuntimeError):
    """A data set that cannot be examined or cleaned. The message says why, and what to do."""


def clean(store: Store, data: DataSet, fixes: Collection[str], name: str) -> Job:
    """Queue a cleaned copy of a data set, called `name`. The job's progress has its number, as `data_set`.

    Raises:
        ExamineError: if nothing is to be mended, or something that is not known.
    """
    if not fixes:
        raise ExamineError("Nothing was chosen to be mended. Choose at least one thing to mend.")
    if unknown := ", ".join(sorted(set(fixes) - set(hygiene.KINDS))):
        raise ExamineError(f"{unknown} is not one of what can be mended. Choose among {', '.join(hygiene.KINDS)}.")
    job = store.submit("clean", name, {"fixes": sorted(fixes), "name": name}, data_set_id=data.id)
    runner.ensure(store.files.root)
    return job


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing was written.
        ExamineError, SnapshotError, StoreError: with a sentence for people.
    """
    data = lease.job.data_set
    assert data is not None
    lease.move("running")
    if lease.job.kind == "examine":
        _examine(store, lease, ending, data)
    else:
        _clean(store, lease, ending, data)
    lease.move("completed")


def _examine(store: Store, lease: Lease, ending: Ending, data: DataSet) -> None:
    share, seed = float(lease.job.settings["validation_share"]), int(lease.job.settings["seed"])
    with ending.may_interrupt():
        rows = _rows(store, data)
        found = hygiene.examine(rows, tell=_telling(lease, ending, store.rows_path(data), len(rows)))
        told = {**found.to_json(), "overlap": found.overlap(share, seed)}
    lease.move("finishing")
    patiently(lambda: store.note_about_data_set(data.id, findings=told))


def _clean(store: Store, lease: Lease, ending: Ending, data: DataSet) -> None:
    fixes = [kind for kind in hygiene.KINDS if kind in lease.job.settings["fixes"]]
    with store.files.draft("datasets") as draft:
        with ending.may_interrupt():
            rows = _rows(store, data)
            found = hygiene.examine(rows, fixes, _telling(lease, ending, store.rows_path(data), len(rows)))
            left_out = found.out(fixes)
            if len(left_out) == len(rows):
                raise ExamineError(f"Nothing of {data.name} would be left. Choose fewer things to mend.")
            tally = Sources()
            content_hash = write_rows(_tallied(hygiene.clean(rows, left_out), tally), draft.path / "rows.jsonl")
        lease.move("finishing")
        folder = draft.publish()
    facts = {key: value for key, value in data.facts.items() if key not in ("findings", "sources")}
    if by_source := facts.get("by_source"):
        facts["by_source"] = tally.facts(by_source["column"])
    by_file = sources_without(data, left_out)
    made_from = {"data_set": data.id, "name": data.name, "fixes": fixes, "left_out": len(left_out)}
    try:
        cleaned = patiently(
            lambda: store.add_data_set(
                name=lease.job.settings["name"],
                source="cleaned",
                format=data.format,
                rows=len(rows) - len(left_out),
                content_hash=content_hash,
                folder=folder,
                facts={**facts, **({"sources": by_file} if by_file else {}), "cleaned": made_from},
            )
        )
    except BaseException:
        store.files.to_trash("datasets", folder)
        raise
    if cleaned.folder != folder:  # the same rows were here already
        store.files.to_trash("datasets", folder)
    lease.report(data_set=cleaned.id)


def _tallied(rows: Iterator[Row], tally: Sources) -> Iterator[Row]:
    for row in rows:
        tally.number(row.get("source", ""))
        yield row


def _rows(store: Store, data: DataSet) -> RowFile:
    check_rows(data, store.rows_path(data))
    return RowFile(store.rows_path(data))


def _telling(lease: Lease, ending: Ending, path: Path, rows: int) -> Callable[[int], None]:
    """Reports how many of the rows are done, in bytes of their file."""
    size = path.stat().st_size

    def tell(done: int) -> None:
        ending.check()
        lease.report(stage="Looking at the rows", done_bytes=size * done // max(1, rows), total_bytes=size)

    return tell
