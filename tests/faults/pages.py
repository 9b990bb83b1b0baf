"""Random kills of the page, alone, with the worker of a run, with its runner, or with both; then a page as before.

The page is a process like the others and finds its own runner, which starts the workers. Afterwards it is started
again, as a person would, and has to answer. Knows nothing about what a page shows.
"""

from __future__ import annotations

import os
import random
import signal
import time
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from adapters_store.states import FINAL
from adapters_store.tables import Job, Owner
from jobs import process
from studio import launch
from tests.faults.kills import Tally, judge, see_to_the_end, until
from tests.faults.nursery import Forked, Nursery
from tests.faults.yard import Yard

MODULES = ("studio.server", "studio.launch", "uvicorn")  # what a page imports that a run does not
VICTIMS = ("page", "page worker", "page runner", "page runner worker")
PER_JOB = 2
WINDOW = 2.5  # seconds after its start within which a page is killed: it builds itself, serves, and runs begin and end
PATIENCE = 10.0  # seconds more, if one of those who are to be killed is not there yet
ANSWERS = 30.0  # seconds within which a page that was started again has to answer


class House:
    """A page, its runner and their worker over one data folder, as processes."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self.root = yard, yard.store.files.root
        self._page: Forked | None = None

    def open(self) -> None:
        """Have a page: start one unless it lives."""
        if self._page is None or self._page.poll() is not None:
            words = ["-m", "app", "--data-dir", str(self.root), "--port", "0", "--no-browser"]
            self._page = self.yard.nursery.fork(words, self.yard.store.files.log("campaign"))

    def answers(self) -> bool:
        """Whether the page says where it is, and is there."""
        link = launch.address(self.root)
        if link is None:
            return False
        at = urlsplit(link)
        try:
            with urllib.request.urlopen(f"{at.scheme}://{at.netloc}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def living(self) -> dict[str, Owner]:
        """Who is there now, by what they are."""
        run = next((job.owner for job in self.yard.store.running_jobs() if job.owner), None)
        runners = self.yard.nursery.living("jobs.runner", str(self.root))
        pids = {"page": self._page.pid if self._page else 0, "runner": next(iter(runners), 0)}
        found = {name: process.identify(pid) for name, pid in pids.items() if pid and psutil.pid_exists(pid)}
        return {**found, **({"worker": run} if run and process.alive(run) else {})}

    def kill(self, owners: dict[str, Owner]) -> None:
        """SIGKILL to these, and wait until they are gone."""
        for owner in owners.values():
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)
        if "page" in owners and self._page:
            self._page.wait(10)  # its first thread is gone before its last one
        assert until(lambda: not any(map(process.alive, owners.values())), 10, "the end of the killed") == []

    def close(self) -> None:
        """Nothing of it outlives the campaign."""
        self.kill(self.living())


def of_pages(nursery: Nursery, folder: Path, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill the page `count` times, alone or with others, and see that each run ends as if nothing had been."""
    yard = Yard(folder / "pages", nursery)
    house = House(yard)
    try:
        done = 0
        while done < count:
            job = yard.submit(0)
            for victims in draw.sample(VICTIMS, min(PER_JOB, count - done)):
                done += _strike(house, job, victims, draw, tally)
            house.open()
            tally.violations += until(house.answers, ANSWERS, "the page that was started again to answer")
            tally.violations += see_to_the_end(yard, job)
            judge(yard, job, tally)
    finally:
        house.close()
        yard.close()


def _strike(house: House, job: Job, victims: str, draw: random.Random, tally: Tally) -> int:
    """Kill those of `victims` that are there, at a moment after the page was started or found; 1 if it was."""
    house.open()
    wanted, began, moment = victims.split(), time.monotonic(), draw.uniform(0, WINDOW)

    def due() -> bool:
        over = house.yard.store.job(job.id).state in FINAL or time.monotonic() - began > WINDOW + PATIENCE
        return over or (time.monotonic() - began >= moment and {*wanted} <= {*house.living()})

    while not due():
        time.sleep(0.01)
    there = house.living()
    struck: dict[str, Owner] = {name: there[name] for name in wanted if name in there}
    house.kill(struck)
    tally.violations += [f"the {name} went with the others" for name in _fallen(there, struck, house, job)]
    tally.kills[_listed(struck)] += 1
    return int("page" in struck)


def _fallen(there: dict[str, Owner], struck: dict[str, Owner], house: House, job: Job) -> list[str]:
    """Who is gone though nobody killed it. A worker may have ended with its job; a runner watches the folder alone."""
    spared = {name: owner for name, owner in there.items() if name not in struck and not process.alive(owner)}
    if house.yard.store.job(job.id).state in FINAL:
        spared.pop("worker", None)
    return list(spared)


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
