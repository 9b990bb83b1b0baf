"""The queue as a person meets it: turns are changed by keyboard and mouse, and the queue pauses and goes on.

No runner is needed: what waits here is never begun.
"""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
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


def test_the_curves_of_a_grid_lie_over_each_other_and_a_checkpoint_is_pinned(
    open_page: OpenPage, studio: Served
) -> None:
    store = studio.store
    runs = [begun(store, f"run-{n}", rank=2 * n) for n in range(1, 9)]
    live, best = runs[-1], runs[2]
    try:
        for n, job in enumerate(runs):
            last = 1.0 if job is best else 2.0 + n / 10
            measured = [{"step": 0, "validation_loss": 3.5}, {"step": 20, "validation_loss": last}]
            store.report(job.id, job.token, metrics=measured, progress={"best_validation_loss": last, "steps": 40})
        for job in runs[:-1]:
            store.move(job.id, "failed", who="test")
        with store.files.draft("checkpoints") as draft:
            (draft.path / "checkpoint.json").write_text("{}")
            folder = draft.publish()
        store.add_checkpoint(live.id, live.token, step=20, folder=folder)

        page = open_page(f"tab=runs&job={live.id}")
        plot = "document.querySelector('.group-plot')?.data"
        page.wait_for_function(f"() => {plot}?.length === 8")
        assert page.evaluate(f"() => {plot}.at(-1).name") == "Rank (r) 6"  # the best lies on top
        assert page.evaluate(f"() => {plot}.at(-1).text") == ["", "best"]
        expect(page.get_by_text("The 6 best are in colour, the others in grey")).to_be_visible()
        expect(page.locator(".run-group-card tbody tr").first).to_contain_text("Rank (r) 6")
        expect(page.locator(".run-group-card tbody tr").first).to_contain_text("best 1.00")
        colours = {row.evaluate("mark => mark.style.background") for row in page.locator(".group-mark").all()}
        assert len(colours) == 8  # six, the open run, and the grey of the last
        store.report(live.id, live.token, metrics=[{"step": 40, "validation_loss": 0.5}])
        page.wait_for_function(f"() => {plot}?.some(line => line.name === 'Rank (r) 16' && line.x.length === 3)")

        page.get_by_role("button", name="Pin step 20").click()
        expect(page.get_by_role("button", name="Unpin step 20")).to_be_visible()
        assert [row.pinned for row in store.checkpoints(live.id)] == [True]
        assert blocking_faults(page) == []
    finally:
        store.move(live.id, "failed", who="test")
    expect(page.locator(".open-head").get_by_text("failed")).to_be_visible()
    page.get_by_role("button", name="Unpin step 20").click()
    page.get_by_role("button", name="Delete it? step 20").click()
    expect(page.get_by_text("step 20", exact=True)).to_be_hidden()
    assert store.checkpoints(live.id) == []


def begun(store: Store, name: str, **settings: int) -> Job:
    """A run of one grid that this process holds."""
    queued = store.submit("train", name, {**QUICK, **settings}, base_model_id=store.base_models()[0].id, grid="curves")
    job = store.claim(queued.id, identify())
    assert job is not None
    return store.move(job.id, "running", who="test", token=job.token)


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
