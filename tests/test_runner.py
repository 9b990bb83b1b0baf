"""The runner owns the queue: it starts, watches and ends real workers, and never takes a living one for dead.

pytest tests/test_runner.py
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from adapters_store.store import Store
from adapters_store.tables import Owner
from jobs import process, runner, workers
from jobs.resuming import AUTO_RESUME
from jobs.runner import Runner, ensure, page_open
from jobs.verdict import verdict
from tests.workshop import ENDLESS, submit_run, wait_for, wait_for_state

pytestmark = pytest.mark.usefixtures("one_thread_each", "forked")

Running = subprocess.Popen[bytes]


@pytest.fixture
def processes(store: Store) -> Iterator[list[Running]]:
    """The runners a test started; neither they nor their workers outlive it."""
    started: list[Running] = []
    yield started
    for one in started:
        one.kill()
        one.wait()
    for job in store.running_jobs():
        if job.owner:
            process.end(job.owner, 0.1)


def start(store: Store, processes: list[Running], linger: float = 60) -> Running:
    command = process.module_command("jobs.runner", "--data-dir", str(store.files.root), "--linger", str(linger))
    processes.append(process.start_detached(command, store.files.log("runner")))
    return processes[-1]


def locked(store: Store) -> bool:
    return runner._is_locked(store.files)


def open_page(store: Store) -> None:
    page = {**process.identify()._asdict(), "url": "http://127.0.0.1:7860"}
    (store.files.root / "page.json").write_text(json.dumps(page))


# --- with real workers --------------------------------------------------------------------------------------------


def test_two_runs_are_done_one_after_the_other(store: Store, processes: list[Running]) -> None:
    jobs = [submit_run(store, epochs=1) for _ in range(2)]
    start(store, processes)
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(store.running_jobs()))
        return all(store.job(job.id).state == "completed" for job in jobs)

    wait_for(done, 120, "both runs")
    assert most == 1
    assert store.adapters()[1] == 2
    first, second = (store.job(job.id) for job in jobs)
    assert (first.finished_at or 0) <= (second.started_at or 0)


def test_a_killed_worker_is_noticed_within_five_seconds_and_its_run_goes_on_by_itself(
    store: Store, processes: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "0")
    job = submit_run(store, epochs=200)
    start(store, processes)
    wait_for(lambda: store.job(job.id).checkpoint_step, 90, "a checkpoint")
    os.kill(store.job(job.id).pid or 0, signal.SIGKILL)
    wait_for(lambda: "interrupted" in [e.state_to for e in store.job_events(job.id)], 5, "the runner to notice")
    wait_for(lambda: store.job(job.id).progress.get("resumed"), 60, "the run to go on")
    goes_on = store.job(job.id)
    assert goes_on.attempt == 2
    step = goes_on.progress["resumed_from"]
    assert goes_on.progress["resumed"] == f"Continued from step {step}."
    *_, noticed, queued, _ = [
        e for e in store.job_events(job.id) if e.state_to in ("interrupted", "queued", "starting")
    ]
    assert noticed.why == f"The worker was killed by signal 9, probably out of memory. Continue it from step {step}."
    assert queued.why == f"The worker was killed by signal 9, probably out of memory. It goes on from step {step}."
    store.request_stop(job.id, "cancel")
    wait_for_state(store, job.id, "cancelled", seconds=30)


def test_a_new_runner_adopts_the_living_worker_of_the_old_one(store: Store, processes: list[Running]) -> None:
    job = submit_run(store, **ENDLESS)
    old = start(store, processes)
    before = wait_for_state(store, job.id, "running", seconds=90)
    old.send_signal(signal.SIGTERM)
    assert old.wait(10) == 0
    assert before.owner is not None
    assert process.alive(before.owner)

    start(store, processes)
    wait_for(lambda: locked(store), 20, "the new runner")
    step = store.job(job.id).progress.get("step", 0)
    wait_for(lambda: store.job(job.id).progress.get("step", 0) > step, 20, "the worker to go on")
    after = store.job(job.id)
    assert (after.state, after.owner, after.attempt) == ("running", before.owner, 1)

    store.remember(AUTO_RESUME, False)
    os.kill(before.owner.pid, signal.SIGKILL)  # not a child of the new runner: known by identity alone
    gone = wait_for_state(store, job.id, "interrupted", seconds=5)
    assert "nobody saw how it ended" in gone.why


def test_a_worker_that_does_not_listen_is_ended_when_its_job_is_cancelled(
    store: Store, processes: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CANCEL_GRACE", 0.2)
    monkeypatch.setattr(workers, "KILL_GRACE", 0.2)
    job = submit_run(store, **ENDLESS)
    body = Runner(store)
    body.step()
    running = wait_for_state(store, job.id, "running", seconds=90)
    assert running.owner is not None
    os.kill(running.owner.pid, signal.SIGSTOP)
    store.request_stop(job.id, "cancel")

    def cancelled() -> bool:
        body.step()
        return store.job(job.id).state == "cancelled"

    wait_for(cancelled, 10, "the cancel")
    assert not process.alive(running.owner)
    assert store.job(job.id).why == "Cancelled. Nothing was kept."


# --- coming and going ---------------------------------------------------------------------------------------------


def test_a_second_runner_leaves(store: Store, processes: list[Running]) -> None:
    first = start(store, processes)
    wait_for(lambda: locked(store), 20, "the first runner")
    second = start(store, processes)
    assert second.wait(20) == 0
    assert first.poll() is None
    assert "Another runner" in store.files.log("runner").read_text()


def test_a_killed_runner_frees_the_folder(store: Store, processes: list[Running]) -> None:
    first = start(store, processes)
    wait_for(lambda: locked(store), 20, "the first runner")
    first.kill()
    first.wait()
    assert not locked(store)


def test_the_runner_leaves_when_there_is_nothing_to_do_and_no_page(store: Store, processes: list[Running]) -> None:
    assert start(store, processes, linger=0.3).wait(20) == 0
    assert not locked(store)


def test_the_runner_stays_while_a_page_is_open(store: Store, processes: list[Running]) -> None:
    open_page(store)
    staying = start(store, processes, linger=0.1)
    wait_for(lambda: locked(store), 20, "the runner")
    with pytest.raises(subprocess.TimeoutExpired):
        staying.wait(1.0)
    (store.files.root / "page.json").unlink()
    assert staying.wait(10) == 0


def test_ensure_starts_one_runner_however_often_it_is_called(store: Store) -> None:
    open_page(store)
    for _ in range(5):
        ensure(store.files.root)
    _, first = runner._last_start[store.files.root]
    try:
        wait_for(lambda: locked(store), 20, "the runner")
        ensure(store.files.root)
        assert runner._last_start[store.files.root][1] is first
        assert first.poll() is None
    finally:
        process.end(process.identify(first.pid), 5)
    wait_for(lambda: not locked(store), 5, "the runner to go")


def test_leftovers_of_dead_processes_are_swept_at_the_start(store: Store, processes: list[Running]) -> None:
    code = (
        "import pathlib; from adapters_store.files import DataFolder; "
        f"DataFolder(pathlib.Path({str(store.files.root)!r})).draft('adapters')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=process.environment())
    assert any((store.files.root / "temp").iterdir())
    start(store, processes, linger=0.1).wait(20)
    assert not any((store.files.root / "temp").iterdir())


# --- one look at a time -------------------------------------------------------------------------------------------


@pytest.fixture
def not_by_itself(store: Store) -> None:
    """Interrupted runs stay interrupted."""
    store.remember(AUTO_RESUME, False)


@pytest.mark.usefixtures("not_by_itself")
def test_a_process_that_only_has_the_number_of_a_dead_worker_is_neither_believed_nor_ended(store: Store) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        job = submit_run(store)
        real = process.identify(bystander.pid)
        store.claim(job.id, Owner(real.pid, real.started - 50, real.boot))
        Runner(store).step()
        assert store.job(job.id).state == "interrupted"
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


@pytest.mark.usefixtures("not_by_itself")
def test_a_job_from_before_a_restart_of_the_machine_is_told_so(store: Store) -> None:
    job = submit_run(store)
    store.claim(job.id, process.identify()._replace(boot="the boot before"))
    Runner(store).step()
    assert store.job(job.id).state == "interrupted"
    assert "machine was restarted" in store.job(job.id).why


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The jobs a runner would have started, in place of their workers."""
    jobs: list[int] = []
    monkeypatch.setattr(Runner, "_start_next", lambda self: jobs.extend(job.id for job in self._store.waiting()))
    return jobs


