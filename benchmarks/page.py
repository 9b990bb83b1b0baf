"""How long a person waits for the page and the command line, and what a live chart of 100,000 points costs.

    python -m benchmarks.page [--quick] [--prefix WORDS]

The studio runs in a process of its own, over a library of 10,000 adapters and 1,000,000 metric rows, and the machine's
Chromium looks at it. Needs playwright (`requirements-bench.txt`) and Chromium; without them only the command line is
measured. A cold start is one after the system was asked to drop what it keeps of the files.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.library import ADAPTERS, LONGEST, METRICS
from benchmarks.stocked import stock
from benchmarks.table import Options, Row, markdown

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from benchmarks.served import Server, Writer

ROOT = Path(__file__).parent.parent
TABS = 12
START_S, LOAD_S, HELP_S, LIST_S, CPU_PERCENT, KB_A_SECOND, BEHIND_S = 9, 2, 0.5, 1, 15, 30, 3
NEWEST = "() => document.querySelector('.plot')?.data?.[0]?.x?.at(-1) ?? 0"
RANGE = "() => [...document.querySelector('.plot').layout.xaxis.range]"
HIDE = """() => { Object.defineProperty(document, 'visibilityState', {get: () => 'hidden', configurable: true});
  document.dispatchEvent(new Event('visibilitychange')) }"""


def rows(options: Options) -> list[Row]:
    """Every figure of the page and the command line."""
    return list(_rows(options))


def _rows(options: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "data"
        stock(root, adapters=ADAPTERS, metrics=METRICS, longest=LONGEST).close()
        yield from _commands(root, options)
        yield from _pages(root, options)


# --- the command line ---------------------------------------------------------------------------------------------


def _commands(root: Path, options: Options) -> Iterator[Row]:
    help_s = _median(lambda: _run(["--help"], options), options)
    yield _seconds("`python -m studio --help`", help_s, HELP_S)
    list_s = _median(lambda: _run(["adapters", "list", "--data-dir", str(root)], options), options)
    yield _seconds(f"`python -m studio adapters list`, 1,000 of {ADAPTERS:,}", list_s, LIST_S)


def _run(words: Sequence[str], options: Options) -> float:
    began = time.perf_counter()
    command = [*options.prefix, sys.executable, "-m", "studio", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


# --- the page -----------------------------------------------------------------------------------------------------


def _pages(root: Path, options: Options) -> Iterator[Row]:
    if find_spec("playwright") is None:
        yield Row("the page", "not measured: playwright is not installed")
        return
    from benchmarks import served

    program = served.chromium()
    if program is None:
        yield Row("the page", "not measured: no Chromium was found")
        return
    with served.browsing(program) as browser:
        yield from _starts(browser, root, options)
        with served.serving(root, options.prefix) as server:
            yield from _loads(browser, server, options)
            yield from _live(browser, server, root, options)


def _starts(browser: Browser, root: Path, options: Options) -> Iterator[Row]:
    from benchmarks import served

    def start(cold: bool) -> float:
        if cold:
            served.forget_files()
        with served.serving(root, options.prefix) as server, browser.new_context() as context:
            served.opened(context, server.link)
            return time.perf_counter() - server.began

    yield _seconds("process start to first usable page, files cold", _median(lambda: start(True), options, 3), START_S)
    yield Row("the same, files warm", _s(_median(lambda: start(False), options, 3)))


def _loads(browser: Browser, server: Server, options: Options) -> Iterator[Row]:
    from benchmarks import served

    def load(context: BrowserContext) -> float:
        began = time.perf_counter()
        served.opened(context, server.link).close()
        return time.perf_counter() - began

    def first_visit() -> float:
        with browser.new_context() as context:
            return load(context)

    first_visit()
    yield _seconds("page load, empty browser cache", _median(first_visit, options), LOAD_S)
    with browser.new_context() as context:
        load(context)
        yield _seconds("page load, again", _median(lambda: load(context), options), LOAD_S)


def _live(browser: Browser, server: Server, root: Path, options: Options) -> Iterator[Row]:
    from adapters_store.store import Store
    from benchmarks import served

    store = Store(root)
    writer = served.Writer(store, LONGEST)
    try:
        with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
            yield from _one_tab(context, server, writer, options)
        with browser.new_context() as context:
            yield _many_tabs(context, server, writer, options)
    finally:
        writer.close()
        store.close()


def _one_tab(context: BrowserContext, server: Server, writer: Writer, options: Options) -> Iterator[Row]:
    page = _chart(context, server, writer)
    yield from _cost(page, server, "", options)
    _zoom(page)
    yield from _cost(page, server, ", zoomed in", options)
    yield _zoom_row(page, options)
    page.evaluate(HIDE)
    asked = _requests(page, lambda: page.wait_for_timeout(5000))
    yield Row("requests of a tab in the background, 5 s", str(asked), target="0", met=asked == 0)


def _chart(context: BrowserContext, server: Server, writer: Writer) -> Page:
    from benchmarks import served

    page = served.opened(context, server.link, f"tab=runs&job={writer.job.id}")
    page.wait_for_function(f"({NEWEST})() >= {LONGEST}")
    return page


def _cost(page: Page, server: Server, how: str, options: Options) -> Iterator[Row]:
    """Processor time and bytes of a chart that is looked at while ten steps come each second."""
    from benchmarks import served

    seconds, points = (8 if options.quick else 30), len(page.evaluate("document.querySelector('.plot').data[0].x"))
    page.wait_for_timeout(3000)
    session = page.context.new_cdp_session(page)
    sizes: list[float] = []
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    began = time.perf_counter()
    before, before_server = served.browser_cpu_seconds(), server.cpu_seconds()
    page.wait_for_timeout(1000 * seconds)
    took = time.perf_counter() - began
    browser, own = served.browser_cpu_seconds() - before, server.cpu_seconds() - before_server
    session.detach()
    what = f"live chart of {LONGEST:,} points{how}"
    percent, kilobytes = 100 * browser / took, sum(sizes) / took / 1000
    shown = f"{percent:.0f} % of a core ({points:,} points drawn)"
    yield Row(f"{what}: browser", shown, target=f"<= {CPU_PERCENT} %", met=percent <= CPU_PERCENT)
    shown = f"{kilobytes:.1f} kB/s"
    yield Row(f"{what}: received", shown, target=f"<= {KB_A_SECOND} kB/s", met=kilobytes <= KB_A_SECOND)
    yield Row(f"{what}: the page's process", f"{100 * own / took:.0f} % of a core")


def _zoom(page: Page) -> None:
    box: Any = page.locator(".plot").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, middle, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Whole run").wait_for()


def _zoom_row(page: Page, options: Options) -> Row:
    before, newest = page.evaluate(RANGE), page.evaluate(NEWEST)
    page.wait_for_function(f"({NEWEST})() >= {newest + 30}")
    kept = page.evaluate(RANGE) == before
    return Row("zoom after 30 more steps", "kept" if kept else "lost", target="kept", met=kept)


def _requests(page: Page, meanwhile: Callable[[], None]) -> int:
    page.wait_for_timeout(1500)  # what was under way arrives
    seen: list[object] = []
    page.on("request", lambda request: seen.append(request))
    meanwhile()
    return len(seen)


def _many_tabs(context: BrowserContext, server: Server, writer: Writer, options: Options) -> Row:
    """How far the slowest of many tabs lags behind what was written, in seconds, looked at again and again."""
    pages = [_chart(context, server, writer) for _ in range(TABS)]
    pages[0].wait_for_timeout(5000)
    worst, cpu, began = 0.0, server.cpu_seconds(), time.perf_counter()
    for _ in range(3 if options.quick else 10):
        for page in pages:
            worst = max(worst, (writer.step - page.evaluate(NEWEST)) / 10)
        pages[0].wait_for_timeout(1000)
    share = 100 * (server.cpu_seconds() - cpu) / (time.perf_counter() - began)
    shown = f"at most {worst:.0f} s behind, the page's process {share:.0f} % of a core"
    return Row(f"{TABS} tabs live at once", shown, target=f"<= {BEHIND_S} s behind", met=worst <= BEHIND_S)


# --- words --------------------------------------------------------------------------------------------------------


def _median(work: Callable[[], float], options: Options, rounds: int = 5) -> float:
    return statistics.median(work() for _ in range(1 if options.quick else rounds))


def _seconds(what: str, found: float, most: float) -> Row:
    return Row(what, _s(found), target=f"<= {most:g} s", met=found <= most)


def _s(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="once each, and shorter")
    parser.add_argument("--prefix", default="", help="words before every measured command, like 'taskset -c 0,1'")
    given = parser.parse_args()
    options, head = Options(Path(), quick=given.quick, prefix=tuple(shlex.split(given.prefix))), 0
    for row in _rows(options):
        print("\n".join(markdown([row]).splitlines()[head:]), flush=True)
        head = 2


if __name__ == "__main__":
    main()
