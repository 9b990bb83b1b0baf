"""The SQLite file of the library: two engines, their pragmas, transactions, and the schema.

Writing: one connection, `BEGIN IMMEDIATE`, so that what a transaction reads it may rely on until it commits. (With the
driver's own transactions a job is claimed twice, and with a plain BEGIN the step from reading to writing fails as
"locked" without any waiting.) Reading: many connections, plain `BEGIN`, query_only; in WAL mode they never wait for a
writer. Knows nothing about what the rows mean.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from adapters_store.drives import READ_ONLY, read_only
from adapters_store.errors import StoreBusy, StoreDamaged, StoreError
from adapters_store.tables import to_json

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30


class Database:
    """An open library file of the newest schema. Safe to share between threads; not between processes by fork."""

    def __init__(self, path: Path, expected: Callable[[], bool] = lambda: False) -> None:
        """Open `path`, making or migrating it where needed. StoreError if it is newer, damaged or not ours.

        Where there is none, `expected` is asked whether there has to be one: then it was lost.
        """
        self.path = path
        with said_in_words(path):
            upgrade(path, expected=expected)
        self._writer = write_engine(path)
        self._reader = _read_engine(path)

    def close(self) -> None:
        """Let go of every connection. Safe to call twice."""
        self._writer.dispose()
        self._reader.dispose()

    def check_pages(self) -> None:
        """StoreDamaged if a page of the file makes no sense. Reads all of it, but compares no index with its table."""
        with self.path.open("rb") as file:  # in one go: on a cold disk SQLite's own order takes three times as long
            while file.read(2**20):
                pass
        with self.reading() as session:
            said = session.scalar(text("PRAGMA quick_check(1)"))
        if said != "ok":
            raise _damaged(self.path)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that holds the only write lock: committed at the end, undone on any error."""
        with said_in_words(self.path), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One unchanging view of the library that waits for nobody."""
        with said_in_words(self.path), Session(self._reader, expire_on_commit=False) as session:
            yield session


def write_engine(path: Path, foreign_keys: bool = True) -> Engine:
    """An engine whose transactions hold the write lock from their beginning.

    One connection, because SQLite has one writer: threads of this process then queue fairly in the pool instead of
    polling the file.
    """
    engine = create_engine(
        path_url(path),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=1,
        max_overflow=0,
        pool_timeout=2 * BUSY_SECONDS,
        json_serializer=to_json,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        _common_pragmas(connection)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"The disk of {path} cannot keep the library safely. Choose a folder on a local disk.")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON" if foreign_keys else "PRAGMA foreign_keys = OFF")

    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def _read_engine(path: Path) -> Engine:
    engine = create_engine(path_url(path), connect_args={"timeout": BUSY_SECONDS}, pool_size=5, max_overflow=50)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        _common_pragmas(connection)
        connection.execute("PRAGMA query_only = ON")

    _begin_with(engine, "BEGIN")
    return engine


def path_url(path: Path) -> URL:
    """The address of an SQLite file."""
    # Built from its parts: a path may hold characters that mean something in a URL.
    return URL.create("sqlite", database=str(path))


def _common_pragmas(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; see _begin_with
    connection.execute("PRAGMA trusted_schema = OFF")


def _begin_with(engine: Engine, statement: str) -> None:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


# --- the schema ---------------------------------------------------------------------------------------------------


def upgrade(path: Path, migrations: Path = MIGRATIONS, expected: Callable[[], bool] = lambda: False) -> None:
    """Bring the library at `path` to the newest schema, making it where there is none.

    A copy of an older library is kept beside it first. StoreError, and the file is not touched, if it was made by a
    newer version, is not a library at all, or is not there though it is `expected`.
    """
    found, known = schema_of(path), known_schemas(migrations)
    if found == known[-1]:
        return
    if found is None and expected():
        raise StoreDamaged(_LOST.format(path=path, folder=path.parent))
    if found is not None and found not in known:
        raise StoreError(
            f"The library {path} was made by a newer version of LoRA Studio (schema {found}; this version knows "
            f"{known[-1]}). It was left as it is. Update LoRA Studio, or choose another folder with --data-dir."
        )
    _migrate(path, migrations, known[-1])


def known_schemas(migrations: Path = MIGRATIONS) -> list[str]:
    """The schemas this version can read, oldest first: the numbers at the front of the migrations' file names."""
    return sorted(file.name[:4] for file in (migrations / "versions").glob("[0-9]*.py"))


