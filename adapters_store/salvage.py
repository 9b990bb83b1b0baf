"""Read what can still be read of a damaged library, row by row.

A page of a file that is damaged takes a stretch of rows with it, and SQLite gives up at the first of them. So a stretch
that cannot be read is read as two halves, down to single rows. Changes the file it reads (its log is played back), so
give it a copy. Knows the tables, and not what their rows mean.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    Table,
    TableClause,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.exc import DBAPIError

from adapters_store.database import path_url
from adapters_store.tables import Measure

MOST_FAILURES = 2_000  # stretches of one table that could not be read, before the rest of it is given up
BEYOND = 2**20  # a number that no table counts to; asked for where the greatest cannot be read

Rows = list[dict[str, Any]]
# What SQLite raises, and what comes of values that nobody has written.
_UNREADABLE = (DBAPIError, ValueError, TypeError, OverflowError)


def readable(damaged: Path, table: Table) -> tuple[Rows, bool]:
    """The rows of `table` that can be read, as SQLite keeps them, and whether those are all.

    A column that the file does not have is left out.
    """
    engine = create_engine(path_url(damaged))
    event.listen(engine, "connect", _read_on)
    try:
        with engine.connect() as connection:
            return _Reading(connection, table).rows()
    except _UNREADABLE:
        return [], False
    finally:
        engine.dispose()


def _read_on(connection: sqlite3.Connection, _: object) -> None:
    """Have SQLite go on where a part of the schema makes no sense, and notice more of what makes none."""
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("PRAGMA cell_size_check = ON")


class _Reading:
    """One table being read."""

    def __init__(self, connection: Connection, table: Table) -> None:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        self._columns = [column for column in table.columns if column.name in there]
        self._bare = without_kinds(self._columns, table.name)
        # Rows are looked for by these; none where they are called by words.
        key = [column for column in table.primary_key.columns if isinstance(column.type, Integer)]
        self._numbers = [self._bare.columns[column.name] for column in key]
        self._connection, self._failures = connection, 0

    def rows(self) -> tuple[Rows, bool]:
        """All at once where that goes; else in stretches of its numbers."""
        everything = self._read()
        if everything is not None:
            return everything, True
        if not self._numbers:
            return [], False
        low, high = self._end(func.min, 0), self._end(func.max, BEYOND)
        return list(self._stretch(self._numbers, low, high)), False

    def _stretch(self, numbers: list[Any], low: int, high: int, *fixed: Any) -> Iterator[dict[str, Any]]:
        """The rows whose first of `numbers` lies from `low` to `high`, where those before it are `fixed`."""
        number, *rest = numbers
        found = self._read(*fixed, number.between(low, high))
        if found is not None:
            yield from found
        elif low < high:
            middle = (low + high) // 2
            yield from self._stretch(numbers, low, middle, *fixed)
            yield from self._stretch(numbers, middle + 1, high, *fixed)
        elif rest:
            yield from self._stretch(rest, 0, BEYOND, *fixed, number == low)

    def _read(self, *where: Any) -> Rows | None:
        """The rows that meet the conditions; None if they cannot be read, or too much could not be before."""
        if self._failures > MOST_FAILURES:
            return []
        try:
            rows = self._connection.execute(select(*self._bare.columns).where(*where)).mappings().all()
            return [_sound(dict(row), self._columns) for row in rows]
        except _UNREADABLE:
            self._failures += 1
            return None

    def _end(self, which: Callable[[Any], Any], otherwise: int) -> int:
        """The least or the greatest of the first number."""
        try:
            found = self._connection.scalar(select(which(self._numbers[0])))
        except _UNREADABLE:
            return otherwise
        return found if isinstance(found, int) else otherwise


def without_kinds(columns: Iterable[Column[Any]], name: str) -> TableClause:
    """A table whose values are read and written as SQLite keeps them, JSON as text."""
    return bare_table(name, *(bare_column(column.name) for column in columns))


def _sound(row: dict[str, Any], columns: list[Column[Any]]) -> dict[str, Any]:
    """`row`, if each value is of its column's kind. ValueError otherwise: SQLite itself would take anything."""
    for column in columns:
        value, kind = row[column.name], column.type
        if value is None:
            if not column.nullable:
                raise ValueError(f"{column.name} is missing")
        elif isinstance(kind, JSON):
            json.loads(value)
        elif not isinstance(value, _kept_as(kind)):
            raise ValueError(f"{column.name}: {value!r}")
    return row


def _kept_as(kind: Any) -> tuple[type, ...]:
    """What SQLite keeps a column's values as."""
    if isinstance(kind, Float | Measure):
        return (int, float)
    return (int,) if isinstance(kind, Integer | Boolean) else (str,)
