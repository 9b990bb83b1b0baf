"""What every part of the store stands on: the database, the data folder, the clock and the revision number.

Knows no noun of the library.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from adapters_store import about
from adapters_store.about import DESCRIBED, Described
from adapters_store.database import Database
from adapters_store.errors import NameRefused, NotFound
from adapters_store.files import DataFolder
from adapters_store.tables import Row, Topic

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Row)

NAME_LENGTH = 120
MOST_ROWS = 1000


class Shelf:
    """The common ground of the store's parts. `clock` gives seconds since 1970."""

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self.files = DataFolder(data_dir)
        self.clock = clock
        self._database = Database(self.files.database, lambda: any(map(self.files.published, DESCRIBED.values())))

    def close(self) -> None:
        """Let go of the library. Safe to call twice."""
        self._database.close()

    def describe(self, row: Described) -> None:
        """Keep in the folder of a row what the library knows of it, should the library be lost; see `about.py`.

        A disk that does not take it is no failure: the row is in the library, and `describe_all` tries again.
        """
        if row.folder is not None:
            try:
                about.write(self.files.path(DESCRIBED[type(row)], row.folder), row)
            except OSError:
                log.warning("%s %s could not be described in its folder", row.__tablename__, row.id, exc_info=True)

    def revision(self) -> int:
        """A number raised by one by every committed change that a person could see. Heartbeats do not raise it."""
        with self._database.reading() as session:
            return _newest(session)

    def changed(self) -> dict[str, int]:
        """For each topic the revision at which something of it last changed."""
        with self._database.reading() as session:
            return {topic.name: topic.revision for topic in session.scalars(select(Topic))}


def mark_changed(session: Session, *topics: str) -> None:
    """Raise the revision by one, for these topics. The write lock makes reading it first safe."""
    revision = _newest(session) + 1
    session.execute(update(Topic).where(Topic.name.in_(topics)).values(revision=revision))


def found(session: Session, table: type[R], id: int) -> R:
    """The row with this id. NotFound, in words, if there is none."""
    # SQLite counts to 2^63; a number beyond it may come from an address bar.
    row = session.get(table, id) if abs(id) < 2**63 else None
    if row is None:
        raise NotFound(f"There is no {WORDS[table.__tablename__]} with the number {id}.")
    return row


def added(session: Session, row: R) -> R:
    """`row` as it reads from the database, with its id and everything it refers to."""
    session.add(row)
    return settled(session, row)


def settled(session: Session, row: R) -> R:
    """`row` after its changes were written, read again with everything it refers to."""
    session.flush()
    session.refresh(row)
    return row


def checked_name(name: str) -> str:
    """`name` on one line and without surrounding space. NameRefused if nothing is left or it is too long."""
    clean = " ".join(visible_words(name))
    if not clean:
        raise NameRefused("A name needs at least one character.")
    if len(clean) > NAME_LENGTH:
        raise NameRefused(f"This name has {len(clean)} characters; {NAME_LENGTH} are the most.")
    return clean


def visible_words(text: str) -> list[str]:
    """The words of `text`, with control characters and the like taken for spaces."""
    return "".join(c if c.isprintable() else " " for c in text).split()


def within(limit: int) -> int:
    """How many rows to read when `limit` are asked for: at least 1, at most MOST_ROWS."""
    return max(1, min(limit, MOST_ROWS))


WORDS = {
    "base_model": "base model",
    "data_set": "data set",
    "job": "job",
    "adapter": "adapter",
    "comparison": "comparison",
    "suite": "suite",
    "suite_run": "suite run",
}


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(Topic.revision))) or 0
