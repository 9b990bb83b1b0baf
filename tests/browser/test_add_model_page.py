"""Adding base models on the page: by an id on a hub, by a file, and from what lies on this disk already."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from adapters_store.store import Store
from tests.browser.conftest import Served, pages_of, served
from tests.hub import StandIn, hub
from tests.tiny_gguf import write_tiny_gguf
from tests.workshop import add_base, shared_tiny_model

SLOW = 90_000  # milliseconds; a worker loads torch before it looks at a model
SNAPSHOT = Path("models--org--near") / "snapshots" / ("3f9c0de5" * 5)


@pytest.fixture(scope="module")
def far() -> Iterator[StandIn]:
    """A hub on loopback with one model, different from the starter by its kind."""
    with hub() as stand_in:
        stand_in.models["org/far"] = shared_tiny_model("gpt2")
        yield stand_in


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, far: StandIn) -> Iterator[Served]:
    """A studio that knows the hub, on a disk with a cache in which something cannot be used."""
    root = tmp_path_factory.mktemp("add-model")
    snapshot = root / "cache" / SNAPSHOT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    store = Store(root / "data")
    add_base(store, source="starter")
    environment = {"HF_ENDPOINT": far.endpoint, "HF_HUB_CACHE": str(root / "cache"), "HOME": str(root)}
    yield from served(root / "data", store, **environment)


@pytest.fixture
def page(browser: Browser, place: Served) -> Iterator[Page]:
    for open_page in pages_of(browser, place):
        opened = open_page()
        expect(opened.get_by_label("Base model", exact=True)).not_to_have_value("", timeout=SLOW)
        opened.get_by_role("button", name="Add a model").click()
        yield opened


def add(page: Page, text: str) -> None:
    page.get_by_label("Model folder, hub id or GGUF file").fill(text)
    page.get_by_role("button", name="Add", exact=True).click()


def test_a_model_on_a_hub_shows_its_bytes_and_becomes_the_base(page: Page, far: StandIn) -> None:
    far.faults.hold["model.safetensors"] = threading.Event()
    add(page, "org/far@v1")
    line = page.locator("#model-added")
    expect(line).to_contain_text("far waits for its turn.")
    expect(line).to_contain_text("far is on its way: 0.", timeout=SLOW)
    expect(line.get_by_role("progressbar", name="far")).to_be_visible()
    far.faults.hold.pop("model.safetensors").set()
    expect(page.get_by_label("Base model", exact=True)).to_have_value("far", timeout=SLOW)
    expect(line).to_contain_text("far is here.")


def test_a_model_that_the_hub_does_not_have_is_said_to_be_missing(page: Page) -> None:
    add(page, "org/nobody")
    alert = page.locator("#model-added").get_by_role("alert")
    expect(alert).to_contain_text("has no model org/nobody, or a private one. Check the spelling.", timeout=SLOW)
    add(page, "no such thing")
    expect(alert).to_contain_text("neither a folder nor a GGUF file on this machine")


def test_a_gguf_file_becomes_the_base(page: Page, tmp_path: Path) -> None:
    add(page, str(write_tiny_gguf(tmp_path / "tiny.F32.gguf", shared_tiny_model())))
    expect(page.get_by_label("Base model", exact=True)).to_have_value("tiny.F32", timeout=SLOW)


def test_what_lies_on_this_disk_is_offered_with_what_is_wrong_with_it(page: Page) -> None:
    page.get_by_label("Models on this disk").click()
    page.get_by_role("option", name="org/near").click()
    expect(page.get_by_label("Model folder, hub id or GGUF file")).to_have_value(re.compile(f"{SNAPSHOT}$"))
    page.get_by_role("button", name="Add", exact=True).click()
    alert = page.locator("#model-added").get_by_role("alert")
    expect(alert).to_contain_text("has no weights: no file ends in .safetensors", timeout=SLOW)
