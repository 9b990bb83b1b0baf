"""Going on from an adapter as a person does it: from the Library to Train, and from a finished run to more epochs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
from tests.browser.conftest import OpenPage, Served, blocking_faults, served, with_starter
from tests.workshop import QUICK, add_rows, wait_for_state

SLOW = 60_000  # milliseconds; a worker has to load torch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio with the tiny model and a finished run of it, whose adapter is called pirate."""
    store = with_starter(tmp_path_factory.mktemp("studio") / "data")
    finish(store)
    yield from served(store.files.root, store)


def finish(store: Store) -> None:
    """A run that is done here and now."""
    from jobs.ending import Ending
    from jobs.worker import do

    base = store.base_models()[0]
    values = {**QUICK, "target_modules": ["q_proj"]}
    job = store.submit("train", "pirate", values, base_model_id=base.id, data_set_id=add_rows(store).id)
    do(store, job.id, Ending())
    wait_for_state(store, job.id, "completed")


def pirate(store: Store) -> Adapter:
    return store.adapter(1)


def newest(store: Store) -> Job:
    return store.jobs(kinds=["train"], limit=1)[0]


def test_an_adapter_is_trained_on_from_the_library_with_its_shape_locked(open_page: OpenPage, studio: Served) -> None:
    page = open_page("tab=library&adapter=1")
    page.get_by_role("button", name="Train on from here").click()
    start = page.get_by_label("Start from")
    expect(start).to_have_value("pirate (r 4)")
    rank = page.get_by_label("number input for Rank (r)")
    expect(rank).to_have_value("4")
    expect(rank).to_be_disabled()
    expect(page.get_by_text("The run goes on from pirate and keeps its shape")).to_be_visible()
    assert blocking_faults(page) == []

    # Back to the base the fields are free again, and there once more: a choice is never a trap.
    choose(page, "The base model")
    expect(rank).to_be_enabled()
    choose(page, "pirate (r 4)")
    expect(rank).to_be_disabled()

    page.get_by_role("button", name="Start fine-tune").click()
    page.get_by_role("button", name="Open the run").click()
    expect(page.locator(".about")).to_contain_text("from pirate")
    job = newest(studio.store)
    assert (job.start_adapter_id, job.settings["rank"], job.settings["target_modules"]) == (1, 4, ["q_proj"])
    done = wait_for_state(studio.store, job.id, "completed", seconds=90)
    child = studio.store.adapter(done.adapter_id or 0)
    assert child.parent_id == 1

    # What it came from is still said after that is gone.
    page.get_by_role("button", name="Show in library").click(timeout=SLOW)
    expect(page.locator("#library-card")).to_contain_text("Started from")
    studio.store.delete_adapter(1)
    page.reload()
    expect(page.locator("#library-card")).to_contain_text("pirate")
    studio.store.restore_adapter(1)


def choose(page: Page, words: str) -> None:
    page.get_by_label("Start from").click()
    page.get_by_role("option", name=words, exact=True).click()


def test_a_finished_run_is_given_more_epochs(open_page: OpenPage, studio: Served) -> None:
    page = open_page("tab=runs&job=1")
    more = page.get_by_role("button", name="More epochs")
    more.click()
    field = page.get_by_label("More epochs")
    expect(field).to_be_focused()
    expect(field).to_have_value("2")
    expect(page.get_by_text("The learning rate schedule starts anew")).to_be_visible()
    assert blocking_faults(page) == []

    field.fill("0")
    page.get_by_role("button", name="Train on", exact=True).click()
    expect(page.get_by_text("Epochs is 0, but should be")).to_be_visible()
    more.click()
    field.fill("1")
    field.press("Enter")
    expect(page.locator(".about")).to_contain_text("from pirate")
    job = newest(studio.store)
    assert (job.start_adapter_id, job.settings["epochs"], job.settings["rank"]) == (1, 1, 4)
    wait_for_state(studio.store, job.id, "completed", seconds=90)