def died(store: Store, job_id: int, boot: str | None = None) -> Any:
    """Claimed by a worker that is gone."""
    me = process.identify()
    return store.claim(job_id, Owner(2**22 + 1, 1.0, boot or me.boot))


def test_a_run_whose_worker_died_goes_on_by_itself_three_times_at_most(store: Store, started: list[int]) -> None:
    job = submit_run(store)
    for attempt in (1, 2, 3):
        assert store.job(job.id).state == "queued"
        assert died(store, job.id).attempt == attempt
        Runner(store).step()
    assert store.job(job.id).state == "interrupted"
    assert started == [job.id] * 2
    store.move(job.id, "queued", who="person")  # a person may, as often as they like
    assert died(store, job.id).attempt == 4


def test_a_run_that_does_not_go_on_by_itself_waits_for_a_person(
    store: Store, started: list[int], not_by_itself: None
) -> None:
    job = submit_run(store)
    died(store, job.id)
    Runner(store).step()
    assert (store.job(job.id).state, started) == ("interrupted", [])


@pytest.mark.parametrize(("boot", "state"), [("the boot before", "queued"), (None, "interrupted")])
def test_a_run_that_was_told_to_end_goes_on_by_itself_only_after_a_restart_of_the_machine(
    store: Store, started: list[int], boot: str | None, state: str
) -> None:
    job = submit_run(store)
    claimed = died(store, job.id, boot)
    store.move(job.id, "interrupted", who="worker", token=claimed.token, why="The worker was asked to end (SIGTERM).")
    Runner(store).step()
    assert store.job(job.id).state == state


