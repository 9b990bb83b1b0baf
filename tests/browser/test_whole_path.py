"""The whole path as one person walks it: start, watch, lose the page, come back, stop, keep, compare."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from adapters_store.store import Store
from jobs import process
from studio import launch
from tests.browser.conftest import STARTING, _end_work, serve, with_starter
from tests.workshop import wait_for

SLOW = 60_000  # milliseconds; a worker has to load torch


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = with_starter(tmp_path / "data")
    yield store
    _end_work(store)
    store.close()


def _link(store: Store) -> str:
    link = wait_for(lambda: launch.address(store.files.root), STARTING, "the page to say where it is")
    assert link is not None
    return link


def _curve(page: Page, points: int) -> dict[int, float]:
    page.wait_for_function(
        "points => document.querySelector('.plot')?.data?.[0]?.x?.length >= points", arg=points, timeout=SLOW
    )
    steps, losses = page.evaluate(
        "() => { const raw = document.querySelector('.plot').data[0]; return [Array.from(raw.x), Array.from(raw.y)] }"
    )
    return dict(zip(steps, losses, strict=True))


def test_a_run_outlives_the_page_that_started_it_and_ends_in_a_comparison(browser: Browser, store: Store) -> None:
    root = store.files.root
    first = serve(root)
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(SLOW)
    page.goto(_link(store), timeout=1000 * STARTING)

    # Start: model and sample are chosen, so it is one press; the epochs keep it busy until it is stopped.
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Epochs").fill("500")
    page.get_by_role("button", name="Start fine-tune").click()
    page.get_by_role("button", name="Open the run").click()
    before = _curve(page, 5)
    (job,) = store.jobs(kinds=["train"])
    assert job.owner is not None

    # The page is killed; the worker trains on, and another page finds it.
    first.send_signal(signal.SIGKILL)
    first.wait()
    seen = store.metrics(job.id)[-1].step
    wait_for(lambda: store.metrics(job.id)[-1].step > seen, 60, "the run to go on without a page")
    second = serve(root)
    try:
        page.goto(_link(store) + f"&tab=runs&job={job.id}", timeout=1000 * STARTING)
        after = _curve(page, len(before))
        shared = before.keys() & after.keys()
        assert len(shared) >= 5
        assert all(before[step] == after[step] for step in shared)
        assert process.alive(job.owner)
        steps = [metric.step for metric in store.metrics(job.id)]
        assert steps == list(range(steps[0], steps[-1] + 1))

        # Stop keeps the adapter; one press leads to the comparison.
        page.get_by_role("button", name="Stop and keep").click()
        page.get_by_role("button", name="Compare with the base").click()
        page.get_by_label("Prompt", exact=True).fill("Question 3: what is rain?")
        page.get_by_role("button", name="Answer").click()
        expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)
        adapter = store.adapters()[0][0]
        expect(page.locator(".answer").get_by_role("heading")).to_have_text(["base", adapter.name])
        expect(page.locator(".answer").nth(1)).to_contain_text(re.compile(rf"{adapter.sha256[-64:][:7]}[\s\S]*Seed"))
        page.get_by_role("tab", name="Library").click()
        expect(page.locator("tr[data-id]")).to_contain_text(adapter.name)
    finally:
        second.terminate()
        second.wait(timeout=20)
