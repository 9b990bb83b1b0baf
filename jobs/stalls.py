"""Jobs that stand still: their workers live, and nothing moves. That is said first, and later ends the worker.

A heartbeat is no sign of progress: it comes from a thread of its own, which beats on while the work hangs. What counts
is what the job itself moves: its state, and what it reports of steps, bytes, stages and the pieces in between
(`Lease.moved`). Work in small pieces is measured by the slowest piece so far; work that says nothing until it is over,
such as loading a model, is given far longer.

Time is counted from look to look of the runner, and no look counts for much: a machine that slept has not waited.
Knows nothing about processes: who is to be ended is told, not done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from adapters_store.errors import LeaseLost
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import job_notes
from jobs.progress import again, duration

log = logging.getLogger("runner")

STILL = 300.0  # seconds without progress after which that is said
ENDED = 6  # times as long: the worker is ended
SLOWEST = 5  # times as long as the slowest piece so far is not too long for the next one
AT_LENGTH = 12  # times as long may pass where no piece is due soon: while a model loads, before the first piece
LOOK = 5.0  # seconds that one look counts at most

MOVES = "It moves again."
END_STALLED = "end_stalled"  # the setting: whether workers that make no progress are ended


def ends_stalled(store: Store) -> bool:
    """Whether workers that make no progress are ended, or only talked about."""
    return store.recall(END_STALLED, True) is not False


def patience() -> float:
    """Seconds without progress after which that is said: STILL, or as $LORA_STUDIO_STALL_SECONDS says."""
    try:
        asked = float(os.environ.get("LORA_STUDIO_STALL_SECONDS", ""))
    except ValueError:
        return STILL
    return asked if asked > 0 else STILL


@dataclass
class _Watched:
    """One attempt at a job, as it was seen last."""

    signs: tuple[object, ...]  # all that shows that it moves
    piecewise: bool  # whether the next small piece is due
    said: float | None  # how long it had stood still when that was said; None: not said
    at: float  # when it was first seen so, seconds since 1970
    still: float = 0.0  # seconds counted since then
    slowest: float = 0.0  # seconds of the slowest piece so far

    @property
    def patience(self) -> float:
        """Seconds that it may stand still before that is said."""
        return max(patience(), SLOWEST * self.slowest) if self.piecewise and self.slowest else AT_LENGTH * patience()


class Watch:
    """Looks at the jobs that are worked on, again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[int, _Watched] = {}
        self._looked_at: float | None = None
        self.clock: Callable[[], float] = time.monotonic

    def look(self, jobs: Iterable[Job]) -> list[tuple[Job, str]]:
        """Say of which of the jobs nothing moves, and which move again. Those whose workers are to be ended, and why.

        A job that is left out is not watched. StoreError: nothing was said then, and nothing follows from it.
        """
        now = self.clock()
        passed = min(now - self._looked_at, LOOK) if self._looked_at is not None else 0.0
        self._looked_at = now
        listed = list(jobs)
        before, self._watched = self._watched, {}
        for job in listed:
            self._watched[job.id] = self._seen(job, before.get(job.id), passed)
        for job in listed:
            self._speak(job, self._watched[job.id])
        stuck = [job for job in listed if self._is_too_long(job)]
        if not stuck or not ends_stalled(self._store):
            return []
        return [(job, _too_long(job, self._watched[job.id])) for job in stuck]

    def _seen(self, job: Job, before: _Watched | None, passed: float) -> _Watched:
        signs = (job.token, job.state, job.progress)
        piecewise = job.state == "running" and job.progress.get("piecewise") is True
        if before is None or before.signs[0] != job.token:
            # Said by the runner before this one, it has been said; how long it stood still then is not known.
            return _Watched(signs, piecewise, 0.0 if job.why else None, time.time())
        if before.signs == signs:
            before.still += passed
            return before
        # A piece that took so long that it was said is no measure of the others.
        measured = before.piecewise and piecewise and before.said is None
        took = before.still + passed if measured else 0.0
        return _Watched(signs, piecewise, None, time.time(), slowest=max(before.slowest, took))

    def _speak(self, job: Job, seen: _Watched) -> None:
        if seen.said is None and seen.still >= seen.patience:
            said = _standing(job, seen, ends_stalled(self._store))
            self._remark(job, said, said)
            seen.said = seen.still
            self._log(job, said, warning=True)
        elif seen.said is None and job.why:
            self._remark(job, "", MOVES)
            self._log(job, MOVES)

    def _remark(self, job: Job, said: str, noted: str) -> None:
        with contextlib.suppress(LeaseLost):  # it has ended meanwhile
            self._store.remark(job.id, job.token, said, noted)

    def _log(self, job: Job, sentence: str, warning: bool = False) -> None:
        log.warning("job %s: %s", job.id, sentence)
        try:
            job_notes.write(self._store, job, sentence, warning=warning)
        except OSError as error:
            log.warning("its log was not written: %s", error)

    def _is_too_long(self, job: Job) -> bool:
        # Counted from when it was said: what could not be said, as the library was busy, may be the library's doing.
        seen = self._watched[job.id]
        return seen.said is not None and seen.still - seen.said >= (ENDED - 1) * seen.patience


def _standing(job: Job, seen: _Watched, ending: bool) -> str:
    left = (ENDED - 1) * seen.patience
    then = time.strftime("%H:%M", time.localtime(time.time() + left))
    what = f"Its worker is ended if nothing moves until {then}." if ending else "It is left alone: stop it, or wait."
    return f"{_still(job, seen)}. {what}"


def _too_long(job: Job, seen: _Watched) -> str:
    return f"{_still(job, seen)}, so its worker was ended. {again(job.kind, job.checkpoint_step)}"


def _still(job: Job, seen: _Watched) -> str:
    """For how long nothing has moved, and what was the last to do so."""
    doing = _doing(job, seen.piecewise)
    at = time.strftime("%H:%M", time.localtime(seen.at))
    return f"No progress for {duration(seen.still)} (since {at}: {doing[:1].lower()}{doing[1:]})"


def _doing(job: Job, piecewise: bool) -> str:
    """What the job does, in its own last words. What it said while it worked in pieces goes for these alone."""
    told = job.progress
    words = told.get("doing") if piecewise else told.get("stage") or (not told.get("piecewise") and told.get("doing"))
    return str(words or job.state)
