"""The progress of a job on stderr: a bar where that is a terminal, a line now and then where it is a file or a pipe.

Knows jobs only by what they say about themselves. Nothing here goes to stdout, which belongs to results.
"""

import threading
import time
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from adapters_store.store import FINAL, Store
from adapters_store.tables import Job
from jobs import runner
from jobs.progress import duration, job_sentence, loss_text, measured
from studio.terminal import plain, say

POLL = 0.25  # seconds between two looks at a job
PLAIN_EVERY = 15.0  # seconds between two lines where there is no terminal to redraw
RUNNER_EVERY = 5.0  # seconds between two checks that a runner is there
ENDED = (*FINAL, "interrupted", "paused")  # nobody works on it, and nobody will by itself


def follow(store: Store, job_id: int, enough: threading.Event | None = None) -> Job:
    """Show the progress of a job on stderr until it ends, or until there is `enough`, and return it as it is then.

    A bar where stderr is a terminal; a line now and then where it is a file or a pipe.
    """
    console, looks = Console(stderr=True, highlight=False), _looks(store, job_id, enough or threading.Event())
    return _bar(looks, console) if console.is_terminal else _lines(looks)


def _bar(looks: Iterable[Job], console: Console) -> Job:
    columns = (TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, said="")
        for job in looks:
            done, total = _measure(job)
            name, said = escape(plain(job.name)), escape(plain(_figures(job)))
            bar.update(task, description=name, completed=done, total=total, said=said)
    console.print(f"{job.name}: {job_sentence(job)}", markup=False)
    return job


def _lines(looks: Iterable[Job]) -> Job:
    told, due = "", 0.0
    for job in looks:
        sentence = f"{job.name}: {job_sentence(job)}"
        if sentence != told and (time.monotonic() >= due or job.state in ENDED):
            say(sentence)
            told, due = sentence, time.monotonic() + PLAIN_EVERY
    return job


def _looks(store: Store, job_id: int, enough: threading.Event) -> Iterable[Job]:
    """The job, again and again, up to and including its end. A runner that died is replaced meanwhile."""
    seen_to, before = 0.0, ""
    while True:
        if time.monotonic() - seen_to > RUNNER_EVERY:
            runner.ensure(store.files.root)
            seen_to = time.monotonic()
        job = store.job(job_id)
        yield job
        # The runner may be about to queue again what it has just found interrupted: that is seen at the next look.
        settled = job.state in (*FINAL, "paused") or job.state == before == "interrupted"
        if settled or enough.wait(POLL):
            return
        before = job.state


def _measure(job: Job) -> tuple[float, float | None]:
    """Done and all, in steps or bytes; no total while neither is known."""
    done, total = (job.progress.get(key) for key in measured(job.kind))
    return float(done or 0), float(total) if total else None


def _figures(job: Job) -> str:
    """The few figures that fit beside a bar; a sentence while there are none."""
    p = job.progress
    if job.kind != "train" or job.state != "running" or not p.get("step"):
        return job_sentence(job)
    said = [f"{p['step']}/{p['steps']}"]
    if p.get("loss") is not None:
        said.append(f"loss {loss_text(p['loss'])}")
    if p.get("validation_loss") is not None:
        said.append(f"validation {loss_text(p['validation_loss'])}")
    if p.get("seconds_left") is not None:
        said.append(f"{duration(p['seconds_left'])} left")
    return "  ".join(said)
