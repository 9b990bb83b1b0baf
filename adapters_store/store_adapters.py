"""The library of adapters: listing, naming, deleting and bringing back.

Knows nothing about tensors or what a folder holds; it keeps rows and says where the folders lie.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from adapters_store.errors import NameRefused, StoreError
from adapters_store.leases import check_lease
from adapters_store.shelf import (
    NAME_LENGTH,
    Shelf,
    added,
    checked_name,
    found,
    mark_changed,
    settled,
    visible_words,
    within,
)
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Portion

SEARCH_LENGTH = 200


class AdapterSort(StrEnum):
    """What the library can be sorted by."""

    NAME = "name"
    BASE = "base"
    DATA = "data"
    METHOD = "method"
    RANK = "rank"
    ALPHA = "alpha"
    VALIDATION = "validation"
    SIZE = "size"
    MADE = "made"


_SORT_COLUMNS: dict[AdapterSort, ColumnElement[Any]] = {
    AdapterSort.NAME: Adapter.name.expression,
    AdapterSort.BASE: func.lower(BaseModel.name),
    AdapterSort.DATA: func.lower(DataSet.name),
    AdapterSort.METHOD: Adapter.method.expression,
    AdapterSort.RANK: Adapter.rank.expression,
    AdapterSort.ALPHA: Adapter.alpha.expression,
    AdapterSort.VALIDATION: Adapter.validation_loss.expression,
    AdapterSort.SIZE: Adapter.size_bytes.expression,
    AdapterSort.MADE: Adapter.created_at.expression,
}


class AdapterFacts(TypedDict):
    """All that is known of an adapter when it is made: the columns of Adapter that the store does not choose itself."""

    folder: str
    job_id: int | None
    base_model_id: int
    data_set_id: int | None
    method: str
    rank: int
    alpha: float
    target_modules: list[str]
    settings: dict[str, Any]
    training_loss: float | None
    validation_loss: float | None
    base_validation_loss: float | None
    best_step: int | None
    steps: int
    seconds: float
    size_bytes: int
    sha256: str
    parent_id: NotRequired[int | None]


class AdapterShelf(Shelf):
    """The part of the store that is about adapters."""

    def adapters(
        self, *, search: str = "", sort: str = "made", descending: bool = True, limit: int = 200
    ) -> tuple[list[Adapter], int]:
        """Adapters not deleted that match `search`, and how many match in all (those beyond `limit` included).

        Each word of `search` is looked for in the names of adapter, base model and data set, and in the method; only
        its first SEARCH_LENGTH characters count. `sort` is one of AdapterSort (StoreError otherwise); what has no value
        to sort by comes last.
        """
        # The numbers first, then the rows of one page: whole rows would all go through the sorting.
        page = _matching(search).order_by(*_order(sort, descending)).limit(within(limit))
        with self._database.reading() as session:
            found_ids = session.execute(page).all()
            places = {id: place for place, (id, _) in enumerate(found_ids)}
            rows = session.scalars(select(Adapter).where(Adapter.id.in_(places)))
            return sorted(rows, key=lambda row: places[row.id]), found_ids[0][1] if found_ids else 0

    def adapter_called(self, text: str) -> Adapter | None:
        """The adapter in the library with this name, else the one with this number; None if there is neither."""
        listed = select(Adapter).where(Adapter.deleted_at.is_(None))
        with self._database.reading() as session:
            named = session.scalar(listed.where(Adapter.name == text))
            if named is not None or not (text.isascii() and text.isdecimal() and len(text) < 16):
                return named
            return session.scalar(listed.where(Adapter.id == int(text)))

    def best_of_grid(self, grid: str, limit: int = 7) -> list[Adapter]:
        """The adapters that runs of a grid have left, the lowest validation loss first, those without one last.

        As many as stand beside their base in one comparison, unless `limit` says otherwise.
        """
        made = select(Adapter).join(Job, Adapter.job_id == Job.id).where(Job.grid == grid, Adapter.deleted_at.is_(None))
        order = made.order_by(Adapter.validation_loss.is_(None), Adapter.validation_loss, Adapter.id)
        with self._database.reading() as session:
            return list(session.scalars(order.limit(limit)))

    def deleted_adapters(self) -> list[Adapter]:
        """Adapters that were deleted, the last one first; the files of old ones may be gone from the trash by now."""
        newest_first = (Adapter.deleted_at.desc(), Adapter.id.desc())
        with self._database.reading() as session:
            return list(session.scalars(select(Adapter).where(Adapter.deleted_at.is_not(None)).order_by(*newest_first)))

    def adapter(self, id: int) -> Adapter:
        """The adapter with this id, also a deleted one (`deleted_at` says so). NotFound if there never was one."""
        with self._database.reading() as session:
            return found(session, Adapter, id)

    def adapter_path(self, adapter: Adapter) -> Path:
        """The folder of an adapter, in PEFT's format."""
        return self.files.path("adapters", adapter.folder)

    def add_adapter(self, *, name: str, token: int | None = None, **facts: Unpack[AdapterFacts]) -> Adapter:
        """List a published folder. A name in use gets a suffix (-2, -3); the same folder again gives the same row.

        A worker shows its `token`, and is refused with LeaseLost when the job is no longer its own.
        """
        with self._database.writing() as session:
            if token is not None and facts["job_id"] is not None:
                check_lease(session, facts["job_id"], token)
            before = session.scalar(select(Adapter).where(Adapter.folder == facts["folder"]))
            if before is not None:
                return before
            _check_references(session, facts)
            row = Adapter(name=unused_name(session, checked_name(name[:NAME_LENGTH])), created_at=self.clock(), **facts)
            mark_changed(session, "adapters", "jobs")
            added(session, row)
        self.describe(row)
        return row

    def rename_adapter(self, id: int, name: str) -> Adapter:
        """Give an adapter another name. NameRefused if the name is empty, too long or in use."""
        wanted = checked_name(name)
        with self._database.writing() as session:
            adapter = found(session, Adapter, id)
            holder = _named(session, wanted)
            if holder not in (None, id):
                raise NameRefused(f"There is already an adapter called {wanted}. Choose another name.")
            adapter.name = wanted
            mark_changed(session, "adapters", "jobs")
            settled(session, adapter)
        self.describe(adapter)
        return adapter

    def delete_adapter(self, id: int) -> None:
        """Take an adapter out of the library and its folder to the trash. Safe to call twice."""
        folder = self._mark_deleted(id, self.clock())
        try:
            self.files.to_trash("adapters", folder)
        except OSError as error:
            self.restore_adapter(id)
            raise StoreError(
                f"The adapter was not deleted: its folder is in use ({error.strerror}). "
                "Close what uses it, such as a comparison, and try again."
            ) from error

    def restore_adapter(self, id: int) -> Adapter:
        """Bring a deleted adapter back; its name gets a suffix if it was taken meanwhile. Safe to call twice.

        StoreError if the trash was emptied since.
        """
        # The folder first: a row may not be listed before its folder is there.
        self.files.from_trash("adapters", self.adapter(id).folder)
        with self._database.writing() as session:
            adapter = found(session, Adapter, id)
            if adapter.deleted_at is not None:
                adapter.name = unused_name(session, adapter.name)
                adapter.deleted_at = None
                mark_changed(session, "adapters", "jobs")
            return settled(session, adapter)

    def _mark_deleted(self, id: int, now: float) -> str:
        with self._database.writing() as session:
            adapter = found(session, Adapter, id)
            if adapter.deleted_at is None:
                adapter.deleted_at = now
                mark_changed(session, "adapters", "jobs")
            return adapter.folder