def test_a_run_that_was_to_stop_does_not_begin_again(store: Store, started: list[int]) -> None:
    job = submit_run(store)
    died(store, job.id)
    store.request_stop(job.id, "keep")
    Runner(store).step()
    assert (store.job(job.id).state, started) == ("interrupted", [])


def test_a_clock_that_jumps_ends_no_worker(store: Store) -> None:
    job = submit_run(store)
    store.claim(job.id, process.identify())
    store.clock = lambda: time.time() + 24 * 3600
    Runner(store).step()
    assert store.job(job.id).state == "starting"


def test_a_worker_that_cannot_begin_does_not_block_the_queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "module_command", lambda *_: [sys.executable, "-c", "raise SystemExit(7)"])
    job = submit_run(store)
    body = Runner(store)

    def failed() -> bool:
        body.step()
        return store.job(job.id).state == "failed"

    wait_for(failed, 20, "the job to fail")
    assert "exit code 7" in store.job(job.id).why
    assert not body.busy()


def test_a_cancelled_job_in_the_queue_is_never_started(store: Store) -> None:
    job = submit_run(store)
    store.request_stop(job.id, "cancel")
    body = Runner(store)
    body.step()
    assert store.job(job.id).state == "cancelled"
    assert not body.busy()


def job_like(state: str, stop: str | None = None, **fields: Any) -> Any:
    known = {"id": 1, "kind": "train", "state": state, "stop": stop, "adapter_id": None, "checkpoint_step": None}
    return SimpleNamespace(**{**known, "pinned": 0, "progress": {}, **fields})


def test_what_is_fetched_is_not_said_to_begin_from_a_first_step() -> None:
    assert verdict(job_like("running"), None)[1].endswith("Start it again; it begins from the first step.")
    assert verdict(job_like("running", kind="fetch"), None)[1].endswith("how it ended. Start it again.")


@pytest.mark.parametrize(
    ("job", "returncode", "state"),
    [
        (job_like("running"), -9, "interrupted"),
        (job_like("running"), 1, "failed"),
        (job_like("running", checkpoint_step=5), 1, "interrupted"),
        (job_like("running"), None, "interrupted"),
        (job_like("running", "cancel"), -9, "cancelled"),
        (job_like("running", "keep"), -9, "interrupted"),
        (job_like("finishing"), -9, "interrupted"),
        (job_like("finishing", adapter_id=3, progress={"step": 9, "steps": 9}), -9, "completed"),
        (job_like("finishing", adapter_id=3, progress={"step": 5, "steps": 9}), -9, "stopped"),
    ],
)
def test_the_last_state_follows_from_how_the_worker_ended(job: Any, returncode: int | None, state: str) -> None:
    to, why = verdict(job, returncode)
    assert to == state
    assert why or job.adapter_id


def test_a_page_counts_as_open_only_while_its_process_lives(tmp_path: Path) -> None:
    assert not page_open(tmp_path)
    (tmp_path / "page.json").write_text("{")
    assert not page_open(tmp_path)
    me = process.identify()
    for owner, is_open in ((me, True), (me._replace(started=me.started - 9), False)):
        (tmp_path / "page.json").write_text(json.dumps({**owner._asdict(), "url": "http://127.0.0.1:1"}))
        assert page_open(tmp_path) is is_open


def test_the_lock_of_the_folder_is_the_systems_own(store: Store) -> None:
    with FileLock(store.files.root / "runner.lock"):
        assert locked(store)
    assert not locked(store)


def test_a_folder_that_no_row_knows_goes_to_the_trash_when_a_runner_starts(store: Store) -> None:
    with store.files.draft("adapters") as draft:
        (draft.path / "adapter_model.safetensors").write_bytes(b"published, but its worker was killed before the row")
        key = draft.publish()
    folder = store.files.path("adapters", key)
    long_ago = time.time() - 7200
    os.utime(folder, (long_ago, long_ago))
    runner.own(store.files, threading.Event(), linger=0.0)
    assert not folder.exists()
    assert store.orphans() == []
