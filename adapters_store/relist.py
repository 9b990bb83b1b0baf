"""Make the rows of a new library that stand for folders agree with what lies on the disk.

What is listed and not there counts as deleted; what is there and not listed is listed by what it says of itself
(`about.py`). Knows nothing about where the other rows came from.
"""

import time
from contextlib import suppress
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from adapters_store import about, manifest
from adapters_store.about import DESCRIBED
from adapters_store.errors import StoreError
from adapters_store.files import KINDS, DataFolder, Kind
from adapters_store.store_adapters import unused_name
from adapters_store.tables import Adapter, BaseModel, Checkpoint, DataSet


class Relisted:
    """The rows of one library.

    Attributes:
        from_folders: how many were listed by what their folders say.
    """

    def __init__(self, session: Session, files: DataFolder) -> None:
        self._session, self._files = session, files
        self.from_folders = 0
        self._there = {kind: set(files.published(kind)) for kind in KINDS}

    def agree_with_disk(self) -> None:
        """Change the rows; the caller commits."""
        self._let_go_of_lost()
        for table, kind in DESCRIBED.items():
            known = set(self._session.scalars(select(table.folder)))
            for key in sorted(self._there[kind] - known):
                self._list(table, kind, key)
        self._bring_back_parents()

    def unlisted(self) -> list[tuple[Kind, str]]:
        """Folders that no row stands for: they say nothing, are not whole, or what they belong to is not known."""
        columns = {kind: table.folder for table, kind in DESCRIBED.items()} | {"checkpoints": Checkpoint.folder}
        known = {kind: set(self._session.scalars(select(column))) for kind, column in columns.items()}
        return [(kind, key) for kind in KINDS for key in sorted(self._there[kind] - known[kind])]

    def _bring_back_parents(self) -> None:
        """List the base model and the data set of adapters that are known and whose own rows are lost."""
        models, sets = (set(self._session.scalars(select(table.id))) for table in (BaseModel, DataSet))
        for adapter in self._session.scalars(select(Adapter)).all():
            if adapter.base_model_id in models and adapter.data_set_id in {None, *sets}:
                continue
            with suppress(StoreError, KeyError, TypeError, ValueError):
                self._belongs(adapter, about.read(self._files.path("adapters", adapter.folder)))

    def _belongs(self, adapter: Adapter, told: dict[str, Any]) -> None:
        base = self._same_or_new(BaseModel, told["base_model"])
        data = self._same_or_new(DataSet, told["data_set"]) if told["data_set"] else None
        self._session.flush()
        adapter.base_model_id, adapter.data_set_id = base.id, data.id if data else None

    def _let_go_of_lost(self) -> None:
        """What is listed and not there counts as deleted; what is there and counts as deleted is listed again."""
        now = time.time()
        for adapter in self._session.scalars(select(Adapter)):
            if adapter.folder in self._there["adapters"] and adapter.deleted_at is not None:
                adapter.name, adapter.deleted_at = unused_name(self._session, adapter.name), None
            elif adapter.folder not in self._there["adapters"]:
                adapter.deleted_at = adapter.deleted_at or now
        for data in self._session.scalars(select(DataSet)):
            data.deleted_at = None if data.folder in self._there["datasets"] else data.deleted_at or now
        gone = Checkpoint.folder.not_in(self._there["checkpoints"])
        self._session.execute(delete(Checkpoint).where(gone))

    def _list(self, table: Any, kind: Kind, key: str) -> None:
        """List a folder by what it says of itself, if that makes sense and it is whole."""
        folder = self._files.path(kind, key)
        try:
            told = about.read(folder)
            if not manifest.complete(folder):
                return
            row = self._adapter(told) if table is Adapter else self._same_or_new(table, told)
            if row.folder != key and row.folder in self._there[kind]:  # the same, and listed where it lies already
                return
            row.folder = key
            if isinstance(row, BaseModel):
                row.path = None
            elif isinstance(row, DataSet):
                row.deleted_at = None
            self._session.flush()
        except (StoreError, KeyError, TypeError, ValueError):
            return
        self.from_folders += 1

    def _adapter(self, told: dict[str, Any]) -> Adapter:
        adapter: Adapter = self._new(Adapter, told)
        adapter.name = unused_name(self._session, str(told["name"]))
        self._belongs(adapter, told)
        adapter.deleted_at = None
        self._session.add(adapter)
        return adapter

    def _same_or_new(self, table: Any, told: dict[str, Any]) -> Any:
        """The row that stands for the same model or data set, or a new one."""
        same = {BaseModel: ("fingerprint",), DataSet: ("content_hash", "format")}[table]
        row = self._session.scalar(select(table).filter_by(**{name: told[name] for name in same}))
        if row is None:
            row = self._new(table, told)
            self._session.add(row)
        if isinstance(row, DataSet) and row.folder not in self._there["datasets"]:
            row.deleted_at = row.deleted_at or time.time()
        return row

    def _new(self, table: Any, told: dict[str, Any]) -> Any:
        """A row with the columns that are told; its old number too, if that is free."""
        values = {name: told[name] for name in table.__table__.columns.keys() if name in told}  # noqa: SIM118
        if self._session.get(table, values.get("id", 0)) is not None:
            del values["id"]
        return table(**values)