def _matching(search: str) -> Select[int, int]:
    """The numbers of the adapters that match, each with how many do in all."""
    wanted = select(Adapter.id, func.count().over()).where(Adapter.deleted_at.is_(None))
    wanted = wanted.join(Adapter.base_model).outerjoin(Adapter.data_set)
    for word in visible_words(search[:SEARCH_LENGTH]):
        wanted = wanted.where(or_(*_places(word)))
    return wanted


def _places(word: str) -> Iterator[ColumnElement[bool]]:
    """Where a word of a search may stand. Base models and data sets are few: they are searched once, not by row."""
    for column in (Adapter.name, Adapter.method):
        yield column.icontains(word, autoescape=True)
    yield Adapter.base_model_id.in_(select(BaseModel.id).where(BaseModel.name.icontains(word, autoescape=True)))
    named = select(DataSet.id).where(DataSet.name.icontains(word, autoescape=True))
    yield Adapter.data_set_id.in_(named)
    yield Adapter.job_id.in_(select(Portion.job_id).where(Portion.data_set_id.in_(named)))


def _order(sort: str, descending: bool) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    try:
        column = _SORT_COLUMNS[AdapterSort(sort)]
    except ValueError as error:
        raise StoreError(f"Adapters cannot be sorted by {sort!r}; by {', '.join(AdapterSort)}.") from error
    first = column.desc() if descending else column.asc()
    return first.nulls_last(), Adapter.id.desc() if descending else Adapter.id.asc()


def _named(session: Session, name: str) -> int | None:
    return session.scalar(select(Adapter.id).where(Adapter.name == name, Adapter.deleted_at.is_(None)))


def unused_name(session: Session, name: str) -> str:
    """`name`, or with the first suffix -2, -3, … that makes it unused."""
    tried, number = name, 1
    while _named(session, tried) is not None:
        number += 1
        suffix = f"-{number}"
        tried = name[: NAME_LENGTH - len(suffix)] + suffix
    return tried


def _check_references(session: Session, facts: AdapterFacts) -> None:
    found(session, BaseModel, facts["base_model_id"])
    if facts["data_set_id"] is not None:
        found(session, DataSet, facts["data_set_id"])
    if facts["job_id"] is not None:
        found(session, Job, facts["job_id"])
    parent = facts.get("parent_id")
    if parent is not None:
        found(session, Adapter, parent)
