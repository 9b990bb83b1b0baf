"""A real studio in a process of its own, and a real Chromium that looks at it.

The server has a free port and a data folder whose starter model is the tiny one, so that nothing is downloaded. One
server and one window serve a whole file of tests, so that a page's scripts are compiled once; what a page keeps in the
browser goes when its test ends. Page, runner, workers and answerer are forked from a process that has
imported what they need; `test_whole_path.py` starts them as a person does.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Error, Page, Request, Route, expect, sync_playwright

from adapters_store.store import Store
from studio import launch
from tests.faults.nursery import Forked, Nursery
from tests.workshop import add_base, wait_for

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
expect.set_options(timeout=45_000)  # milliseconds, as for every other wait of the page
STARTING = 90.0  # seconds; importing Gradio on a busy machine takes a while


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, so that `-m "not browser"` leaves it out."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Served:
    """A studio that is being served: its store, and the address with the token that opens it."""

    store: Store
    link: str

    def at(self, query: str = "") -> str:
        """The address of the page with more in its query, such as `tab=runs&job=1`."""
        return f"{self.link}&{query}" if query else self.link


def serve(root: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start the studio as a person does; its output goes to a file beside the data folder."""
    command = [sys.executable, str(ROOT / "app.py"), "--data-dir", str(root), "--port", "0", "--no-browser"]
    output = root.with_suffix(".log").open("wb")
    with output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )


def fork(root: Path, **environment: str) -> Forked:
    """Start the studio like `serve`, for the price of a fork: it, its runner and workers have imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        words = ["-m", "app", "--data-dir", str(root), "--port", "0", "--no-browser"]
        return _nursery().fork(words, root.with_suffix(".log"))


@functools.cache
def _nursery() -> Nursery:
    """One for all files of this folder."""
    nursery = Nursery("studio.server", "studio.launch", "uvicorn", "jobs.answerer", "jobs.requests", "engine.generate")
    nursery.__enter__()
    atexit.register(nursery.__exit__, None, None, None)
    return nursery


Start = Callable[..., "Forked | subprocess.Popen[bytes]"]


def with_starter(root: Path) -> Store:
    """A data folder in which the tiny model stands for the starter model, so that none is fetched."""
    store = Store(root)
    add_base(store, source="starter")
    return store


def served(root: Path, store: Store, start: Start = fork, **environment: str) -> Iterator[Served]:
    """Serve a data folder for as long as the iterator is held. Ends the page, the runner and what they started."""
    page = start(root, **environment)

    def open_at() -> str | None:
        assert page.poll() is None, root.with_suffix(".log").read_text()
        return launch.address(root)

    try:
        link = wait_for(open_at, STARTING, "the page to say where it is")
        assert link is not None
        yield Served(store, link)
    finally:
        _end_work(store)
        page.terminate()
        page.wait(timeout=20)
        store.close()


def _end_work(store: Store) -> None:
    live = ("queued", "starting", "running", "finishing")
    for job in store.jobs(states=list(live)):
        store.request_stop(job.id, "cancel", "test")

    def settled() -> bool:
        return not store.jobs(states=list(live))

    wait_for(settled, 60, "all jobs to end")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio with the tiny model as its starter and the bundled samples."""
    store = with_starter(tmp_path_factory.mktemp("studio") / "data")
    yield from served(store.files.root, store)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, for this folder: while it is open, its event loop holds the main thread."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.fail("No Chromium found. Install it, for example: apt-get install chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile for one file of tests; one for all would hold a gigabyte of pages that are gone."""
    with browser.new_context(viewport=DESK) as profile:
        yield profile


OpenPage = Callable[..., Page]


class Late:
    """Keeps back what a page asks its server's queue, as a slow machine does; not what contains `but`."""

    def __init__(self, but: str | None = None) -> None:
        self.held: list[Route] = []
        self.but, self.over = but, False

    def hold(self, page: Page) -> None:
        page.route("**/queue/join*", self._take)

    def _take(self, route: Route) -> None:
        passes = self.over or (self.but is not None and self.but in (route.request.post_data or ""))
        route.continue_() if passes else self.held.append(route)

    def release(self, backwards: bool = False) -> None:
        """Let go what was held and all that comes."""
        self.over = True
        for route in self.held[:: -1 if backwards else 1]:
            route.continue_()


@pytest.fixture
def open_page(profile: BrowserContext, studio: Served) -> Iterator[OpenPage]:
    """Opens the studio in a new window. Afterwards: no script has failed and nothing outside was asked for."""
    yield from _pages_in(profile, studio)


def pages_of(browser: Browser, studio: Served) -> Iterator[OpenPage]:
    """What `open_page` does, in a fresh profile, for a studio of one's own."""
    with browser.new_context(viewport=DESK) as profile:
        yield from _pages_in(profile, studio)


def _pages_in(profile: BrowserContext, studio: Served) -> Iterator[OpenPage]:
    faults: list[str] = []
    left = list(profile.pages)  # the window of the test before: its scripts are compiled, which is half of opening one

    def failed(error: Error) -> None:
        faults.append(str(error))

    def asked(request: Request) -> None:
        _only_here(request.url, faults)

    def open_it(query: str = "", phone: bool = False, prepare: Callable[[Page], None] | None = None) -> Page:
        page = left.pop() if left else profile.new_page()
        page.set_viewport_size(PHONE if phone else DESK)
        page.on("pageerror", failed)
        page.on("request", asked)
        page.set_default_timeout(45_000)
        if prepare:
            prepare(page)
        # The address is known before the page is built, so the first answer may take a while.
        page.goto(studio.at(query), timeout=1000 * STARTING, wait_until="domcontentloaded")
        page.get_by_role("heading", name="LoRA Studio").wait_for()
        return page

    yield open_it
    for page in profile.pages[1:]:
        page.close()
    for page in profile.pages:
        page.unroute_all(behavior="ignoreErrors")
        _forget(page, studio)
        page.goto("about:blank")
        page.remove_listener("pageerror", failed)
        page.remove_listener("request", asked)
    profile.clear_cookies()
    assert faults == []


def _forget(page: Page, studio: Served) -> None:
    """Empty what the page keeps in this window, on an empty page in its place: it keeps things as it is left."""
    page.route("**/empty", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(urljoin(studio.link, "/empty"))
    page.evaluate("{ localStorage.clear(); sessionStorage.clear() }")
    page.unroute_all()


def _only_here(url: str, faults: list[str]) -> None:
    address = urlsplit(url)
    if address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1":
        faults.append(f"asked for {url}")


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The studio, opened on the Train tab of a desk screen."""
    return open_page()


# Colours fade: half way they may lack contrast. What moves for ever is not waited for.
_SETTLED = """() => Promise.allSettled(document.getAnimations()
  .filter(one => one.effect.getComputedTiming().endTime < Infinity).map(one => one.finished))"""


def blocking_faults(page: Page) -> list[tuple[str, str, list[str]]]:
    """What axe finds that keeps somebody out on the page as it is; in the other theme only the colours differ."""
    found = []
    for rules in ({}, {"runOnly": ["color-contrast"]}):
        page.evaluate(_SETTLED)
        for fault in Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found.append((fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]]))
        dark = page.locator("body.dark").count()
        page.locator("#theme-switch").click()
        expect(page.locator("body.dark")).to_have_count(1 - dark)
    return found
