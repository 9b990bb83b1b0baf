"""Random kills: of the worker of a run, of the runner, of both, at moments drawn from a seed.

Workers under a runner that is stepped by hand make up most of them, several to a job. The rest is done to runner and
worker as two processes that find each other again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from adapters_store.states import FINAL, LIVE
from adapters_store.tables import Job, Owner
from jobs import process, runner
from tests.faults.nursery import Nursery
from tests.faults.yard import SHORT, Yard

PER_JOB = 12  # kills of one run at most
JOBS_IN_FOLDER = 12  # then a new one is begun
VICTIMS = ("worker", "runner", "runner and worker")


@dataclass
class Tally:
    """What was done and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)  # that jobs were in when they lost their worker
    jobs: int = 0
    violations: list[str] = field(default_factory=list)


def of_workers(
    nursery: Nursery, folder: Path, count: int, draw: random.Random, tally: Tally, recipes: int = SHORT
) -> None:
    """Kill `count` workers of runs of so many recipes, and see each job through."""
    done = 0
    while done < count:
        yard = Yard(folder / f"workers-{tally.jobs}", nursery)
        try:
            for _ in range(JOBS_IN_FOLDER):
                done += _one_job(yard, min(draw.randint(1, PER_JOB), count - done), draw, tally, recipes)
                if done >= count:
                    break
        finally:
            yard.close()


def _one_job(yard: Yard, wanted: int, draw: random.Random, tally: Tally, recipes: int) -> int:
    """Kill the workers of one run up to `wanted` times; how often it came to that before the run was over."""
    recipe = draw.randrange(recipes)
    job = yard.submit(recipe)
    killed = 0
    while killed < wanted and yard.store.job(job.id).state not in FINAL:
        if yard.attempt(job.id, kill_after=draw.uniform(0, yard.seconds[recipe])):
            killed += 1
            tally.kills["worker"] += 1
    yard.finish(job.id)
    judge(yard, job, tally)
    return killed


def judge(yard: Yard, job: Job, tally: Tally) -> None:
    """Count a run that is over, and what does not hold."""
    count(yard, job, yard.violations(job.id), tally)


def count(yard: Yard, job: Job, violations: list[str], tally: Tally) -> None:
    """Count a job that is over, and in which states it lost its worker."""
    tally.jobs += 1
    tally.violations += violations
    lost = [event for event in yard.store.job_events(job.id) if event.state_to == "interrupted"]
    tally.states.update(event.state_from or "" for event in lost)


# --- two processes -----------------------------------------------------------------------------------------------


class Pair:
    """A runner and its workers over one data folder, as processes."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self.root = yard, yard.store.files.root

    def start(self) -> None:
        """Have a runner, as whoever opens the studio has."""
        runner._last_start.clear()  # who starts a studio anew remembers nothing
        runner.ensure(self.root)

    def kill(self, victims: str) -> bool:
        """SIGKILL to those named; False if one was not there to be killed."""
        owners = {"worker": self._worker, "runner": self._runner}
        there = [owners[name]() for name in victims.split(" and ")]
        if None in there:
            return False
        for owner in there:
            assert owner is not None
            os.kill(owner.pid, signal.SIGKILL)
        until(lambda: not any(owner and process.alive(owner) for owner in there), 10, "the end of the killed")
        return True

    def end(self) -> None:
        """Nothing of it outlives the campaign."""
        for owner in (self._runner(), self._worker()):
            if owner:
                os.kill(owner.pid, signal.SIGKILL)

    def _worker(self) -> Owner | None:
        return next((o for job in self.yard.store.running_jobs() if (o := _living(job))), None)

    def _runner(self) -> Owner | None:
        living = self.yard.nursery.living("jobs.runner", str(self.root))
        return process.identify(living[0]) if living and runner._is_locked(self.yard.store.files) else None


def _living(job: Job) -> Owner | None:
    return job.owner if job.owner and process.alive(job.owner) else None


def of_processes(nursery: Nursery, folder: Path, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill runner, worker or both `count` times, and see that each run ends as if nothing had been."""
    yard = Yard(folder / "processes", nursery)
    pair = Pair(yard)
    try:
        done = 0
        while done < count:
            job = yard.submit(0)
            with nursery.instead_of_processes():
                for victims in draw.sample(VICTIMS, min(3, count - done)):
                    done += _strike(pair, job, victims, draw, tally)
                pair.start()
                tally.violations += see_to_the_end(yard, job)
            judge(yard, job, tally)
    finally:
        pair.end()
        yard.close()


def _strike(pair: Pair, job: Job, victims: str, draw: random.Random, tally: Tally) -> int:
    pair.start()
    deadline = time.monotonic() + draw.uniform(0, 1.0) + 0.3
    while time.monotonic() < deadline and pair.yard.store.job(job.id).state not in FINAL:
        time.sleep(0.01)
    if not pair.kill(victims):
        return 0
    tally.kills[victims] += 1
    return 1


def see_to_the_end(yard: Yard, job: Job) -> list[str]:
    """Press Continue where a person would have to, and wait, once all is started again; what does not come."""
    store = yard.store

    def over() -> bool:
        now = store.job(job.id)
        given_up = now.state == "interrupted" and store.job_events(job.id)[-1].at < store.clock() - 2
        if given_up:
            store.move(job.id, "queued", who="person")
        return now.state in FINAL

    wrong = until(over, 120, f"the end of job {job.id}")
    wrong += until(lambda: not store.jobs(states=LIVE), 10, "the runner to look")
    # A runner that was killed, too, has just been started again, and clears away before it serves.
    until(lambda: not yard.unsound(), 10, "the runner to clear away")
    return wrong


def until(look: Callable[[], bool], seconds: float, what: str) -> list[str]:
    """Wait; a sentence if it was for nothing."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return [f"waited {seconds} s for {what}"]
        time.sleep(0.02)
    return []
