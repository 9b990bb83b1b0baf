"""Make a library anew whose file is damaged or gone: from what can still be read of it, its copies, and the folders.

The damaged file is put aside first, whole, and never deleted. What it still tells comes first; what it does not, the
newest good copy tells; folders that neither knows tell of themselves (`about.py`). In the end what is listed is what
lies on the disk. Nobody else may have the library open meanwhile: that is the caller's to see to.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, delete, func, insert, select, update
from sqlalchemy.orm import Session

from adapters_store import manifest
from adapters_store.copies import all_copies
from adapters_store.database import known_schemas, schema_of, upgrade, write_engine
from adapters_store.errors import StoreDamaged, StoreError
from adapters_store.files import DataFolder, Kind
from adapters_store.relist import Relisted
from adapters_store.salvage import readable, without_kinds
from adapters_store.store import Store
from adapters_store.tables import Row, Topic

ASIDE = "damaged"


@dataclass
class Rebuilt:
    """What a new library was made of.

    Attributes:
        aside: where the damaged file lies now, with the folders that could not be listed.
        unread: tables of it that could not be read in full.
        copy: the copy that told what it did not; None if there was none, or it was not needed.
        from_folders: adapters, data sets and base models that only their folders told of.
        unlisted: folders that say nothing of themselves, or whose run is not known; they lie in `aside`.
        counts: rows of the new library by table.
    """

    aside: Path
    unread: list[str] = field(default_factory=list)
    copy: Path | None = None
    from_folders: int = 0
    unlisted: list[tuple[Kind, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def whole(root: Path) -> bool:
    """Whether the library of a data folder is as it should be, and lists what it has listed before. Reads all of it.

    Raises:
        StoreError: it cannot be told, or nothing can be done here: it is busy, or was made by a newer version.
    """
    try:
        store = Store(root)
    except StoreDamaged:
        return False
    try:
        return not store.integrity() and not store.forgotten()
    finally:
        store.close()


def rebuild(root: Path) -> Rebuilt:
    """Put the library of the data folder aside and a new one in its place.

    Raises:
        StoreError, OSError: it could not be made, for want of room for example. The damaged one is back in its place.
    """
    files = DataFolder(root)
    aside = _new_folder(root / ASIDE)
    moved: list[Path] = []
    try:
        with _scratch(files) as scratch:
            made = _make(files, aside, scratch)
            _check(scratch / "new.db", root)
            # Last: one who dies before this leaves the damaged library where it is looked for.
            moved = _move_library(root, aside)
            _settle(scratch / "new.db", files.database)
    except BaseException:
        for file in moved:
            file.rename(files.database.with_name(file.name))
        with suppress(OSError):
            aside.rmdir()
        raise
    for kind, key in made.unlisted:  # what nobody lists would go to the trash, and from there away
        place = aside / kind
        place.mkdir(mode=0o700, exist_ok=True)
        files.path(kind, key).rename(place / key)
    return made


def _new_folder(parent: Path) -> Path:
    parent.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    tried = (parent / (stamp if n == 1 else f"{stamp}-{n}") for n in range(1, 1000))
    folder = next(path for path in tried if not path.exists())
    folder.mkdir(mode=0o700)
    return folder


def _move_library(folder: Path, aside: Path) -> list[Path]:
    """The library's file and its log, now in `aside`."""
    there = [folder / name for name in ("studio.db", "studio.db-wal", "studio.db-shm") if (folder / name).exists()]
    return [file.rename(aside / file.name) for file in there]


@contextmanager
def _scratch(files: DataFolder) -> Iterator[Path]:
    scratch = _new_folder(files.temporary / "rebuild")
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(made: Path, root: Path) -> None:
    """See that the new library is whole and on the disk. StoreError if it is not."""
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if said != "ok":
        raise StoreError(f"The new library is not whole ({said}). Check the disk of {root}, then try again.")
    with made.open("r+b") as file:
        os.fsync(file.fileno())


def _settle(made: Path, target: Path) -> None:
    """Put the new library in its place for good."""
    made.rename(target)
    manifest.sync_folder(target.parent)


