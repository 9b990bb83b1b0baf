"""Fetching as a job: published at its commit, taken up again, cancelled, and without a trace of the token."""

import logging
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import process
from jobs.ending import Ending
from jobs.worker import do
from tests.far import ID, TOKEN, busy, gated
from tests.hub import COMMIT, StandIn
from tests.workshop import add_rows, wait_for, wait_for_state

pytestmark = pytest.mark.usefixtures("forked")


def submit(store: Store, revision: str = "main") -> Job:
    return store.submit("fetch", "tiny", {"source": "hub", "id": ID, "revision": revision, "name": "tiny"})


def temp(store: Store) -> list[Path]:
    return list((store.files.root / "temp").iterdir())


def test_the_job_publishes_the_model_pinned_to_its_commit(served: StandIn, store: Store) -> None:
    job = submit(store)
    do(store, job.id, Ending())
    done = wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    assert done.progress["base_model"] == base.id
    assert (base.name, base.source, base.path) == ("tiny", "hub", None)
    assert base.facts["hub"] == {"id": ID, "commit": COMMIT}
    assert base.facts["chat_template"]
    assert store.files.problems("models", base.folder or "") == []
    assert done.progress["total_bytes"] is None
    assert temp(store) == []


def test_the_same_commit_is_not_fetched_twice(served: StandIn, store: Store) -> None:
    do(store, submit(store).id, Ending())
    served.asked.clear()
    again = submit(store, "v1")
    do(store, again.id, Ending())
    done = wait_for_state(store, again.id, "completed")
    assert done.progress["base_model"] == store.base_models()[0].id
    assert served.files_asked_for() == []
    assert len(store.files.published("models")) == 1


def test_a_failed_job_says_why_and_the_next_one_goes_on(served: StandIn, store: Store) -> None:
    served.faults.broken["model.safetensors"] = [2000, 0, 0, 0]
    failed = submit(store)
    do(store, failed.id, Ending())
    assert store.job(failed.id).why == "The connection to 127.0.0.1 broke off. Retry: it goes on where it stopped."
    assert store.base_models() == []
    assert store.files.published("models") == []
    assert store.files.sweep() == [], "what was half fetched outlives the sweep of another start"
    served.asked.clear()
    do(store, submit(store).id, Ending())
    assert {a.headers.get("range") for a in served.asked if a.file.endswith("safetensors")} == {"bytes=2000-"}
    assert len(store.base_models()) == 1
    assert temp(store) == []


def test_what_was_half_fetched_is_swept_when_nobody_asks_for_it_for_a_day(store: Store) -> None:
    place = store.files.unfinished("something")
    assert store.files.sweep() == []
    os.utime(place, (0, 0))
    assert store.files.sweep() == [place]


def test_neither_database_nor_logs_nor_messages_know_the_token(
    served: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    do(store, submit(store).id, Ending())
    for change in (gated, busy):
        change(served)
        do(store, submit(store, "v1").id, Ending())
    served.faults.gated = served.faults.busy = False
    store.close()
    assert TOKEN not in caplog.text
    for file in store.files.root.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


# --- a real worker ------------------------------------------------------------------------------------------------


def test_a_worker_reports_bytes_is_cancelled_in_the_middle_and_fetches_again(
    served: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    served.faults.hold["model.safetensors"] = threading.Event()
    size = (served.models[ID] / "model.safetensors").stat().st_size
    job = submit(store)
    worker = start(store, job.id)
    try:
        wait_for(lambda: (store.job(job.id).progress.get("done_bytes") or 0) > size // 4, 90, "some bytes")
        assert store.job(job.id).progress["total_bytes"] > size
        store.request_stop(job.id, "cancel")
        assert wait_for_state(store, job.id, "cancelled", seconds=15).why == "Cancelled. Nothing was kept."
        assert worker.wait(10) == 0
    finally:
        worker.kill()
        worker.wait()
    assert store.base_models() == []
    assert store.files.published("models") == []
    assert temp(store) == []
    served.faults.hold.pop("model.safetensors").set()
    _fetched_by_a_worker_it_can_be_trained(store)
    assert TOKEN not in store.files.log("job-1").read_text()


def _fetched_by_a_worker_it_can_be_trained(store: Store) -> None:
    job = submit(store)
    assert start(store, job.id).wait(120) == 0
    wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    values: dict[str, Any] = {"rank": 4, "alpha": 8, "epochs": 1, "batch_size": 8, "micro_batch": 4}
    run = store.submit("train", "run", values, base_model_id=base.id, data_set_id=add_rows(store).id)
    do(store, run.id, Ending())
    wait_for_state(store, run.id, "completed")


def start(store: Store, job_id: int) -> "subprocess.Popen[bytes]":
    command = process.module_command("jobs.worker", str(job_id), "--data-dir", str(store.files.root))
    return process.start_detached(command, store.files.log(f"job-{job_id}"))
