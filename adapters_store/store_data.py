"""Data sets in the library: listed, named, deleted and brought back, and who uses each.

A deleted one keeps its row, so that runs and adapters still name it, and its folder lies in the trash. Knows nothing
about what a row of data is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from adapters_store.errors import NameRefused, StoreError
from adapters_store.shelf import Shelf, added, checked_name, found, mark_changed, settled, within
from adapters_store.states import LIVE
from adapters_store.tables import Adapter, DataSet, Job, Portion

NEEDS_IT = ("queued", *LIVE, "paused", "interrupted")  # states of a run that has yet to read its rows
MOST_NAMED = 10  # users told by name; beyond that only their number


class Users(NamedTuple):
    """Who used a data set: the newest runs and the newest adapters in the library, and how many there are in all."""

    jobs: list[Job]
    adapters: list[Adapter]
    job_total: int
    adapter_total: int


class DataShelf(Shelf):
    """The part of the store that is about data sets."""

    def data_sets(self, *, deleted: bool = False) -> list[DataSet]:
        """All data sets, or all that were deleted, in the order they were added."""
        wanted = DataSet.deleted_at.is_not(None) if deleted else DataSet.deleted_at.is_(None)
        with self._database.reading() as session:
            return list(session.scalars(select(DataSet).where(wanted).order_by(DataSet.id)))

    def data_set(self, id: int) -> DataSet:
        """The data set with this id, also a deleted one (`deleted_at` says so). NotFound if there never was one."""
        with self._database.reading() as session:
            return found(session, DataSet, id)

    def add_data_set(
        self,
        *,
        name: str,
        source: str,
        format: str,
        rows: int,
        content_hash: str,
        folder: str,
        facts: Mapping[str, Any],
    ) -> DataSet:
        """List a published data set.

        The same content in the same format is the same data set: its row stays, and while complete its folder too. A
        deleted one comes back under the new name.
        """
        same = (DataSet.content_hash == content_hash, DataSet.format == format)
        with self._database.writing() as session:
            data = session.scalar(select(DataSet).where(*same))
            if data is not None and (data.folder == folder or self._keeps_rows(data)):
                return data
            if data is None:
                data = DataSet(source=source, format=format, rows=rows, content_hash=content_hash)
                data.created_at, data.deleted_at = self.clock(), None
                data.name, data.facts = checked_name(name), dict(facts)
            elif data.deleted_at is not None:
                data.name, data.facts, data.deleted_at = checked_name(name), dict(facts), None
            data.folder = folder
            mark_changed(session, "data")
            added(session, data)
        self.describe(data)
        return data

    def rows_path(self, data: DataSet) -> Path:
        """The file with the rows of a data set, one JSON object a line."""
        return self.files.path("datasets", data.folder) / "rows.jsonl"

    def data_set_users(self, id: int, limit: int) -> Users:
        """Who used a data set: runs in any state and adapters that are not deleted, at most `limit` of each."""
        with self._database.reading() as session:
            return _users(session, id, limit, Job.kind == "train")

    def rename_data_set(self, id: int, name: str) -> DataSet:
        """Give a data set another name. NameRefused if the name is empty, too long or in use."""
        wanted = checked_name(name)
        with self._database.writing() as session:
            data = found(session, DataSet, id)
            others = select(DataSet.id).where(DataSet.name == wanted, DataSet.id != id, DataSet.deleted_at.is_(None))
            if session.scalar(others) is not None:
                raise NameRefused(f"There is already a data set called {wanted}. Choose another name.")
            data.name = wanted
            mark_changed(session, "data", "jobs", "adapters")
            settled(session, data)
        self.describe(data)
        return data

    def note_about_data_set(self, id: int, **facts: Any) -> DataSet:
        """Add to what is known of a data set, in place of what was known under the same names."""
        with self._database.writing() as session:
            data = found(session, DataSet, id)
            data.facts = {**data.facts, **facts}
            mark_changed(session, "data")
            return settled(session, data)

    def delete_data_set(self, id: int) -> None:
        """Take a data set out of the library and its folder to the trash. Safe to call twice.

        StoreError, with the names of who uses it, while an adapter was made with it or a run has yet to read it.
        """
        with self._database.writing() as session:
            data = found(session, DataSet, id)
            using = _users(session, id, MOST_NAMED, Job.state.in_(NEEDS_IT))
            if using.job_total or using.adapter_total:
                raise StoreError(_in_use(data.name, using))
            if data.deleted_at is None:
                data.deleted_at = self.clock()
                mark_changed(session, "data")
            folder = data.folder
        try:
            self.files.to_trash("datasets", folder)
        except OSError as error:
            self.restore_data_set(id)
            raise StoreError(
                f"The data set was not deleted: its folder is in use ({error.strerror}). Try again later."
            ) from error

    def restore_data_set(self, id: int) -> DataSet:
        """Bring a deleted data set back. Safe to call twice. StoreError if the trash was emptied since."""
        # The folder first: a row may not be listed before its folder is there.
        self.files.from_trash("datasets", self.data_set(id).folder)
        with self._database.writing() as session:
            data = found(session, DataSet, id)
            if data.deleted_at is not None:
                data.deleted_at = None
                mark_changed(session, "data")
            return settled(session, data)

    def _keeps_rows(self, data: DataSet) -> bool:
        return data.deleted_at is None and self.files.complete("datasets", data.folder)


def _users(session: Session, id: int, limit: int, which: Any) -> Users:
    mixed = select(Portion.job_id).where(Portion.data_set_id == id)
    jobs = select(Job).where(or_(Job.data_set_id == id, Job.id.in_(mixed)), which)
    made_with_it = or_(Adapter.data_set_id == id, Adapter.job_id.in_(mixed))
    adapters = select(Adapter).where(made_with_it, Adapter.deleted_at.is_(None))
    return Users(
        list(session.scalars(jobs.order_by(Job.id.desc()).limit(within(limit)))),
        list(session.scalars(adapters.order_by(Adapter.id.desc()).limit(within(limit)))),
        session.scalar(select(func.count()).select_from(jobs.subquery())) or 0,
        session.scalar(select(func.count()).select_from(adapters.subquery())) or 0,
    )


def _in_use(name: str, using: Users) -> str:
    """In sentences, who uses the data set `name`, and what to do about it."""
    runs = _named([job.name for job in using.jobs], using.job_total)
    adapters = _named([adapter.name for adapter in using.adapters], using.adapter_total)
    told = [f"{name} is in use, so it was not deleted."]
    if runs:
        told.append(f"Runs that have yet to read it: {runs}. Cancel them first.")
    if adapters:
        told.append(f"Adapters made with it: {adapters}. Delete them first.")
    return " ".join(told)


def _named(names: list[str], total: int) -> str:
    rest = f" and {total - len(names):,} more" if total > len(names) else ""
    return ", ".join(names) + rest
