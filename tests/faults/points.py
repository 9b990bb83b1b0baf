"""The points at which something reaches the disk, and a fault at one of them: for processes that tests start.

A point has a name, as "fsync checkpoints/checkpoint.json" or "commit of job, metric", and a fault is at its n-th
passing. Names of folders are without what differs from run to run. Knows nothing about jobs.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import signal
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any, Literal, NamedTuple

TARGETS = ("jobs.worker", "tests.faults.migrating")  # what a fault may be meant for
KINDS = ("checkpoints", "adapters")
_CHANGE = re.compile(r"\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM)\s+\W?(\w+)", re.IGNORECASE)
_PASSING = re.compile(r"\.\d+\.\d+\.[0-9a-f]{32}|/?[0-9a-f]{32}")

How = Literal["kill", "full", "read-only"]
# What the system says, and what SQLite makes of it: it has a name of its own for the first alone.
REFUSALS = {
    "full": (errno.ENOSPC, sqlite3.SQLITE_FULL, "database or disk is full"),
    "read-only": (errno.EROFS, sqlite3.SQLITE_IOERR, "disk I/O error"),
}


class Fault(NamedTuple):
    """What is to happen at the n-th passing of a point: SIGKILL, or the disk is full, or can only be read."""

    point: str
    number: int
    how: How

    def __str__(self) -> str:
        """As it is named in a report of what went wrong."""
        return f"{self.how} at {self.point}, passing {self.number}"


def watch(fault: list[Any] | None, told: str) -> None:
    """From now on bring about the fault in this process, and write into `told` when it comes.

    Without a fault, the name of every passed point is written there.
    """
    _Watch(Fault(*fault) if fault else None, told).begin()


class _Watch:
    """Stands between this process and what it writes."""

    def __init__(self, fault: Fault | None, told: str) -> None:
        self._fault = fault
        self._told = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seen: Counter[str] = Counter()
        self._changed: defaultdict[int, set[str]] = defaultdict(set)  # tables, by the thread whose transaction it is

    def begin(self) -> None:
        """Put the points into place."""
        import safetensors.torch
        from sqlalchemy.engine.default import DefaultDialect

        self._before(os, "fsync", lambda handle, *_: f"fsync {named(Path(f'/proc/self/fd/{handle}').readlink())}")
        for name in ("rename", "replace"):
            self._before(os, name, lambda source, target, **_: f"rename to {named(target)}")
        self._before(shutil, "rmtree", lambda path, *_, **__: f"remove {named(path)}")
        self._torn(safetensors.torch)
        self._opened()
        self._database(DefaultDialect)

    def _database(self, dialect: Any) -> None:
        commit, execute = dialect.do_commit, dialect.do_execute

        def committing(itself: Any, connection: Any) -> None:
            tables = ", ".join(sorted(self._changed.pop(get_ident(), set())))
            self.passed(f"commit of {tables}", _database_refused)
            commit(itself, connection)
            self.passed(f"committed {tables}", None)

        def executing(itself: Any, cursor: Any, statement: str, *given: Any) -> None:
            execute(itself, cursor, statement, *given)
            if change := _CHANGE.match(statement):
                self._changed[get_ident()].add(change[1])
            self.passed("statement", None)

        dialect.do_commit, dialect.do_execute = committing, executing

    def passed(self, point: str, error: Callable[[str], BaseException] | None) -> None:
        """A point was reached: what is due there happens."""
        self._seen[point] += 1
        if self._fault is not None and (point, self._seen[point]) != self._fault[:2]:
            return
        os.write(self._told, f"{point}\n".encode())
        if self._fault is None:
            return
        if self._fault.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif error is not None:
            raise error(self._fault.how)

    def _before(self, where: Any, name: str, point: Callable[..., str]) -> None:
        real = getattr(where, name)

        def passing(*given: Any, **named: Any) -> Any:
            self.passed(point(*given, **named), _refused)
            return real(*given, **named)

        setattr(where, name, passing)

    def _opened(self) -> None:
        """A file that was opened for writing is empty when it happens."""
        real = io.open

        def opening(file: Any, mode: str = "r", *given: Any, **also: Any) -> Any:
            opened = real(file, mode, *given, **also)
            if "w" in mode:
                try:
                    self.passed(f"write {named(file)}", _refused)
                except OSError:
                    opened.close()
                    raise
            return opened

        io.open = opening  # type: ignore[assignment]

    def _torn(self, where: Any) -> None:
        """A file of tensors is half written when it happens."""
        real, plain = where.serialize_file, io.open

        def put(file: Any, content: bytes) -> None:
            with plain(file, "wb") as opened:
                opened.write(content)

        def half(tensors: Any, filename: Any, **also: Any) -> None:
            from safetensors import SafetensorError

            real(tensors, filename, **also)
            whole = Path(filename).read_bytes()
            put(filename, whole[: len(whole) // 2])
            self.passed(f"write {named(filename)}", lambda how: SafetensorError(_serializing(how)))
            put(filename, whole)

        where.serialize_file = half


def named(path: Any) -> str:
    """A path in the data folder without its root and without what differs from run to run."""
    parts = Path(path).parts
    known = next((n for n, part in enumerate(parts) if part in ("temp", "trash", *KINDS)), len(parts) - 1)
    return _PASSING.sub("", "/".join(parts[known:])).removeprefix("temp/")


def _refused(how: str) -> OSError:
    number = REFUSALS[how][0]
    return OSError(number, os.strerror(number))


def _serializing(how: str) -> str:
    number = REFUSALS[how][0]
    return f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"


def _database_refused(how: str) -> sqlite3.Error:
    _, code, says = REFUSALS[how]
    error = sqlite3.OperationalError(says)
    error.sqlite_errorcode = code
    return error
