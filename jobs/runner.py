"""The runner: owns the queue of one data folder. Starts workers, watches them, and sees to it that a stop is a stop.

    python -m jobs.runner --data-dir DIR

One a data folder, by a lock of the operating system that ends with the process. It leaves when nothing is queued, no
worker lives and no page is open. Workers do not depend on it: when it is ended they go on, and the next runner adopts
them. Imports neither torch nor transformers, and knows nothing about what a job does.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from adapters_store.copies import PAUSE_SECONDS, keep_copy
from adapters_store.errors import LeaseLost, StoreBusy, StoreError
from adapters_store.files import DataFolder
from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Job, Owner
from jobs import process
from jobs.devices import Place, not_here, places
from jobs.errors import own_sentence
from jobs.notices import Herald
from jobs.queue import ON_DEVICE, may_start, next_to_start
from jobs.resuming import resume, resume_after_restart, resume_left_over
from jobs.stalls import Watch
from jobs.verdict import verdict
from jobs.workers import Workers

log = logging.getLogger("runner")

TICK = 0.25  # seconds between two looks
LINGER = 5.0  # seconds without anything to do before it leaves
STARTING = 3.0  # seconds a runner needs at most to take the lock; less than LINGER, see `ensure`
CANCEL_GRACE = 8.0  # seconds a worker has to see that its job was cancelled, and to end
KEEP_GRACE = 900.0  # seconds a worker has to measure a last time and save: ending it loses what it learned
TRASH_SECONDS = 7 * 24 * 3600.0  # how long deleted adapters can be brought back

_last_start: dict[Path, tuple[float, subprocess.Popen[bytes]]] = {}


def ensure(data_dir: Path) -> None:
    """Have a runner for this data folder: start one, detached, unless there is one. Returns at once."""
    folder = DataFolder(data_dir)
    began, started = _last_start.get(folder.root, (0.0, None))
    # One that is starting up does not hold the lock yet, but will, and stays for LINGER: a second would be for nothing.
    starting = started is not None and started.poll() is None and time.monotonic() - began < STARTING
    if starting or _is_locked(folder):
        return
    command = process.module_command("jobs.runner", "--data-dir", str(folder.root))
    runner = process.start_detached(command, folder.log("runner"))
    process.let_go(runner)
    _last_start[folder.root] = (time.monotonic(), runner)


def _is_locked(folder: DataFolder) -> bool:
    try:
        with _lock(folder).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lock(folder: DataFolder) -> FileLock:
    return FileLock(folder.root / "runner.lock")


class Runner:
    """The body of the runner, one look at a time: `step` can be called by hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workers = Workers(store)
        self._watch = Watch(store)
        self._stop_seen: dict[int, float] = {}  # when a job's stop was first seen, monotonic
        self._looked_back = False
        self._copy_due = 0.0  # monotonic
        self._herald = Herald(store)
        self._places: list[Place] | None = None  # asked for when the first run is to start

    def step(self) -> None:
        """Look once at workers, wishes and queue, and do what is due. StoreError when the library cannot be used."""
        if not self._looked_back:
            self._look_back()
            self._looked_back = True
        self._reap()
        live = self._store.jobs(states=LIVE, limit=1000)
        for job in live:
            if not self._workers.work_on(job):
                self._settle(job.id, None)
            elif job.stop:
                self._enforce(job)
        self._watch_progress()
        self._start_next()
        self._herald.look()
        self._keep_copy()

    def _look_back(self) -> None:
        """Do what the runner before may have left undone."""
        resume_after_restart(self._store)
        for job in self._store.jobs(states=["interrupted"], limit=1000):
            if not self._workers.work_on(job) or self._workers.end(job):
                resume_left_over(self._store, job)

    def busy(self) -> bool:
        """Whether a worker lives, a job waits that may start, somebody is told of an end, or a page is open."""
        if self._herald.busy() or self._workers or self._store.jobs(states=LIVE, limit=1) or may_start(self._store):
            return True
        return page_open(self._store.files.root)

    # --- workers that ended -----------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for job_id, returncode in self._workers.ended():
            self._settle(job_id, returncode)

    def _settle(self, job_id: int, returncode: int | None) -> None:
        """Give a job whose worker is gone its last state. `returncode` is None when nobody saw the end."""
        job = self._store.job(job_id)  # read after the end: the worker may have had the last word itself
        if job.state == "queued" and returncode:
            self._give_up(job, returncode)
        elif job.state in LIVE and not (job.owner and process.alive(job.owner)):
            to, why = verdict(job, returncode, same_boot=job.owner is None or job.owner.boot == process.boot_id())
            log.warning("job %s: %s (%s)", job.id, why, to)
            self._store.move(job.id, to, why=why, who="runner")
            if not job.stop:
                resume(self._store, job.id)
        if returncode != 0:  # also after the last word of a job: what it no longer needs goes after that
            self._store.clear_strays()
        self._stop_seen.pop(job_id, None)

    def _give_up(self, job: Job, returncode: int) -> None:
        """A worker ended before it could claim its job. One that was killed says nothing about the job."""
        if self._store.claim(job.id, process.identify()):
            its_log = self._store.files.log(f"job-{job.id}")
            why = f"The worker could not begin: it {process.how_it_ended(returncode)}. Its log is {its_log}."
            to = "failed" if returncode > 0 and job.checkpoint_step is None else "interrupted"
            self._store.move(job.id, to, why=why, who="runner")
            if returncode < 0:
                resume(self._store, job.id)

    # --- stopping -------------------------------------------------------------------------------------------------

    def _enforce(self, job: Job) -> None:
        """End a worker that was asked to stop and does not."""
        first = self._stop_seen.setdefault(job.id, time.monotonic())
        grace = CANCEL_GRACE if job.stop == "cancel" else KEEP_GRACE
        if time.monotonic() - first < grace or job.owner is None:
            return
        log.warning("job %s did not stop within %.0f s; ending its worker", job.id, grace)
        self._workers.end(job)
        self._settle(job.id, None)

    def _watch_progress(self) -> None:
        """Say which workers make no progress, and end those that have made none for too long."""
        live = self._store.jobs(states=LIVE, limit=1000)
        try:
            stuck = self._watch.look([job for job in live if not job.stop])
        except StoreBusy:
            # Stopped in the middle of writing, a worker keeps the library from everybody: it has to write to the end.
            for job in live:
                if job.owner and process.wake(job.owner):
                    log.warning("job %s: its worker was stopped while the library was busy, and goes on", job.id)
            raise
        for job, why in stuck:
            self._break_off(job, why)

    def _break_off(self, job: Job, why: str) -> None:
        """End a worker that makes no progress. First it loses the job: whatever it still does counts no more."""
        try:
            self._store.move(job.id, "interrupted", why=why, who="runner", token=job.token)
        except LeaseLost:  # it has just ended by itself
            return
        log.warning("job %s: %s", job.id, why)
        self._end_for_good(job)

    def _end_for_good(self, job: Job) -> None:
        """End the worker of an interrupted job; then the job may go on."""
        if not self._workers.end(job):
            log.warning("job %s: its worker, process %s, cannot be ended", job.id, job.owner and job.owner.pid)
            return
        resume(self._store, job.id)
        self._store.clear_strays()

    def _keep_copy(self) -> None:
        """A copy of the library a day, looked after once an hour. Without one, work goes on."""
        if time.monotonic() < self._copy_due:
            return
        self._copy_due = time.monotonic() + PAUSE_SECONDS
        try:
            keep_copy(self._store.files.database)
        except (StoreError, OSError) as error:
            log.warning("no copy of the library was made: %s", error)

    # --- starting -------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        live = self._store.jobs(states=LIVE, limit=1000)
        waiting = may_start(self._store)
        # A worker that was started needs a moment to claim its job: that job is as good as begun.
        begun = [job for job in waiting if job.id in self._workers]
        busy = [(job.kind, job.device) for job in live] + [(job.kind, self._workers.device_of(job.id)) for job in begun]
        named = self._places_for(waiting)
        for job, device in next_to_start([job for job in waiting if job not in begun], busy, [*named]):
            self._workers.start(job, named[device] if device else None)

    def _places_for(self, waiting: list[Job]) -> dict[str, Place]:
        """The devices by name. A run for which one was chosen that is not here is paused, and says so."""
        if self._places is None:
            if not any(job.kind in ON_DEVICE for job in waiting):
                return {}
            self._places = places()
        named = {place.name: place for place in self._places}
        for job in list(waiting):
            if named and job.wanted_device and job.wanted_device not in named:
                self._store.move(job.id, "paused", why=not_here(job.id, job.wanted_device, [*named]), who="runner")
                waiting.remove(job)
        return named


