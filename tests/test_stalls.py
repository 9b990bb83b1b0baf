"""A worker that makes no progress is reported, then ended, and its run goes on; a slow load or a sleep is no stall.

pytest tests/test_stalls.py
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from adapters_store.errors import StoreBusy
from adapters_store.store import Store
from adapters_store.tables import Job, Owner
from jobs import process, stalls, workers
from jobs.progress import job_sentence
from jobs.queue import Lease
from jobs.runner import Runner
from jobs.stalls import AT_LENGTH, END_STALLED, ENDED, LOOK, SLOWEST, STILL, Watch
from jobs.workers import Workers
from studio.run_facts import opened, rows
from tests.terminal import Terminal
from tests.workshop import ENDLESS, submit_run, wait_for

by_processes = pytest.mark.usefixtures("one_thread_each", "forked")

LONG = AT_LENGTH * STILL


class Clock:
    """Goes as far as it is told to, and a little with every look, as clocks do."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


# --- by real workers ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the runner measures by; a look counts in full, so that hours need not be looked through."""
    monkeypatch.setattr(stalls, "LOOK", 1e9)
    return Clock()


@pytest.fixture
def runner(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A runner that is stepped by hand, whose workers hang where a file tells them to. None of them outlives it."""
    real = process.module_command
    monkeypatch.setattr(
        process, "module_command", lambda module, *words: real(module.replace("jobs.worker", "tests.hanging"), *words)
    )
    monkeypatch.setattr(workers, "KILL_GRACE", 0.1)
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "0")
    runner = Runner(store)
    runner._watch.clock = clock
    yield runner
    for job in store.running_jobs():
        if job.owner:
            process.end(job.owner, 0.1)


def step_until(runner: Runner, true: Callable[[], Any], what: str) -> None:
    def looked() -> Any:
        runner.step()
        return true()

    wait_for(looked, 60, what)


def stop(store: Store, owner: Owner) -> None:
    """Stop a process, but not in the middle of writing to the library, which would keep it from everybody else."""
    with store._database.writing() as session:
        session.connection()  # from here on nobody else writes
        os.kill(owner.pid, signal.SIGSTOP)
        wait_for(lambda: stopped(owner), 5, "it to stop")


def stopped(owner: Owner) -> bool:
    return bool(psutil.Process(owner.pid).status() == psutil.STATUS_STOPPED)


def changes(store: Store, job: Job) -> list[tuple[str, str, str]]:
    return [(event.state_to, event.who, event.why) for event in store.job_events(job.id)]


@by_processes
def test_a_worker_that_hangs_in_a_step_is_reported_then_ended_and_its_run_goes_on_from_its_checkpoint(
    store: Store, runner: Runner, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = store.files.root / "hang-step"
    hang.touch()
    job = submit_run(store)
    step_until(runner, lambda: store.job(job.id).progress.get("doing") == "learning step 2", "the worker to hang")
    hangs = store.job(job.id)
    assert hangs.owner
    wait_for(lambda: (store.job(job.id).heartbeat_at or 0) > (hangs.heartbeat_at or 0), 5, "its heart to beat on")
    runner.step()  # sees the last sign of it

    clock.now += LONG
    runner.step()
    said = store.job(job.id)
    assert (said.state, said.owner) == ("running", hangs.owner)
    assert said.why.startswith("No progress for 1 h (since ")
    assert ": learning step 2). Its worker is ended if nothing moves until " in said.why
    assert job_sentence(said).startswith(f"{said.why} Step 1 of 6.")
    assert said.why in Terminal(store.files.root).run("jobs", "show", str(job.id)).stdout
    assert said.why in store.files.log(f"job-{job.id}").read_text()

    clock.now += (ENDED - 1) * LONG
    lost: list[str] = []
    real = Workers.end

    def end(self: Workers, one: Job) -> bool:
        lost.append(store.job(one.id).state)
        return real(self, one)

    monkeypatch.setattr(Workers, "end", end)
    runner.step()
    hang.unlink()
    assert lost == ["interrupted"], "it has lost the job before it is ended"
    assert not process.alive(hangs.owner)
    *_, interrupted, queued = changes(store, job)
    assert interrupted[:2] == ("interrupted", "runner")
    assert interrupted[2].endswith(": learning step 2), so its worker was ended. Continue it from step 1.")
    assert queued[2].endswith("so its worker was ended. It goes on from step 1.")

    step_until(runner, lambda: store.job(job.id).state == "completed", "the run to end")
    done = store.job(job.id)
    assert (done.attempt, done.progress["resumed_from"], done.why) == (2, 1, "")


@by_processes
def test_a_stopped_worker_is_reported_and_goes_on_unnoticed_or_is_ended(
    store: Store, runner: Runner, clock: Clock
) -> None:
    job = submit_run(store, **ENDLESS)
    step_until(runner, lambda: store.job(job.id).checkpoint_step, "a checkpoint")
    owner = store.job(job.id).owner
    assert owner
    stop(store, owner)
    runner.step()
    clock.now += LONG
    runner.step()
    assert store.job(job.id).why.startswith("No progress for 1 h")
    os.kill(owner.pid, signal.SIGCONT)
    step_until(runner, lambda: not store.job(job.id).why, "it to move again")
    assert changes(store, job)[-1] == ("running", "runner", "It moves again.")

    stop(store, owner)
    runner.step()
    for _ in range(2):
        clock.now += ENDED * LONG
        runner.step()
    assert not process.alive(owner)
    assert "interrupted" in [to for to, _, _ in changes(store, job)]
    store.request_stop(job.id, "cancel")
    step_until(runner, lambda: store.job(job.id).state == "cancelled", "the cancel")


@by_processes
def test_a_slow_load_is_not_taken_for_a_stall(store: Store, runner: Runner, clock: Clock) -> None:
    hang = store.files.root / "hang-load"
    hang.touch()
    job = submit_run(store)
    step_until(runner, lambda: store.job(job.id).progress.get("stage") == "Loading the base model", "the load")
    runner.step()
    clock.now += ENDED * STILL + 1
    runner.step()
    assert (store.job(job.id).state, store.job(job.id).why) == ("starting", "")
    hang.unlink()
    step_until(runner, lambda: store.job(job.id).state == "completed", "the run to end")
    assert store.job(job.id).attempt == 1
    assert {who for _, who, _ in changes(store, job)} == {"person", f"worker {store.job(job.id).pid}", "worker"}


# --- one look at a time -------------------------------------------------------------------------------------------


class Held:
    """A job in the hands of this process, which moves it as a worker would, under a watch."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.watch = store, Clock(), Watch(store)
        self.watch.clock = self.clock
        self.id = store.submit("train", "run", {}).id
        lease = Lease.claim(store, self.id, process.identify())
        assert lease
        self.lease = lease
        lease.move("running")

    def moves(self) -> None:
        """It does a piece, and its heart beats."""
        self.lease.moved("learning step 2")
        self.lease._beat()

    def after(self, seconds: float) -> list[str]:
        """The runner looks for so long. Why the worker is to be ended, if it is."""
        until = self.clock.now + seconds
        ended: list[str] = []
        while self.clock.now < until and not ended:
            self.clock.now += min(LOOK, until - self.clock.now)
            ended = [why for _, why in self.watch.look([self.job])]
        return ended

    @property
    def job(self) -> Job:
        """Its row."""
        return self.store.job(self.id)


@pytest.fixture
def held(store: Store) -> Held:
    """A job in the middle of its first pieces, which took no time."""
    held = Held(store)
    for _ in range(3):
        held.moves()
        held.after(0.1)
    return held


def test_a_job_in_small_pieces_is_reported_after_minutes_and_ended_six_times_later(held: Held) -> None:
    assert held.after(STILL - 1) == []
    assert held.job.why == ""
    assert held.after(LOOK) == []
    assert held.job.why.startswith("No progress for 5 min (since ")
    assert held.after((ENDED - 1) * STILL - 2 * LOOK) == []
    (why,) = held.after(3 * LOOK)
    assert why.startswith("No progress for 30 min")
    assert held.job.state == "running", "who ends it, and how, is the runner's"


def test_a_machine_that_slept_has_not_waited(held: Held) -> None:
    for _ in range(20):
        held.clock.now += 8 * 3600
        assert held.watch.look([held.job]) == []
    assert held.job.why == ""


def test_the_slowest_piece_is_the_measure_of_the_next(held: Held) -> None:
    held.after(STILL - 20)
    held.moves()
    held.after(SLOWEST * (STILL - 20) - LOOK)
    assert held.job.why == ""
    held.after(8 * LOOK)
    assert held.job.why.startswith("No progress for 24 min")
    held.moves()
    held.after(1)
    assert held.job.why == "", "taken back as soon as it moves"
    held.after(SLOWEST * (STILL - 20) + 8 * LOOK)
    assert held.job.why.startswith("No progress for 24 min"), "a piece that had to be reported is no measure"


def test_what_takes_its_time_is_given_it(held: Held) -> None:
    held.lease.at_length("Writing a checkpoint")
    held.lease._beat()
    held.after(LONG - 2 * LOOK)
    assert held.job.why == ""
    held.after(4 * LOOK)
    assert ": writing a checkpoint). " in held.job.why


def test_a_library_that_takes_no_word_ends_no_worker(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object, **kwargs: object) -> None:
        raise StoreBusy("The library is busy.")

    with monkeypatch.context() as locked:
        locked.setattr(held.store, "remark", busy)
        for _ in range(int(1.2 * ENDED * STILL / LOOK)):
            held.clock.now += LOOK
            with contextlib.suppress(StoreBusy):
                assert held.watch.look([held.job]) == []
    held.after(1)
    assert held.job.why.startswith("No progress for"), "now it is said, and the worker has its time from now on"
    assert held.after((ENDED - 1) * STILL - LOOK) == []
    assert held.after(2 * LOOK)


def test_a_worker_that_was_stopped_while_it_wrote_goes_on_so_that_others_can(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*args: object, **kwargs: object) -> None:
        raise StoreBusy("The library is busy.")

    monkeypatch.setattr(held.store, "remark", busy)
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        job = held.store.submit("train", "run", {})
        owner = process.identify(sleeper.pid)
        held.store.claim(job.id, owner)
        sleeper.send_signal(signal.SIGSTOP)
        wait_for(lambda: stopped(owner), 5, "it to stop")
        runner = Runner(held.store)
        runner._watch = held.watch
        runner._watch_progress()
        held.watch.clock = lambda: held.clock.now
        monkeypatch.setattr(stalls, "LOOK", LONG)
        held.clock.now += LONG + 1
        with pytest.raises(StoreBusy):
            runner._watch_progress()
        wait_for(lambda: not stopped(owner), 5, "it to go on")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_new_runner_does_not_say_again_what_was_said(held: Held) -> None:
    held.after(STILL + LOOK)
    before = len(held.store.job_events(held.id))
    held.watch = Watch(held.store)
    held.watch.clock = held.clock
    held.after(STILL + LOOK)
    assert len(held.store.job_events(held.id)) == before
    held.moves()
    held.after(1)
    assert held.job.why == ""


def test_where_workers_are_not_to_be_ended_it_is_only_said(held: Held) -> None:
    terminal = Terminal(held.store.files.root)
    assert terminal.json("jobs", "end-stalled") == {"end_stalled": True}
    assert "reported and left alone" in terminal.run("jobs", "end-stalled", "off").stdout
    assert held.after(1.5 * ENDED * STILL) == []
    assert held.job.why.endswith("It is left alone: stop it, or wait.")
    held.store.remember(END_STALLED, True)
    assert held.after(LOOK)


def test_the_limits_follow_the_environment(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_STALL_SECONDS", "60")
    held.after(61)
    assert held.job.why.startswith("No progress for 1 min")
    monkeypatch.setenv("LORA_STUDIO_STALL_SECONDS", "soon")
    assert stalls.patience() == STILL


def test_a_job_that_stands_still_says_so_in_the_list_and_tells_no_time_left(held: Held) -> None:
    held.lease.report(step=1, steps=9, loss=2.0, seconds_left=90.0)
    held.lease.hand_in()
    assert "About 2 min left." in opened(held.job)["sentence"]
    held.after(LONG)
    assert {figure["key"]: figure["value"] for figure in opened(held.job)["figures"]}["Time left"] == "–"
    (row,) = rows([held.job], [])
    assert (row["fact"], row["time"]) == ("no progress, step 1 of 9", "")
    assert "left" not in opened(held.job)["sentence"].partition(") ")[2]


@pytest.mark.parametrize(("who", "state"), [("runner", "queued"), ("worker", "interrupted")])
def test_a_worker_whose_runner_died_while_it_took_the_job_away_is_ended_by_the_next_and_its_run_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, who: str, state: str
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(Runner, "_start_next", lambda self: None)

    def end(self: Workers, job: Job) -> bool:
        ended.append(job.id)
        return True

    monkeypatch.setattr(Workers, "end", end)
    job = store.submit("train", "run", {})
    store.claim(job.id, process.identify())
    store.move(job.id, "interrupted", who=who, why="No progress for 30 min, so its worker was ended.")
    Runner(store).step()
    assert ended == [job.id]
    assert store.job(job.id).state == state
