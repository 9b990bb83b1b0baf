"""The worker processes of a runner: starts them, knows which have ended, and ends one that is to go.

Knows nothing about why one is started or ended, and nothing about the states of jobs.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import process
from jobs.devices import Place

log = logging.getLogger("runner")

KILL_GRACE = 2.0  # seconds between asking and killing


class Workers:
    """The workers that were started here, by the job of each. Those of the runner before are known by the job's row."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._started: dict[int, subprocess.Popen[bytes]] = {}
        self._given: dict[int, str | None] = {}  # the device of each

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._started

    def __bool__(self) -> bool:
        return bool(self._started)

    def work_on(self, job: Job) -> bool:
        """Whether a process works on the job, started here or by the runner before."""
        return job.id in self._started or (job.owner is not None and process.alive(job.owner))

    def device_of(self, job_id: int) -> str | None:
        """The device that the worker of this job was given, by name."""
        return self._given.get(job_id)

    def start(self, job: Job, place: Place | None) -> None:
        """Start a worker for the job, on the device at `place` where devices have names."""
        words = [str(job.id), "--data-dir", str(self._store.files.root)]
        words += ["--device", place.name, "--visible", place.visible] if place else []
        command = process.module_command("jobs.worker", *words)
        self._started[job.id] = process.start_detached(command, self._store.files.log(f"job-{job.id}"))
        self._given[job.id] = place.name if place else None
        log.info("job %s (%s): worker %s %s", job.id, job.name, self._started[job.id].pid, self._given[job.id] or "")

    def ended(self) -> Iterator[tuple[int, int]]:
        """The jobs whose workers have ended, each with the exit status. One is forgotten when the next is asked for."""
        for job_id, worker in list(self._started.items()):
            returncode = worker.poll()
            if returncode is not None:
                yield job_id, returncode
                del self._started[job_id]

    def end(self, job: Job) -> bool:
        """End the worker of the job, with all it started. False if it is still there, as one in the kernel may be."""
        if job.owner is not None:
            process.end(job.owner, KILL_GRACE)
        worker = self._started.pop(job.id, None)
        if worker is not None:
            process.let_go(worker)
        return job.owner is None or not process.alive(job.owner)
