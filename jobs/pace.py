"""How far a job of many small pieces is, told as it goes on. Knows nothing about what the pieces are."""

from __future__ import annotations

import time

from jobs.progress import seconds_left
from jobs.queue import Lease


class Pace:
    """Pieces of work, done and in all."""

    def __init__(self, lease: Lease, step: int, steps: int) -> None:
        self._lease, self._step, self._steps = lease, step, steps
        self._first, self._began = step, time.monotonic()

    def stage(self, doing: str) -> None:
        """Something else begins, which has a pace of its own."""
        self._first, self._began = self._step, time.monotonic()
        self._lease.report(stage=doing, step=self._step, steps=self._steps, seconds_left=None)

    def step(self, count: int) -> None:
        """So many pieces more are done."""
        self._step += count
        done, left = self._step - self._first, self._steps - self._step
        still = seconds_left(done, done + left, time.monotonic() - self._began, None)
        self._lease.report(step=self._step, seconds_left=still)