def page_open(root: Path) -> bool:
    """Whether the page that wrote page.json into the data folder still lives."""
    try:
        page = json.loads((root / "page.json").read_text("utf-8"))
        return process.alive(Owner(pid=int(page["pid"]), started=float(page["started"]), boot=str(page["boot"])))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def serve(store: Store, ended: threading.Event, linger: float) -> None:
    """Step until told to end, or until there was nothing to do for `linger` seconds."""
    runner = Runner(store)
    idle_since = time.monotonic()
    while not ended.wait(TICK):
        try:
            runner.step()
            if runner.busy():
                idle_since = time.monotonic()
        except (StoreError, OSError) as error:
            log.error("trying again: %s", error)
            idle_since = time.monotonic()
        if time.monotonic() - idle_since > linger:
            return


def own(folder: DataFolder, ended: threading.Event, linger: float) -> bool:
    """Serve the folder for as long as there is something to do. False if another runner has it."""
    while True:
        try:
            with _lock(folder).acquire(timeout=0):
                _tidy_and_serve(folder, ended, linger)
        except Timeout:
            return False
        # A job may have come in while the lock was still held, and `ensure` trusted the lock.
        if ended.is_set() or not _has_waiting(folder):
            return True


def _tidy_and_serve(folder: DataFolder, ended: threading.Event, linger: float) -> None:
    store = Store(folder.root)
    try:
        swept = [*store.files.sweep(), *store.trash_orphans()]
        if swept:
            log.info("cleared away %s", ", ".join(map(str, swept)))
        store.files.empty_trash(TRASH_SECONDS)
        store.describe_all()
        store.clear_strays()
        serve(store, ended, linger)
    finally:
        store.close()


def _has_waiting(folder: DataFolder) -> bool:
    store = Store(folder.root)
    try:
        return bool(may_start(store))
    finally:
        store.close()


def main() -> int:
    """The command line. A second runner of the same folder says so and leaves."""
    parser = argparse.ArgumentParser(prog="python -m jobs.runner", description="Work off the queue of a data folder.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--linger", type=float, default=LINGER, help="seconds without work before it leaves")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        if not own(DataFolder(arguments.data_dir), ended, arguments.linger):
            print("Another runner has this data folder.", file=sys.stderr)
    except (StoreError, OSError) as error:  # whoever needs a runner will start another
        log.error("%s", own_sentence(error) or error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
