"""The queue as a person meets it: turns are changed by keyboard and mouse, and the queue pauses and goes on.

No runner is needed: what waits here is never begun.
"""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from adapters_store.store import Store
from adapters_store.tables import Adapter
from jobs.process import identify
from jobs.queue import QUEUE_PAUSED
from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.furnish import add_adapter
from tests.workshop import QUICK, add_rows, wait_for


def queued(store: Store, *names: str) -> list[int]:
    base, data = store.base_models()[0], add_rows(store)
    return [store.submit("train", name, QUICK, base_model_id=base.id, data_set_id=data.id).id for name in names]


def listed(page: Page) -> list[str]:
    return page.locator(".run-group.queue .run-name").all_inner_texts()


def test_turns_are_changed_and_the_queue_is_paused_on_the_page(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    store.remember(QUEUE_PAUSED, True)  # whatever runner there is begins nothing
    first, second, third = queued(store, "first", "second", "third")
    page = open_page(f"tab=runs&job={first}")
    said = page.get_by_text("The queue is paused: no waiting run starts until it goes on.")
    expect(said).to_be_visible()
    expect(page.locator(".run-group.queue .run-row")).to_have_count(3)
    assert blocking_faults(page) == []

    up = page.get_by_role("button", name="Move third up")
    up.focus()
    page.keyboard.press("Enter")
    wait_for(lambda: listed(page) == ["first", "third", "second"], 20, "the third to be second")
    expect(up).to_be_focused()
    page.keyboard.press("Enter")
    wait_for(lambda: listed(page) == ["third", "first", "second"], 20, "the third to be first")
    expect(up).to_have_attribute("aria-disabled", "true")
    page.get_by_role("button", name="Move third down").click()
    wait_for(lambda: [job.id for job in store.waiting()] == [first, third, second], 20, "the store to know")
    page.reload()
    expect(page.locator(".run-group.queue .run-row").nth(1)).to_contain_text("third")

    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".open-head").get_by_text("paused")).to_be_visible()
    expect(page.get_by_role("button", name="Move first up")).to_have_count(0)
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator(".open-head").get_by_text("queued")).to_be_visible()
    assert [job.id for job in store.waiting()] == [first, third, second]

    for job in (first, second, third):
        store.request_stop(job, "cancel", "test")
    page.get_by_role("button", name="Continue the queue").click()
    expect(said).to_be_hidden()
    wait_for(lambda: store.recall(QUEUE_PAUSED) is False, 20, "the queue to go on")
    page.get_by_role("button", name="Pause the queue").click()
    expect(said).to_be_visible()
    store.remember(QUEUE_PAUSED, False)


def test_the_same_wish_in_two_tabs_has_one_ticket(open_page: OpenPage) -> None:
    def ticket(page: Page, wish: str, at: int) -> str:
        given = page.evaluate(
            "([wish, at]) => { Date.now = () => at; return window.studioTicket([wish, ''])[1] }", [wish, at]
        )
        assert isinstance(given, str)
        return given

    one, other = open_page("tab=train"), open_page("tab=train")
    for page in (one, other):
        page.wait_for_function("() => window.studioTicket")
    first = ticket(one, "rank 8", 10**12)
    # Chromium hands what a tab stores to the other tab's process a moment later.
    other.wait_for_function("ticket => Object.values(localStorage).some(kept => kept.includes(ticket))", arg=first)
    assert ticket(other, "rank 8", 10**12 + 500) == first
    assert ticket(other, "rank 16", 10**12 + 600) != first
    assert ticket(one, "rank 16", 10**12 + 9000) != first


def test_one_press_compares_what_a_grid_left_best_first(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    made: list[Adapter] = []
    base = store.base_models()[0]
    for name, loss in (("worse", 2.0), ("better", 1.0)):
        waiting = store.submit("train", name, QUICK, base_model_id=base.id, grid="grid")
        job = store.claim(waiting.id, identify())
        assert job is not None
        for state in ("running", "finishing"):
            store.move(job.id, state, who="test", token=job.token)
        made.append(add_adapter(store, base, None, name, job_id=job.id, validation_loss=loss))
        store.move(job.id, "completed", who="test", token=job.token)
    page = open_page(f"tab=runs&job={job.id}")
    page.get_by_role("button", name="Compare the grid").click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(re.compile(f"contestants={made[1].id}(,|%2C){made[0].id}"))
