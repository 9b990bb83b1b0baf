"""The studio as a person has it: its own process, a real browser that looks at it, and a run that writes while both do.

Knows what a page is made of only where it has to wait for a part of it. Knows nothing about which figures are wanted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs.process import identify

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds; a start from a cold disk on a busy machine
STEPS_A_SECOND = 10


class Server:
    """A studio that serves a data folder. Attributes: `link` lets a browser in, `began` is when its process started."""

    def __init__(self, root: Path, prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, "app.py", "--data-dir", str(root), "--port", "0", "--no-browser"]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.link = self._read_link()

    def _read_link(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("LoRA Studio: "):
                return line.split()[-1]
        raise RuntimeError("The studio ended before it said where it is.")

    def cpu_seconds(self) -> float:
        """Processor time of the page's process so far."""
        return _cpu([psutil.Process(self.process.pid)])

    def close(self) -> None:
        """End the page."""
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def serving(root: Path, prefix: Sequence[str] = ()) -> Iterator[Server]:
    """A served data folder for as long as the block runs."""
    server = Server(root, prefix)
    try:
        yield server
    finally:
        server.close()


def chromium() -> str | None:
    """The machine's own Chromium."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def browsing(program: str) -> Iterator[Browser]:
    """A browser for as long as the block runs; it draws by software, like one on a machine without a GPU."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def browser_cpu_seconds() -> float:
    """Processor time so far of all processes of the browser that this one started."""
    return _cpu([child for child in psutil.Process().children(recursive=True) if _is_browser(child)])


def _is_browser(process: psutil.Process) -> bool:
    """Whether it is one of Chromium's; one that ended since it was listed is none any more."""
    try:
        return "chrom" in process.name()
    except psutil.NoSuchProcess:
        return False


def _cpu(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def opened(context: BrowserContext, link: str, query: str = "") -> Page:
    """A page of the studio that can be used: its main button is there and its own scripts have run."""
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{link}&{query}" if query else link, wait_until="commit")
    if not query:
        page.get_by_role("button", name="Start fine-tune").wait_for()
        page.wait_for_function("document.getElementById('machine')?.textContent.includes('core')")
    return page


def forget_files() -> bool:
    """Ask the system to drop what it keeps in memory of this environment's files and ours; False where it cannot be."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.sync()
    for folder in (Path(os.__file__).parent, ROOT / "studio", ROOT / "jobs", ROOT / "adapters_store", ROOT / "engine"):
        _forget(folder)
    for folder in {Path(place) for place in sys.path if place.endswith("site-packages")}:
        _forget(folder)
    return True


def _forget(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in (".py", ".pyc", ".so", ".js", ".css", ".json", ".html"):
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


class Writer:
    """A run that reports ten steps once a second, as a worker does, from a thread."""

    def __init__(self, store: Store, points: int) -> None:
        """`points`: what the run has measured already."""
        self._store = store
        self.step = points
        job = store.claim(store.submit("train", "live", {"rank": 16}, base_model_id=1, data_set_id=1).id, identify())
        assert job is not None
        self.job: Job = job
        store.move(job.id, "running", who="benchmark", token=job.token)
        for start in range(0, points, 10_000):
            self._report(range(start + 1, min(points, start + 10_000) + 1), 2 * points)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(2 * points,), daemon=True)
        self._thread.start()

    def _write(self, planned: int) -> None:
        while not self._enough.wait(1.0):
            self._report(range(self.step + 1, self.step + STEPS_A_SECOND + 1), planned)
            self.step += STEPS_A_SECOND

    def _report(self, steps: range, planned: int) -> None:
        rows = [_measured(step) for step in steps]
        progress = {"step": steps[-1], "steps": planned, "loss": rows[-1]["loss"], "seconds_left": 4000.0}
        self._store.report(self.job.id, self.job.token, metrics=rows, progress=progress)

    def close(self) -> None:
        """End the run."""
        self._enough.set()
        self._thread.join()
        self._store.move(self.job.id, "failed", who="benchmark", token=self.job.token, why="The benchmark is over.")


def _measured(step: int) -> dict[str, float]:
    loss = 1 + 2 / (1 + step * 0.002) + (step * 7919 % 1000) / 4000
    row = {"step": step, "loss": loss, "learning_rate": 2e-4, "gradient_norm": 1 + (step * 31 % 97) / 97}
    row |= {"tokens": 512 * step, "tokens_per_second": 900 + step % 40, "memory_bytes": 1_200_000_000}
    return row | {"seconds": step * 0.25} | ({"validation_loss": loss} if step % 1000 == 0 else {})