def schema_of(path: Path) -> str | None:
    """The schema of the library at `path`, read without changing the file; None if it is absent or empty."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" in tables:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if row:
                return str(row[0])
    raise StoreDamaged(_FOREIGN.format(path=path, folder=path.parent))


def _migrate(path: Path, migrations: Path, newest: str) -> None:
    # 0600 from the start: SQLite gives its side files the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Without foreign keys, because rebuilding a table means dropping the old one; they are checked before the commit.
    engine = write_engine(path, foreign_keys=False)
    try:
        with engine.begin() as connection:
            found = schema_of(path)  # asked again under the lock: another process may have been first
            if found == newest:
                return
            if found is not None:
                copy_whole(path, path.with_name(f"{path.stem}-before-{newest}{path.suffix}"))
            _run_alembic(connection, migrations)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise StoreError(
                    f"The library {path} could not be brought up to date: {len(broken)} broken references."
                )
    finally:
        engine.dispose()


def _run_alembic(connection: Connection, migrations: Path) -> None:
    # Imported here: it takes longer than everything else about opening a library, and is seldom needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def copy_whole(path: Path, target: Path) -> None:
    """A whole, compact copy at `target`. By SQLite's own means: copying the file would miss its write-ahead log."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("VACUUM INTO ?", (str(partial),))
    partial.chmod(0o600)
    with partial.open("r+b") as copy:
        os.fsync(copy.fileno())
    partial.replace(target)


# --- errors in words ----------------------------------------------------------------------------------------------


@contextmanager
def said_in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file (not about a statement) into a StoreError."""
    try:
        yield
    except PoolTimeout as error:
        raise _busy(path) from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            _raise_in_words(error.orig, path)
        raise
    except sqlite3.Error as error:
        _raise_in_words(error, path)
        raise
    except UnicodeDecodeError as error:  # a name in the schema is no text
        raise _damaged(path) from error


def _raise_in_words(error: sqlite3.Error, path: Path) -> None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise _busy(path) from error
    # What the driver itself cannot read as text has no code.
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith("Could not decode to UTF-8"):
        raise _damaged(path) from error
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and read_only(path.parent):
        raise StoreError(READ_ONLY.format(where=path.parent)) from error
    if code in _SENTENCES:
        raise StoreError(_SENTENCES[code].format(path=path, folder=path.parent)) from error


def _damaged(path: Path) -> StoreDamaged:
    return StoreDamaged(_DAMAGED.format(path=path, folder=path.parent))


def _busy(path: Path) -> StoreBusy:
    return StoreBusy(
        f"Another program has been writing to {path} for more than {BUSY_SECONDS} seconds. "
        "Close it, or wait and try again."
    )


_ANEW = (
    "Nothing was changed. Close the studio and make the library anew from what can still be read, its newest copy and "
    'the folders beside it: python -m studio rebuild --data-dir "{folder}"'
)
_DAMAGED = "The library {path} is damaged. " + _ANEW
_LOST = "The library {path} is gone or empty, but the folders beside it hold what was in it. " + _ANEW
_FOREIGN = (
    "{path} is an SQLite file but not a LoRA Studio library. Choose another folder with --data-dir. "
    "If it was a library: " + _ANEW
)
_SENTENCES = {
    sqlite3.SQLITE_FULL: "The disk of {folder} is full. Free some space and try again.",
    sqlite3.SQLITE_READONLY: "{path} cannot be written. Check the permissions of {folder}.",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened. Check that {folder} exists and that you may write there.",
    sqlite3.SQLITE_IOERR: "The disk of {folder} reported an error. Check the disk, then try again.",
    sqlite3.SQLITE_PERM: "{path} cannot be opened. Check the permissions of {folder}.",
}
