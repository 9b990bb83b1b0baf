"""The library: one short method per question or change. `Store` is the one name callers use.

Base models, what the installation remembers and the library's own health are here; jobs, checkpoints, adapters and
data sets are in their own files. Everything returned is a plain reader: changing it changes nothing. Knows no torch and
no page.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError

from adapters_store import about
from adapters_store.about import DESCRIBED
from adapters_store.errors import LeaseLost, NotFound, StoreBusy, StoreError
from adapters_store.files import KINDS, Kind
from adapters_store.shelf import added, checked_name, found, mark_changed
from adapters_store.states import FINAL, LIVE, TRANSITIONS
from adapters_store.store_adapters import AdapterShelf, AdapterSort
from adapters_store.store_closer import CloserShelf
from adapters_store.store_comparisons import ComparisonShelf
from adapters_store.store_curves import CurveShelf
from adapters_store.store_data import DataShelf
from adapters_store.store_jobs import JobShelf
from adapters_store.store_pins import PinShelf
from adapters_store.store_suites import SuiteShelf
from adapters_store.tables import Adapter, BaseModel, Checkpoint, DataSet, Job, JobEvent, Metric, Owner, Setting

__all__ = [
    "FINAL",
    "LIVE",
    "TRANSITIONS",
    "Adapter",
    "AdapterSort",
    "BaseModel",
    "Checkpoint",
    "DataSet",
    "Job",
    "JobEvent",
    "LeaseLost",
    "Metric",
    "NotFound",
    "Owner",
    "Store",
    "StoreBusy",
    "StoreError",
]

MAKERS: dict[Kind, frozenset[str]] = {  # the kinds of jobs that publish folders of a kind
    "adapters": frozenset({"train", "import"}),
    "models": frozenset({"fetch"}),
}


class Store(JobShelf, PinShelf, CurveShelf, AdapterShelf, DataShelf, ComparisonShelf, CloserShelf, SuiteShelf):
    """The library of one data folder. Safe to share between threads; each process opens its own."""

    # --- base models ----------------------------------------------------------------------------------------------

    def base_models(self) -> list[BaseModel]:
        """All base models, in the order they were added."""
        with self._database.reading() as session:
            return list(session.scalars(select(BaseModel).order_by(BaseModel.id)))

    def base_model(self, id: int) -> BaseModel:
        """The base model with this id. NotFound if there is none."""
        with self._database.reading() as session:
            return found(session, BaseModel, id)

    def add_base_model(
        self,
        *,
        name: str,
        source: str,
        path: str | None,
        folder: str | None,
        fingerprint: str,
        facts: Mapping[str, Any],
    ) -> BaseModel:
        """List a base model that lies at `path`, or in models/`folder` of the data folder.

        One with the same fingerprint is the same model: its row stays and moves to the new place, unless a complete
        copy lies in the data folder already.
        """
        if (path is None) == (folder is None):
            raise StoreError("A base model lies either in its own folder (path) or in the data folder (folder).")
        with self._database.writing() as session:
            model = session.scalar(select(BaseModel).where(BaseModel.fingerprint == fingerprint))
            if model is not None and ((model.path, model.folder) == (path, folder) or self._keeps(model)):
                return model
            if model is None:
                model = BaseModel(name=checked_name(name), source=source, fingerprint=fingerprint)
                model.facts, model.created_at = dict(facts), self.clock()
            model.path, model.folder = path, folder
            mark_changed(session, "models")
            added(session, model)
        self.describe(model)
        return model

    def base_path(self, base: BaseModel) -> Path:
        """The folder of a base model: its own, or the one in the data folder."""
        return self.files.path("models", base.folder) if base.folder else Path(str(base.path))

    def _keeps(self, model: BaseModel) -> bool:
        return model.folder is not None and self.files.complete("models", model.folder)

    # --- what the installation remembers ----------------------------------------------------------------------------

    def remember(self, key: str, value: Any) -> None:
        """Keep a small JSON value under `key`, in place of what was there."""
        keeping = insert(Setting).values(key=key, value=value)
        with self._database.writing() as session:
            session.execute(
                keeping.on_conflict_do_update(index_elements=["key"], set_={"value": keeping.excluded["value"]})
            )
            mark_changed(session, "settings")

    def recall(self, key: str, default: Any = None) -> Any:
        """The value kept under `key`, or `default`."""
        with self._database.reading() as session:
            setting = session.get(Setting, key)
            return default if setting is None else setting.value

    # --- health -----------------------------------------------------------------------------------------------------

    def check_pages(self) -> None:
        """Look through the library's file for pages that make no sense: quicker than `integrity`, and finds less.

        Raises:
            StoreDamaged: there is one.
        """
        self._database.check_pages()

    def integrity(self) -> list[str]:
        """In sentences, what is wrong with the library's file; empty if nothing is. Reads all of it."""
        try:
            with self._database.reading() as session:
                pages = session.scalars(text("PRAGMA integrity_check")).all()
                broken = session.execute(text("PRAGMA foreign_key_check")).all()
                strange = session.execute(
                    text("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')")
                )
                return [
                    *(f"The library's file is damaged: {page}." for page in pages if page != "ok"),
                    *(f"A row of {row[0]} refers to a missing row of {row[2]}." for row in broken),
                    *(
                        f"The library has a {kind} named {name}, which LoRA Studio never makes."
                        for kind, name in strange
                    ),
                ]
        except (StoreError, DatabaseError) as error:
            return [str(error)]

    def describe_all(self) -> None:
        """Describe what is not described in its folder yet: the disk was full, or its process died before it could."""
        for table, kind in DESCRIBED.items():
            with self._database.reading() as session:
                keys = session.execute(select(table.id, table.folder)).all()
                folders = {id: self.files.path(kind, key) for id, key in keys if key}
                bare = [id for id, folder in folders.items() if folder.is_dir() and not (folder / about.NAME).is_file()]
                rows = [found(session, table, id) for id in bare]
            for row in rows:
                self.describe(row)

    def orphans(self, older_than_s: float = 0) -> list[Path]:
        """Published folders that no row points to: their process died before it could list them.

        A folder that was published a moment ago may only be waiting for its row: `older_than_s` leaves it out.
        """
        return [self.files.path(kind, key) for kind, key in self._unlisted(older_than_s)]

    def trash_orphans(self, older_than_s: float = 3600) -> list[Path]:
        """Move the orphans to the trash, from where they can still be brought back by hand; where they were."""
        unlisted = [(kind, key) for kind, key in self._unlisted(older_than_s) if not self._described(kind, key)]
        for kind, key in unlisted:
            self.files.to_trash(kind, key)
        return [self.files.path(kind, key) for kind, key in unlisted]

    def clear_strays(self) -> None:
        """Clear away what a process that died had begun, or published and not listed: nobody will finish it.

        Folders that a job which is at work may be about to list are left alone.
        """
        self.files.sweep()
        self._trash_strays()
        self.discard_stray_checkpoints()

    def _trash_strays(self) -> None:
        there = [(kind, key) for kind in MAKERS for key in self.files.published(kind)]  # before: see below
        with self._database.reading() as session:
            at_work = set(session.scalars(select(Job.kind).where(Job.state.in_(LIVE))))
            listed = {*session.scalars(select(Adapter.folder)), *session.scalars(select(BaseModel.folder))}
        # What was there before, and is of nobody who works now, has been listed by now or never will be.
        for kind, key in there:
            if key not in listed and not at_work & MAKERS[kind] and not self._described(kind, key):
                self.files.to_trash(kind, key)

    def forgotten(self) -> list[Path]:
        """Published folders that were listed once, and that no row points to any more: rows were lost."""
        return [self.files.path(kind, key) for kind, key in self._unlisted(0) if self._described(kind, key)]

    def _described(self, kind: Kind, key: str) -> bool:
        return (self.files.path(kind, key) / about.NAME).is_file()

    def _unlisted(self, older_than_s: float) -> list[tuple[Kind, str]]:
        with self._database.reading() as session:
            columns = (BaseModel.folder, DataSet.folder, Adapter.folder, Checkpoint.folder)
            listed = {folder for column in columns for folder in session.scalars(select(column))}
        return [
            (kind, key)
            for kind in KINDS
            for key in self.files.published(kind)
            if key not in listed and self.files.age(kind, key) >= older_than_s
        ]
