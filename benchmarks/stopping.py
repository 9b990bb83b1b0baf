"""How soon a run ends that was cancelled, or whose worker was told to end: real runs of a model, at drawn moments.

    python -m benchmarks.stopping MODEL_FOLDER [--stops 30] [--seed N] [--threads 2] [--write]

Every stop has a run of its own, with a runner and a worker as processes, as the page has them. Nothing is forked,
warmed or taken over from the run before but the tokens of the data, so each stop costs a whole loading of the model,
which is most of the time that the benchmark takes. Half of the rows are measured on, ten times a run, and a checkpoint
is written after every step. A quarter of the stops come while torch and the model are loaded, a quarter when a
checkpoint is being written, and half at any moment from the beginning of the first validation on.

The time of a stop begins with the wish and ends when the worker is gone and the library has the last word. Of fewer
than a hundred stops the p99 is the longest. A worker that is told to end has to leave a checkpoint of its last whole
step. `--write` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_store.states import FINAL
from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job
from benchmarks import machine
from benchmarks.table import Row, markdown
from jobs import process, runner
from jobs.resuming import AUTO_RESUME
from studio import actions

DOCUMENT = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- stopping: begin -->", "<!-- stopping: end -->"
CANCEL_S, SIGTERM_S = 10, 20  # what was aimed at
PATIENCE = 120.0  # seconds for anything that has to come
LOOK = 0.02  # seconds between two looks
ROWS = 16
WAYS = ("cancel", "SIGTERM")
MOMENTS = ("loading", "training", "training", "saving")
SETTINGS: dict[str, Any] = {"epochs": 100, "batch_size": 8, "micro_batch": 4, "validation_share": 0.5}


@dataclass(frozen=True)
class Stop:
    """One stop.

    Attributes:
        way: cancel or SIGTERM.
        doing: what the worker was at when it was asked.
        seconds: from the wish to the end of its worker.
        lost: whole steps that were told and that no checkpoint has.
    """

    way: str
    doing: str
    seconds: float
    lost: int


class Bench:
    """A data folder with the model and rows, whose runs are stopped."""

    def __init__(self, root: Path, model: Path, draw: random.Random) -> None:
        self.store, self.draw = Store(root), draw
        self.store.remember(AUTO_RESUME, False)
        self.base = _base(self.store, model)
        self.data = _rows(self.store, root.parent)
        self.loading = 0.0

    def warm(self) -> None:
        """Have one run begin, so that tokens are kept, and see how long it loads."""
        job = self.begin()
        began = time.monotonic()
        self.wait(job, lambda now: now.state == "running")
        self.loading = time.monotonic() - began
        self.cancel(job)

    def begin(self) -> Job:
        """A run that a worker has claimed."""
        job = self.store.submit(
            "train", "run", SETTINGS, base_model_id=self.base.id, data_set_id=self.data.id, who="benchmark"
        )
        runner.ensure(self.store.files.root)
        return self.wait(job, lambda now: now.state != "queued")

    def stop(self, way: str, moment: str) -> Stop:
        """Begin a run, wait for the moment, and stop it."""
        job = self.begin()
        self._await(job, moment)
        doing, began = self.doing(job), time.monotonic()
        if way == "cancel":
            self.cancel(job)
            return Stop(way, doing, time.monotonic() - began, 0)
        owner = self.store.job(job.id).owner
        assert owner is not None
        os.kill(owner.pid, signal.SIGTERM)
        self.wait(job, lambda now: now.state == "interrupted" and not process.alive(owner))
        took = time.monotonic() - began
        left = self.store.job(job.id)
        lost = int(left.progress.get("step") or 0) - (left.checkpoint_step or 0)
        self.store.request_stop(job.id, "cancel", "benchmark")
        return Stop(way, doing, took, lost)

    def cancel(self, job: Job) -> None:
        """Cancel a run, and wait for its worker to be gone."""
        owner = self.store.job(job.id).owner
        assert owner is not None
        self.store.request_stop(job.id, "cancel", "benchmark")
        self.wait(job, lambda now: now.state in FINAL and not process.alive(owner))

    def _await(self, job: Job, moment: str) -> None:
        if moment == "loading":
            time.sleep(self.draw.uniform(0, self.loading))
            return
        self.wait(job, lambda now: now.state == "running")
        if moment == "saving":
            self.wait(job, lambda now: self._saving())
        else:
            time.sleep(self.draw.uniform(0, self.loading))

    def doing(self, job: Job) -> str:
        """What the worker is at, as far as it can be seen from outside."""
        if self.store.job(job.id).state == "starting":
            return "loading"
        if self._saving():
            return "writing a checkpoint"
        return "training" if self.store.metrics(job.id, limit=1) else "the first validation"

    def _saving(self) -> bool:
        return any((self.store.files.root / "temp").glob("checkpoints.*"))

    def wait(self, job: Job, look: Callable[[Job], bool]) -> Job:
        """The job as soon as it is so."""
        deadline = time.monotonic() + PATIENCE
        while not look(now := self.store.job(job.id)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Run {job.id} is {now.state} ({now.why}) after {PATIENCE:g} s.")
            time.sleep(LOOK)
        return now

    def close(self) -> None:
        """Let go, once nothing runs any more and the runner has left."""
        for job in self.store.running_jobs():
            self.cancel(job)
        deadline = time.monotonic() + PATIENCE
        while runner._is_locked(self.store.files) and time.monotonic() < deadline:
            time.sleep(LOOK)
        self.store.close()


def _base(store: Store, model: Path) -> BaseModel:
    from engine import models

    return store.add_base_model(
        name=model.name,
        source="starter",
        path=str(model.absolute()),
        folder=None,
        fingerprint=models.fingerprint(model),
        facts=models.describe(model),
    )


def _rows(store: Store, folder: Path) -> DataSet:
    """A few rows of a sample, so that a validation is not much longer than a step."""
    actions.import_samples(store)
    sample = store.rows_path(store.data_sets()[0]).read_text("utf-8").splitlines()
    file = folder / "rows.jsonl"
    file.write_text("\n".join(sample[:ROWS]), "utf-8")
    return actions.import_file(store, file, "a few rows")


def measured(model: Path, stops: int, seed: int) -> list[Stop]:
    """So many stops, each way and moment in turn, and told as they come."""
    found = []
    with tempfile.TemporaryDirectory(prefix="stopping-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder) / "data", model, random.Random(seed))
        try:
            bench.warm()
            for number in range(stops):
                stop = bench.stop(WAYS[number % len(WAYS)], MOMENTS[number // len(WAYS) % len(MOMENTS)])
                print(
                    f"{number + 1:>3} {stop.way:<8}{stop.doing:<24}{stop.seconds:6.2f} s", file=sys.stderr, flush=True
                )
                found.append(stop)
        finally:
            bench.close()
    return found


def rows(stops: Sequence[Stop]) -> list[Row]:
    """The table: how long each way took, over all and by what the worker was at."""
    return [row for way, most in zip(WAYS, (CANCEL_S, SIGTERM_S), strict=True) for row in _of_way(stops, way, most)]


def _of_way(stops: Sequence[Stop], way: str, most: int) -> list[Row]:
    own = [stop for stop in stops if stop.way == way]
    if not own:
        return []
    took = sorted(stop.seconds for stop in own)
    p99 = took[math.ceil(0.99 * len(took)) - 1]
    told = f"p50 {statistics.median(took):.1f} s, p99 {p99:.1f} s, longest {took[-1]:.1f} s"
    found = [Row(f"{way}, {len(own)} runs", told, target=f"p99 <= {most} s", met=p99 <= most)]
    for doing in dict.fromkeys(stop.doing for stop in own):
        longest = [stop.seconds for stop in own if stop.doing == doing]
        found.append(Row(f"{way} while {doing}, {len(longest)} runs", f"longest {max(longest):.1f} s"))
    if way == "SIGTERM":
        whole = sum(stop.lost == 0 for stop in own)
        found.append(
            Row("runs whose last whole step is in a checkpoint", f"{whole} of {len(own)}", met=whole == len(own))
        )
    return found


def write(text: str) -> None:
    """Put the table between the marks of the document."""
    whole = DOCUMENT.read_text("utf-8")
    before, after = whole.split(BEGIN)[0], whole.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stops", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20261123, help="from which the moments are drawn")
    parser.add_argument("--threads", type=int, default=2, help="of every worker")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": str(asked.threads), "LORA_STUDIO_CHECKPOINT_SECONDS": "0"}
    began = time.monotonic()
    found = rows(measured(asked.folder, asked.stops, asked.seed))
    took = f"{(time.monotonic() - began) / 60:.1f} minutes"
    text = f"Seed {asked.seed}, {took}. {machine.described(asked.threads)}\n\n{markdown(found)}"
    print(text)
    if asked.write:
        write(text)
    return 0 if all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
