"""The queue: which waiting job may start, and how a worker holds the one it claimed.

A worker holds a job by a lease: a heartbeat, and a token that refuses its writes once the job is no longer its own.
One thread beats, hands in what was measured, and sees what people ask for, so that none of the three waits for a slow
step. Knows nothing about processes, models or what a job does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from adapters_store.errors import LeaseLost, StoreBusy, StoreError
from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.store_jobs import KINDS
from adapters_store.tables import Job, Owner

log = logging.getLogger(__name__)
R = TypeVar("R")

TICK = 0.25  # seconds between two looks at the job
BEAT = 10.0  # seconds between two heartbeats
PATIENCE = 20  # tries while the library is busy, each half a minute
REPORT = 1.0  # seconds between two reports at least: a commit costs milliseconds

ON_DEVICE = frozenset({"train", "suite"})  # kinds that wait for the device; the others go beside them
RESUMING = ("train", "suite")  # kinds that go on by themselves after an interruption: what they did is not lost
QUEUE_PAUSED = "queue_paused"  # the setting: whether waiting runs stay where they are
SPARE_MEMORY = "spare_memory"  # the setting: whether a run goes on with fewer rows at once when memory is too small


def queue_paused(store: Store) -> bool:
    """Whether runs that wait stay where they are, by the wish of a person."""
    return store.recall(QUEUE_PAUSED, False) is True


def spares_memory(store: Store) -> bool:
    """Whether a run for which memory was too small goes on by itself with half as many rows at once."""
    return store.recall(SPARE_MEMORY, True) is not False


def missing_end(job: Job) -> str | None:
    """The state in which a run would have ended that lacks this last word only: its adapter is in the library."""
    if job.adapter_id is None or job.state != "finishing":
        return None
    return "stopped" if job.progress.get("step", 0) < job.progress.get("steps", 0) else "completed"


def may_start(store: Store) -> list[Job]:
    """The waiting jobs whose turn may come, in its order. While the queue is paused no run is among them."""
    return store.waiting([kind for kind in KINDS if kind not in ON_DEVICE] if queue_paused(store) else None)


def next_to_start(
    waiting: Iterable[Job], busy: Iterable[tuple[str, str | None]], devices: Sequence[str] = ()
) -> list[tuple[Job, str | None]]:
    """The waiting jobs that may start now, each with the device it gets, in the order of `waiting`.

    Runs and suites take a device each: the one that was chosen for them, or the first that is free. Without names of
    `devices` there is one, so one of them at a time. The other kinds go beside them, and one after another among
    themselves. `busy` has the kind of each job that is under way, and its device.
    """
    free: list[str | None] = [*devices] or [None]
    kinds = set()
    for kind, device in busy:
        if kind not in ON_DEVICE:
            kinds.add(kind)
        elif free:  # one whose device is not known, or not there any more, keeps the first
            free.remove(device if device in free else free[0])
    chosen: list[tuple[Job, str | None]] = []
    for job in waiting:
        if job.kind not in ON_DEVICE:
            if job.kind not in kinds:
                kinds.add(job.kind)
                chosen.append((job, None))
        elif (place := _place(job, free, bool(devices))) >= 0:
            chosen.append((job, free.pop(place)))
    return chosen


def _place(job: Job, free: Sequence[str | None], named: bool) -> int:
    """Which of the free devices a job gets; -1: none. Where devices have no names there is nothing to choose."""
    if job.wanted_device is None or not named:
        return 0 if free else -1
    return free.index(job.wanted_device) if job.wanted_device in free else -1


def patiently(action: Callable[[], R]) -> R:
    """Do `action` even if another program keeps the library busy: what a run has learned is worth the waiting.

    Raises StoreBusy after PATIENCE tries, each of which waits by itself.
    """
    for _ in range(PATIENCE - 1):
        try:
            return action()
        except StoreBusy as error:
            log.warning("waiting: %s", error)
    return action()


class Lease:
    """A claimed job in the hands of its worker. A context manager: inside, the heart beats and reports go in."""

    def __init__(self, store: Store, job: Job, on_cancel: Callable[[], None] = lambda: None) -> None:
        """Hold `job` as it was returned by a claim. `on_cancel` is called once, from the thread, when the work is to be
        broken off: somebody cancelled or paused it, or the lease is lost."""
        self.job = job
        self.stop: str | None = job.stop  # "keep", "cancel" or "pause", as soon as somebody asks
        self.lost = False
        self._store = store
        self._on_cancel = on_cancel
        self._void = False
        self._pending = threading.Lock()  # guards the four below
        self._newest: dict[str, Any] = {}  # the metric of the newest step, handed in or not
        self._metrics: dict[int, dict[str, Any]] = {}
        self._progress: dict[str, Any] = {}
        self._signs: dict[str, Any] = {}  # of progress, not worth a commit of their own
        self._handing_in = threading.Lock()  # one flush at a time, so that rows stay in order
        self._reported_at = -math.inf
        self._beat_at = time.monotonic()
        self._over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{job.id}", daemon=True)

    @classmethod
    def claim(
        cls,
        store: Store,
        job_id: int,
        owner: Owner,
        on_cancel: Callable[[], None] = lambda: None,
        device: str | None = None,
    ) -> Lease | None:
        """Take the job if it still waits; None when somebody else has it or it was cancelled."""
        job = store.claim(job_id, owner, device)
        return None if job is None else cls(store, job, on_cancel)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        self._thread.join()

    def _finish(self) -> None:
        self._over = True
        self._wake.set()

    def report(self, metric: dict[str, Any] | None = None, **progress: Any) -> None:
        """Note a step's metric and progress and return at once, however busy the library is.

        The thread hands it in: immediately when nothing was handed in for a second, else when that second is over.
        """
        with self._pending:
            if metric is not None:
                self._note(metric)
            self._progress.update(progress)
        if time.monotonic() - self._reported_at >= REPORT:
            self._wake.set()

    def _note(self, metric: dict[str, Any]) -> None:
        """A second metric of the same step adds to the first: the last measurement of a run that was stopped."""
        step = metric["step"]
        known = self._newest if self._newest.get("step") == step else {}
        self._newest = {**known, **{key: value for key, value in metric.items() if value is not None}}
        self._metrics[step] = self._newest

    def say(self, stage: str) -> None:
        """Tell people what goes on before there is a step to count; it may take long."""
        self.report(stage=stage)
        self.at_length(stage)

    def moved(self, doing: str) -> None:
        """Tell that a small piece of the work was done, and what comes now. Costs nothing: it goes in with a report, or
        with the next heartbeat, and tells a worker that works from one that hangs."""
        self._sign(doing, piecewise=True)

    def at_length(self, doing: str) -> None:
        """Tell that what begins now says nothing until it is over, such as the loading of a model."""
        self._sign(doing, piecewise=False)

    def _sign(self, doing: str, piecewise: bool) -> None:
        with self._pending:
            self._signs = {"doing": doing, "piecewise": piecewise, "moved_at": time.time()}

    def move(self, to: str, why: str = "") -> None:
        """Change the job's state, after handing in what was measured. LeaseLost if it is not ours any more."""
        patiently(self.hand_in)
        if to not in LIVE:
            self._finish()
        self.job = patiently(lambda: self._store.move(self.job.id, to, why=why, who="worker", token=self.job.token))

    def begin_again(self, why: str, **settings: Any) -> None:
        """Put the job back into the queue with other settings, after handing in what was measured. LeaseLost."""
        patiently(self.hand_in)
        self._finish()
        self.job = patiently(lambda: self._store.begin_again(self.job.id, self.job.token, why, **settings))

    def hand_in(self) -> None:
        """Write what is pending in one transaction; on an error it stays pending. LeaseLost, StoreError."""
        with self._handing_in:
            with self._pending:
                if not self._metrics and not self._progress:
                    return
                metrics, progress = self._metrics, {**self._progress, **self._signs}
                self._metrics, self._progress, self._signs = {}, {}, {}
            try:
                self._store.report(self.job.id, self.job.token, metrics=list(metrics.values()), progress=progress)
            except BaseException:
                with self._pending:
                    self._metrics = {**metrics, **self._metrics}
                    self._progress = {**progress, **self._progress}
                raise
            self._reported_at = time.monotonic()

    def _run(self) -> None:
        while not self._over:
            self._wake.wait(TICK)
            self._wake.clear()
            if not self._over:
                self._attempt(self._look)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do it; a lost lease is noted, any other trouble of the library is logged and tried again later."""
        try:
            action()
        except LeaseLost:
            if not self._over:
                self.lost = True
                self._call_off()
        except StoreError as error:
            log.warning("the library did not take it, trying again: %s", error)

    def _look(self) -> None:
        # Looked at before anything is written: a library that another program keeps can be read, and not written.
        row = self._store.job(self.job.id)
        self.stop = row.stop
        if row.stop in ("cancel", "pause"):
            self._call_off()
        if row.token != self.job.token:
            raise LeaseLost(f"Job {row.id} was given to another worker.")
        now = time.monotonic()
        if now - self._reported_at >= REPORT:
            self.hand_in()
        if now - self._beat_at >= BEAT:
            self._beat()
            self._beat_at = now

    def _beat(self) -> None:
        with self._pending:
            self._progress.update(self._signs)
            moved, self._signs = bool(self._signs), {}
        if moved:
            self.hand_in()
        else:
            self._store.beat(self.job.id, self.job.token)

    def _call_off(self) -> None:
        if not self._void:
            self._void = True
            self._on_cancel()
