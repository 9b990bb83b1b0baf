"""What a long queue costs the page, and whether many tabs keep up with a run: measured, and written into docs/queue.md.

    python -m tests.night [--jobs 50] [--tabs 20] [--only drain|tabs]

The studio is served as a person starts it, by a process of its own with its own runner and workers, and Chromium looks
at it. Ends with 1 if something did not hold; the document is written when both were measured. Knows nothing about what
a page is made of but its curve.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page

from adapters_store.states import FINAL
from adapters_store.store import Store
from benchmarks.served import Server, Writer, browsing, chromium, opened, serving
from benchmarks.table import Row, markdown
from studio import line
from tests.workshop import QUICK, add_base, add_rows

DOCUMENT = Path(__file__).parent.parent / "docs" / "queue.md"
BEGIN, END = "<!-- night: begin -->", "<!-- night: end -->"
MOST_BYTES, MOST_MORE = 50e6, 8  # threads or handles: the pool for requests breathes by a few
BEHIND_S, STEPS_A_SECOND = 5.0, 10
SETTLING, PATIENCE = 10.0, 1800.0
NEWEST = "() => document.querySelector('.plot')?.data?.[0]?.x?.at(-1) ?? 0"


@dataclass(frozen=True)
class Held:
    """What the page's process holds at a moment."""

    memory: int
    threads: int
    handles: int


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.night", description="A night's queue, and many tabs.")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--tabs", type=int, default=20)
    parser.add_argument("--only", choices=("drain", "tabs"))
    asked = parser.parse_args()
    program = chromium()
    if program is None:
        parser.error("Chromium is needed, and none was found.")
    rows: list[Row] = []
    with browsing(program) as browser:
        if asked.only != "tabs":
            rows += _shown(_drain(browser, asked.jobs))
        if asked.only != "drain":
            rows += _shown(_tabs(browser, asked.tabs))
    if asked.only is None:
        _write(rows)
    return int(any(row.met is False for row in rows))


def _shown(rows: Iterator[Row]) -> list[Row]:
    found = []
    for row in rows:
        print(f"{row.what}: {row.ours} ({row.target}): {row.met}", flush=True)
        found.append(row)
    return found


def _write(rows: list[Row]) -> None:
    text = DOCUMENT.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    on = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}."
    DOCUMENT.write_text(f"{before}{BEGIN}\nMeasured on {on}\n\n{markdown(rows)}\n{END}{after}", "utf-8")


# --- a queue that nobody attends to --------------------------------------------------------------------------------


def _drain(browser: Browser, count: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="night-", ignore_cleanup_errors=True) as folder:
        store = Store(Path(folder) / "data")
        base, data = add_base(store, source="starter"), add_rows(store)
        with serving(store.files.root) as server, browser.new_context() as context:
            page = opened(context, server.link, "tab=runs")
            page.wait_for_timeout(1000 * SETTLING)
            before = _held(server)
            line.pause_queue(store, True)
            ids = [
                store.submit("train", f"run {n}", QUICK, base_model_id=base.id, data_set_id=data.id).id
                for n in range(count)
            ]
            store.place_in_line(ids[-1], "first")  # the order is that of the line, not of the numbers
            began, seen = time.monotonic(), [before]
            line.pause_queue(store, False)
            while any(job.state not in FINAL for job in store.jobs(kinds=["train"], limit=count)):
                if time.monotonic() - began > PATIENCE:
                    break
                page.wait_for_timeout(1000)
                seen.append(_held(server))
            took = time.monotonic() - began
            page.wait_for_timeout(1000 * SETTLING)
            after = _held(server)
        yield from _drained(store, [ids[-1], *ids[:-1]], took)
        yield from _grown(before, seen, after)
        store.close()


def _held(server: Server) -> Held:
    page = psutil.Process(server.process.pid)
    return Held(page.memory_info().rss, page.num_threads(), page.num_fds())


def _drained(store: Store, wanted: list[int], took: float) -> Iterator[Row]:
    count = len(wanted)
    jobs = store.jobs(kinds=["train"], limit=count)
    done = [job for job in jobs if job.state == "completed" and job.attempt == 1]
    order = [job.id for job in sorted(done, key=lambda job: job.started_at or 0)]
    at = {job.id: (job.started_at or 0, job.finished_at or 0) for job in done}
    apart = all(at[one][1] <= at[following][0] for one, following in itertools.pairwise(order))
    told = f"{len(done)} completed at the first attempt, in {took / 60:.1f} min"
    yield Row(f"{count} queued runs", told, "", "", f"{count}", len(done) == count)
    how = ("in the order of the line" if order == wanted else "out of order") + ("" if apart else ", two at a time")
    yield Row("their order", how, "", "", "that of the line, one at a time", order == wanted and apart)


def _grown(before: Held, seen: list[Held], after: Held) -> Iterator[Row]:
    most = max(one.memory for one in [*seen, after]) - before.memory
    told = f"{before.memory / 1e6:.0f} MB, at most {most / 1e6:+.0f} MB, at the end "
    told += f"{(after.memory - before.memory) / 1e6:+.0f} MB"
    yield Row("memory of the page's process", told, "", "", f"< {MOST_BYTES / 1e6:.0f} MB more", most < MOST_BYTES)
    for what, one in (("threads", lambda held: held.threads), ("open files and sockets", lambda held: held.handles)):
        start, end, top = one(before), one(after), max(map(one, seen))
        flat = end - start <= MOST_MORE
        yield Row(f"{what} of it", f"{start}, at most {top}, at the end {end}", "", "", "flat", flat)


# --- many tabs ------------------------------------------------------------------------------------------------------


def _tabs(browser: Browser, count: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="tabs-", ignore_cleanup_errors=True) as folder:
        store = Store(Path(folder) / "data")
        add_base(store, source="starter")
        add_rows(store)
        writer = Writer(store, 1000)
        try:
            with serving(store.files.root) as server, browser.new_context() as context:
                pages = [opened(context, server.link, f"tab=runs&job={writer.job.id}") for _ in range(count)]
                for page in pages:
                    page.wait_for_function(f"({NEWEST})() >= 1000")
                yield _behind(pages, writer)
        finally:
            writer.close()
            store.close()


def _behind(pages: list[Page], writer: Writer) -> Row:
    """How far the slowest tab is behind what was written, looked at again and again, and whether each of them moved."""
    first = [page.evaluate(NEWEST) for page in pages]
    worst = 0.0
    for _ in range(10):
        pages[0].wait_for_timeout(2000)
        for page in pages:
            worst = max(worst, (writer.step - page.evaluate(NEWEST)) / STEPS_A_SECOND)
    moved = sum(page.evaluate(NEWEST) > start for page, start in zip(pages, first, strict=True))
    told = f"{moved} updated, the slowest {worst:.0f} s behind"
    met = moved == len(pages) and worst <= BEHIND_S
    return Row(
        f"{len(pages)} tabs on a live run, looked at ten times", told, "", "", f"<= {BEHIND_S:.0f} s behind", met
    )


if __name__ == "__main__":
    sys.exit(main())
