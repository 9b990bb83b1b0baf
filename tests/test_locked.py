"""A library that another program keeps from everybody: nothing that is written is lost, and nothing that is read waits.

    pytest tests/test_locked.py

Held for half a minute and more, by a process of its own and under an open page, it is in `make faults`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters_store import database
from adapters_store.database import Database
from adapters_store.errors import StoreBusy
from adapters_store.store import Store
from jobs.ending import Ending
from jobs.worker import do
from tests.terminal import Terminal
from tests.workshop import submit_run

pytestmark = pytest.mark.usefixtures("one_thread_each")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Somebody else writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def hasty(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The library, opened by one that waits for others a moment only."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    hasty = Store(store.files.root)
    yield hasty
    hasty.close()


@pytest.fixture
def turned_away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on every other write of each thread meets a library that is held; the threads that were turned away."""
    real, turn, threads = Database.writing, threading.local(), list[str]()

    @contextmanager
    def writing(self: Database) -> Iterator[Any]:
        turn.free = not getattr(turn, "free", True)
        if turn.free:
            with real(self) as session:
                yield session
            return
        try:
            with held(self.path), real(self) as session:
                yield session
        except StoreBusy:
            threads.append(threading.current_thread().name)
            raise

    monkeypatch.setattr(Database, "writing", writing)
    return threads


def left(store: Store, job_id: int) -> tuple[object, ...]:
    (adapter,) = (adapter for adapter in store.adapters()[0] if adapter.job_id == job_id)
    measured = [(m.step, m.loss, m.validation_loss, m.gradient_norm, m.tokens) for m in store.metrics(job_id)]
    return (store.adapter_path(adapter) / "adapter_model.safetensors").read_bytes(), measured


@pytest.mark.parametrize("seconds", ["0", "60"])
def test_a_run_each_of_whose_writes_is_turned_away_at_first_ends_as_if_nobody_had(
    store: Store, hasty: Store, seconds: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", seconds)
    calm, met = submit_run(store, dropout=0.1), submit_run(store, store.base_models()[0], dropout=0.1)
    do(store, calm.id, Ending())
    turned_away: list[str] = request.getfixturevalue("turned_away")
    do(hasty, met.id, Ending())
    assert (store.job(met.id).state, store.job(met.id).attempt) == ("completed", 1)
    assert left(store, met.id) == left(store, calm.id)
    assert turned_away.count("MainThread") >= 4  # the claim, two moves, the adapter's row
    assert store.checkpoints() == []
    assert store.files.published("checkpoints") == []


def test_what_is_read_does_not_wait_and_what_is_to_be_written_is_refused_in_words(
    store: Store, monkeypatch: pytest.MonkeyPatch, no_runner: None
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    job = submit_run(store)
    terminal = Terminal(store.files.root)
    with held(store.files.database):
        assert terminal.json("jobs", "list")[0]["id"] == job.id
        refused = terminal.run("jobs", "stop", str(job.id))
    assert refused.returncode == 1
    assert refused.stderr.startswith("Another program has been writing to ")
    assert "Traceback" not in refused.stderr
    assert store.job(job.id).state == "queued"
