"""What the command line shows: progress of a job on stderr, tables and answers as plain text on stdout.

Knows jobs only by what they say about themselves. Progress never goes to stdout, which belongs to results; text made by
people or models never reaches the terminal with its control characters.
"""

import json
import shutil
import sys
import textwrap
import threading
import time
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from adapters_store.store import FINAL, Store
from adapters_store.tables import Job
from jobs import runner
from jobs.progress import duration, job_sentence, loss_text

POLL = 0.25  # seconds between two looks at a job
PLAIN_EVERY = 15.0  # seconds between two lines where there is no terminal to redraw
RUNNER_EVERY = 5.0  # seconds between two checks that a runner is there
ENDED = (*FINAL, "interrupted")  # nobody works on it, and nobody will by itself


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
        settled = job.state in FINAL or job.state == before == "interrupted"
        if settled or enough.wait(POLL):
            return
        before = job.state


def _measure(job: Job) -> tuple[float, float | None]:
    """Done and all, in steps or bytes; no total while neither is known."""
    keys = ("step", "steps") if job.kind == "train" else ("done_bytes", "total_bytes")
    done, total = (job.progress.get(key) for key in keys)
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


def say(sentence: str) -> None:
    """A sentence for the person, on stderr."""
    print(plain(sentence), file=sys.stderr, flush=True)


def print_json(record: object) -> None:
    """One JSON value on stdout, and nothing else."""
    json.dump(record, sys.stdout, ensure_ascii=False, indent=2)
    print(flush=True)


def show(as_json: bool, record: object, text: str) -> None:
    """The answer of a command on stdout: `record` as JSON, or else `text`."""
    if as_json:
        print_json(record)
    else:
        print(text)


def plain(text: str) -> str:
    """`text` without the control characters that make a terminal do things; line ends and tabs stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns of plain text, two spaces apart, under their heads; None is left empty."""
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else plain(str(value)).replace("\n", " ")


def side_by_side(heads: Sequence[str], texts: Sequence[str], width: int | None = None) -> str:
    """Texts in columns next to each other, each wrapped to its share of `width` characters (default: the terminal)."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    share = max(20, (width - 3 * (len(heads) - 1)) // len(heads))
    columns = [
        [*_wrapped(head, share), "-" * share, *_wrapped(text, share)] for head, text in zip(heads, texts, strict=True)
    ]
    lines = zip_longest(*columns, fillvalue="")
    return "\n".join(" | ".join(cell.ljust(share) for cell in line).rstrip() for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return [line for part in plain(text).expandtabs(4).splitlines() for line in textwrap.wrap(part, width) or [""]]
