"""Random kills of the worker of a suite: what was answered stays, and the rest is answered as if nothing had been.

Knows nothing about runs that train.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from adapters_store.states import FINAL
from adapters_store.tables import Job
from engine.suites.prompts import Prompt
from tests.faults import kills
from tests.faults.kills import Tally
from tests.faults.nursery import Nursery
from tests.faults.yard import Yard
from tests.foreign import plain_adapter

PER_JOB = 4  # kills of one suite at most
SAMPLING = {"seed": 5, "temperature": 0.8, "top_p": 0.95, "max_tokens": 12}
THINGS = ("rain", "bread", "music", "a ship", "the sea", "an island")
EXACT = ("place", "text", "tokens", "finished", "scores", "reference_tokens", "problem")
NEARLY = 1e-5  # relative: how many rows are computed at once may move the last bits of a likelihood


class Suites:
    """A suite in a data folder, and what it comes to when nobody touches it."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        self.yard, store = yard, yard.store
        prompts = [Prompt([{"role": "user", "content": f"What is {thing}?"}], f"It is {thing}.") for thing in THINGS]
        self.suite = store.add_suite(
            "things", prompts, system="Be brief.", scores=["chrf", "perplexity"], pattern="", source="typed"
        )
        seats = [{"adapter": None}, {"adapter": str(plain_adapter(folder / "adapter")), "strength": 1.0}]
        self.payload = {"base_path": str(store.base_path(yard.base)), "precision": "full", "seats": seats}
        job = self.submit()
        began = time.monotonic()
        yard.finish(job.id)
        self.seconds = time.monotonic() - began
        self.calm = self.answers(job)

    def submit(self) -> Job:
        """Queue the suite once more."""
        store = self.yard.store
        people = [{"name": name, "base_model_id": self.yard.base.id} for name in ("base", "adapter")]
        sittings = [{"places": [0, 1], "payload": self.payload}]
        run = store.add_suite_run(self.suite.id, people=people, sittings=sittings, sampling=SAMPLING)
        return store.submit("suite", "things", {"suite_run": run.id}, who="test")

    def answers(self, job: Job) -> list[Any]:
        """All that was answered."""
        return list(self.yard.store.suite_answers(int(job.settings["suite_run"])))

    def violations(self, job: Job) -> list[str]:
        """In sentences, what does not hold after a suite has ended; empty if all does."""
        now = self.yard.store.job(job.id)
        if now.state != "completed":
            return [f"suite {job.id} is {now.state}: {now.why}"]
        got = self.answers(job)
        wrong = [] if len(got) == len(self.calm) else [f"suite {job.id} has {len(got)} answers of {len(self.calm)}"]
        for one, calm in zip(got, self.calm, strict=False):
            other = [name for name in EXACT if getattr(one, name) != getattr(calm, name)]
            if abs(one.logprob - calm.logprob) > NEARLY * abs(calm.logprob):
                other.append("logprob")
            if other:
                wrong.append(f"suite {job.id}: {', '.join(other)} of an answer differ from the suite nobody touched")
        return [*wrong, *self.yard.unsound()]


def of_suites(nursery: Nursery, folder: Path, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill `count` workers of suites, and see that each suite ends with the answers of one that nobody touched."""
    folder.mkdir(parents=True, exist_ok=True)
    yard = Yard(folder / "suites", nursery)
    try:
        suites, done = Suites(yard, folder), 0
        while done < count:
            job, wanted = suites.submit(), min(draw.randint(1, PER_JOB), count - done)
            while wanted and yard.store.job(job.id).state not in FINAL:
                if yard.attempt(job.id, kill_after=draw.uniform(0, suites.seconds)):
                    done, wanted = done + 1, wanted - 1
                    tally.kills["worker of a suite"] += 1
            yard.finish(job.id)
            kills.count(yard, job, suites.violations(job), tally)
    finally:
        yard.close()