def _make(files: DataFolder, aside: Path, scratch: Path) -> Rebuilt:
    made, new = Rebuilt(aside), scratch / "new.db"
    upgrade(new)
    engine = write_engine(new, foreign_keys=False)
    try:
        revision = _fill(engine, made, files.database, scratch)
        with Session(engine, expire_on_commit=False) as session, session.begin():
            listed = Relisted(session, files)
            listed.agree_with_disk()
            _drop_dangling(session)
            made.from_folders, made.unlisted = listed.from_folders, listed.unlisted()
            _raise_revision(session, revision)
            made.counts = {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in _tables()}
    finally:
        engine.dispose()
    return made


def _tables() -> list[Table]:
    return list(Row.metadata.tables.values())


# --- rows ---------------------------------------------------------------------------------------------------------


def _fill(engine: Engine, made: Rebuilt, library: Path, scratch: Path) -> int:
    """Take over what the damaged library still tells, then what a copy tells; the greatest revision that was seen."""
    revisions = [0]
    damaged = _working_copy(library.parent, scratch)
    for table in _tables():
        rows, complete = readable(damaged, table) if damaged else ([], False)
        if not complete:
            made.unread.append(table.name)
        revisions.append(_take_over(engine, table, rows))
    copy = _good_copy(library, scratch) if made.unread else None
    if copy is not None:
        made.copy, readable_copy = copy
        for name in made.unread:
            table = Row.metadata.tables[name]
            revisions.append(_take_over(engine, table, readable(readable_copy, table)[0]))
    return max(revisions)


def _working_copy(root: Path, scratch: Path) -> Path | None:
    """A copy of the damaged library to read from, of the newest schema; None if SQLite takes it for no library."""
    for names in (("studio.db", "studio.db-wal"), ("studio.db",)):
        folder = _new_folder(scratch / "damaged")
        for name in names:
            if (root / name).exists():
                shutil.copyfile(root / name, folder / name)
        with suppress(StoreError, sqlite3.Error, OSError, UnicodeDecodeError):
            if schema_of(folder / "studio.db") == known_schemas()[-1]:
                return folder / "studio.db"
    return None


def _good_copy(library: Path, scratch: Path) -> tuple[Path, Path] | None:
    """The newest copy that is whole, and where it can be read in the newest schema."""
    for copy in all_copies(library):
        folder = _new_folder(scratch / "copy")
        with suppress(StoreError, sqlite3.Error, OSError):
            target = Path(shutil.copyfile(copy, folder / "studio.db"))
            with closing(sqlite3.connect(target)) as connection:
                sound = connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
            if sound and schema_of(target) is not None:
                upgrade(target)
                return copy, target
    return None


def _take_over(engine: Engine, table: Table, rows: list[dict[str, Any]]) -> int:
    """Add the rows that are not there yet; of topics, which every library has, only their greatest revision counts."""
    if table.name == Topic.__tablename__:
        return max((row["revision"] for row in rows), default=0)
    if rows:
        with engine.begin() as connection:
            bare = without_kinds(table.columns, table.name)
            connection.execute(insert(bare).prefix_with("OR IGNORE"), rows)
    return 0


def _drop_dangling(session: Session) -> None:
    """Take away what refers to a row that is lost: the reference where that may be empty, else the row."""
    changed = True
    while changed:
        changed = any([_mended(session, table, key) for table in _tables() for key in table.foreign_keys])


def _mended(session: Session, table: Table, key: Any) -> bool:
    parent = key.column.table.alias()
    lost: ColumnElement[bool] = key.parent.is_not(None) & key.parent.not_in(select(parent.c[key.column.name]))
    if not session.scalar(select(func.count()).select_from(table).where(lost)):
        return False
    if key.parent.nullable:
        session.execute(update(table).where(lost).values({key.parent.name: None}))
    else:
        session.execute(delete(table).where(lost))
    return True


def _raise_revision(session: Session, revision: int) -> None:
    """Pages that are open still compare with the old library's: what they show is out of date."""
    session.execute(update(Topic).values(revision=revision + 1))
