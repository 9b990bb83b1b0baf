"""Holding a job: it is claimed once, its steps are handed in whatever the library does, and a lost job is let go.

pytest tests/test_queue.py
"""

import threading
from typing import Any

import pytest

from adapters_store.errors import LeaseLost
from adapters_store.store import Store
from jobs import process
from jobs.queue import Lease, next_to_start
from tests.workshop import busy_at_first, submit_run, wait_for


def claimed(store: Store, on_cancel: object = None) -> Lease:
    job = submit_run(store)
    lease = Lease.claim(store, job.id, process.identify(), on_cancel=on_cancel or (lambda: None))  # type: ignore[arg-type]
    assert lease is not None
    return lease


def test_a_job_is_claimed_once(store: Store) -> None:
    lease = claimed(store)
    assert Lease.claim(store, lease.job.id, process.identify()) is None


def test_a_metric_is_in_the_library_within_a_second_also_when_no_other_follows(store: Store) -> None:
    with claimed(store) as lease:
        lease.move("running")
        lease.report({"step": 1, "loss": 2.0}, step=1)
        wait_for(lambda: [m.loss for m in store.metrics(lease.job.id)] == [2.0], 1, "the first step")
        lease.report({"step": 2, "loss": 1.0}, step=2)
        wait_for(lambda: store.job(lease.job.id).progress["step"] == 2, 2, "the second step")


def test_many_steps_a_second_are_handed_in_together(store: Store) -> None:
    with claimed(store) as lease:
        lease.move("running")
        before = store.revision()
        for step in range(1, 201):
            lease.report({"step": step, "loss": 1.0}, step=step)
        lease.hand_in()
        assert len(store.metrics(lease.job.id)) == 200
        assert store.revision() - before <= 4


def test_a_second_measurement_of_a_step_adds_to_the_first(store: Store) -> None:
    with claimed(store) as lease:
        lease.move("running")
        lease.report({"step": 1, "loss": 2.0, "validation_loss": None})
        lease.report({"step": 1, "loss": None, "validation_loss": 1.5})
        lease.hand_in()
        (metric,) = store.metrics(lease.job.id)
        assert (metric.loss, metric.validation_loss) == (2.0, 1.5)


def test_what_a_busy_library_refused_is_handed_in_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed(store) as lease:
        lease.move("running")
        monkeypatch.setattr(store, "report", busy_at_first(store.report, 2))
        for step in (1, 2, 3):
            lease.report({"step": step, "loss": float(step)}, step=step)
        wait_for(lambda: len(store.metrics(lease.job.id)) == 3, 10, "all three metrics")
        assert [m.loss for m in store.metrics(lease.job.id)] == [1.0, 2.0, 3.0]


def test_reporting_never_waits_for_the_library(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    real = store.report

    def stuck(*args: Any, **kwargs: Any) -> None:
        assert let_go.wait(20)
        real(*args, **kwargs)

    with claimed(store) as lease:
        lease.move("running")
        monkeypatch.setattr(store, "report", stuck)
        for step in range(1, 4):
            lease.report({"step": step, "loss": 1.0}, step=step)
        let_go.set()
        lease.hand_in()
        wait_for(lambda: len(store.metrics(lease.job.id)) == 3, 5, "all three metrics")


def test_a_worker_that_lost_its_job_writes_nothing_more(store: Store) -> None:
    called_off = threading.Event()
    with claimed(store, called_off.set) as lease:
        lease.move("running")
        store.move(lease.job.id, "interrupted", who="test")
        lease.report({"step": 1, "loss": 1.0})
        assert called_off.wait(5)
        assert lease.lost
        with pytest.raises(LeaseLost):
            lease.move("finishing")
    assert store.metrics(lease.job.id) == []


def test_a_cancel_calls_the_work_off(store: Store) -> None:
    called_off = threading.Event()
    with claimed(store, called_off.set) as lease:
        store.request_stop(lease.job.id, "cancel")
        assert called_off.wait(5)
        assert lease.stop == "cancel"
        lease.move("cancelled", "Cancelled. Nothing was kept.")


def test_one_run_at_a_time_and_a_fetch_beside_it(store: Store) -> None:
    runs = [submit_run(store) for _ in range(2)]
    fetch = store.submit("fetch", "tiny", {"source": "folder", "path": "/nowhere", "name": "tiny"})
    assert [j.id for j, _ in next_to_start(store.waiting(), [])] == [runs[0].id, fetch.id]
    assert [j.id for j, _ in next_to_start(store.waiting(), [("train", None)])] == [fetch.id]
    assert next_to_start(store.waiting(), [("suite", None), ("fetch", None)]) == []
