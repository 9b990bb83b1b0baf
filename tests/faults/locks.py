"""A library that another program keeps for half a minute and more, in the middle of a run under an open page.

A process of its own begins to write and does not go on. Meanwhile the page is asked for again and again, and somebody
who wants to write is told to wait. The run has to end at its first attempt, as if nothing had been.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path

from adapters_store.errors import StoreBusy
from adapters_store.states import FINAL
from adapters_store.store import Store
from adapters_store.tables import Job
from studio import launch
from tests.faults.kills import until
from tests.faults.nursery import Nursery
from tests.faults.pages import ANSWERS, House
from tests.faults.yard import LONG, Yard

HELD = 33.0  # seconds: more than anybody waits for the library before being turned away
CHECKPOINTS = ("0", "60")  # seconds between two: the run waits at each of them, or at its end
PAUSE = 0.1  # seconds between two looks at the page
SLOW = 1.0  # seconds that 95 of 100 looks may take at most
HOLDER = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
HOLDER += "print('held', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"


@dataclass
class Held:
    """How often the library was held, and what came of it."""

    times: int = 0
    looks: list[float] = field(default_factory=list)  # seconds that each look at the page took meanwhile
    turned_away: int = 0  # writers who were told so in a sentence
    violations: list[str] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """Seconds within which 95 of 100 looks were answered."""
        return statistics.quantiles(self.looks, n=20)[-1] if len(self.looks) > 1 else 0.0


def of_locks(nursery: Nursery, folder: Path, held: Held) -> None:
    """Hold the library of a run once for each pace of checkpoints. `nursery` has pages, too."""
    yard = Yard(folder / "locks", nursery)
    house = House(yard)
    try:
        yard.submit(LONG)  # so that what it leaves alone is known
        for seconds in CHECKPOINTS:
            os.environ["LORA_STUDIO_CHECKPOINT_SECONDS"] = seconds
            _one_run(house, held)
            house.close()  # the next page and runner are to see the other pace
        if held.p95 > SLOW:
            held.violations.append(f"of {len(held.looks)} looks at the page 95 % took up to {held.p95:.2f} s")
    finally:
        house.close()
        yard.close()


def _one_run(house: House, held: Held) -> None:
    yard, store = house.yard, house.yard.store
    waiting = [job for job in store.jobs(states=["queued"])]
    job = waiting[0] if waiting else yard.submit(LONG)
    house.open()
    held.violations += until(house.answers, ANSWERS, "the page to answer")
    held.violations += until(lambda: len(store.metrics(job.id)) > 1, 60, "the first steps")
    with outsider(store.files.database):
        before = (len(store.metrics(job.id)), store.job(job.id).state)
        _meanwhile(house, held)
        now = store.job(job.id)
        if (len(store.metrics(job.id)), now.state) != before:
            held.violations.append(f"job {job.id} has written into a library that was held")
    held.times += 1
    held.violations += until(lambda: store.job(job.id).state in FINAL, 120, f"the end of job {job.id}")
    held.violations += until(lambda: not yard.unsound(), 10, "the folder to be whole")
    held.violations += [*yard.violations(job.id), *_interrupted(store, store.job(job.id), before[1])]


def _interrupted(store: Store, job: Job, state: str) -> Iterator[str]:
    if state in FINAL:
        yield f"job {job.id} was over before the library was held"
    if job.attempt != 1:
        yield f"job {job.id} needed {job.attempt} attempts"
    said = [event.why for event in store.job_events(job.id) if event.why]
    if said:
        yield f"job {job.id} was not left in peace: {said}"


@contextmanager
def outsider(library: Path) -> Iterator[None]:
    """Another program writes, and does not come to an end."""
    command = [sys.executable, "-c", HOLDER, str(library)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate()


def _meanwhile(house: House, held: Held) -> None:
    """For HELD seconds look at the page, while somebody presses something that is to be written."""
    look, ends = _visitor(house), time.monotonic() + HELD
    press = threading.Thread(target=lambda: _press(house.yard.store, held))
    press.start()
    while time.monotonic() < ends:
        began = time.monotonic()
        look()
        held.looks.append(time.monotonic() - began)
        time.sleep(PAUSE)
    press.join()


def _press(store: Store, held: Held) -> None:
    try:
        store.remember("pressed", held.times)
    except StoreBusy:
        held.turned_away += 1


def _visitor(house: House) -> Callable[[], None]:
    """Somebody who is let in, and asks for the page."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    link = launch.address(house.root)
    assert link is not None
    opener.open(link, timeout=30).close()

    def look() -> None:
        with opener.open(link.partition("?")[0], timeout=30) as answer:
            answer.read()

    return look
