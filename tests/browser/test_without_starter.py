"""The page where the starter model cannot be fetched: it says why, and everything else works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from adapters_store.store import Store
from tests.browser.conftest import Served, pages_of, serve, served
from tests.workshop import shared_tiny_model

SLOW = 90_000  # milliseconds; a worker loads torch before it looks at a model
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": ""}


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A fresh studio on a machine that reaches no package index."""
    root = tmp_path_factory.mktemp("offline") / "data"
    # A forked worker would have failed before the page could say that the model is on its way.
    yield from served(root, Store(root), serve, **OFFLINE)


@pytest.fixture
def page(browser: Browser, offline: Served) -> Iterator[Page]:
    for open_page in pages_of(browser, offline):
        yield open_page()


def test_a_fetch_that_fails_says_why_and_a_folder_takes_its_place(page: Page, tmp_path: Path) -> None:
    reason = page.get_by_role("alert").filter(has_text="No connection to the Python package index")
    expect(reason).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    expect(page.get_by_label("Data set", exact=True)).to_have_value(re.compile("pirate-style"))

    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.locator("#problems")).to_contain_text("There is no base model yet.")

    path = page.get_by_label("Model folder")
    path.fill(str(tmp_path))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#model-added")).to_contain_text("is not a model folder")

    path.fill(str(shared_tiny_model()))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#model-added")).to_contain_text("Looking at")
    expect(page.get_by_label("Base model", exact=True)).to_have_value("llama", timeout=SLOW)
    expect(page.locator("#trained-count")).to_contain_text("trained numbers")
    expect(page.get_by_text("counted from your data")).to_be_visible(timeout=SLOW)


def test_retry_asks_once_more(page: Page, offline: Served) -> None:
    expect(page.get_by_role("button", name="Retry")).to_be_visible(timeout=SLOW)
    before = len(offline.store.jobs(kinds=["fetch"]))
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The starter model is on its way")).to_be_visible()
    assert len(offline.store.jobs(kinds=["fetch"])) == before + 1
