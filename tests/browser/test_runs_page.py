"""The Runs tab as a person meets it: a curve that grows under their eyes, and stays what it is whatever they do.

The runs are real: a worker process trains the tiny model. Nothing here knows how the page is made, but for the one
function that reads the drawn curve.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs.process import identify
from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.workshop import ENDLESS, QUICK, add_rows, wait_for

SLOW = 60_000  # milliseconds; a worker has to load torch
SEEN = """state => { Object.defineProperty(document, 'visibilityState', {get: () => state, configurable: true});
  document.dispatchEvent(new Event('visibilitychange')) }"""
HOSTILE = "<img src=x onerror=\"document.title='broken into'\">${7*7}"


def start(store: Store, name: str, values: dict[str, Any]) -> Job:
    base = store.base_models()[0]
    return store.submit("train", name, values, base_model_id=base.id, data_set_id=add_rows(store).id)


@pytest.fixture(scope="module")
def long_run(studio: Served) -> Job:
    """A real run that goes on for as long as these tests: starting a worker takes seconds, so several share it."""
    return start(studio.store, "growing", ENDLESS)


def measured(store: Store, name: str, state: str, why: str, points: int, settings: dict[str, Any] = QUICK) -> Job:
    """A run that is over, with a curve, made by hand."""
    base = store.base_models()[0]
    queued = store.submit("train", name, settings, base_model_id=base.id, data_set_id=add_rows(store).id)
    job = store.claim(queued.id, identify())
    assert job is not None
    store.move(job.id, "running", who="test", token=job.token)
    rows = [{"step": i, "loss": 3 - 2 * i / points, "tokens": 10 * i, "seconds": 0.1 * i} for i in range(1, points + 1)]
    store.report(job.id, job.token, metrics=rows, progress={"step": points, "steps": points, "loss": 1.0})
    return store.move(job.id, state, who="test", why=why, token=job.token)


def curve(page: Page) -> tuple[list[float], list[float]]:
    """Steps and losses of the raw line as it is drawn."""
    line = page.evaluate(
        "() => { const plot = document.querySelector('.plot'); const raw = plot?.data?.[0];"
        " return raw ? [Array.from(raw.x), Array.from(raw.y)] : [[], []] }"
    )
    return line[0], line[1]


def drawn(page: Page, points: int) -> int:
    """Wait until so many points are drawn."""
    page.wait_for_function(
        "points => document.querySelector('.plot')?.data?.[0]?.x?.length >= points", arg=points, timeout=SLOW
    )
    return len(curve(page)[0])


def seen_stretch(page: Page) -> list[str]:
    """The words under the chart: the stretch of the run that is seen."""
    return page.locator(".plot .xtick text").all_text_contents()


def further(studio: Served, job: Job) -> None:
    """Wait until the run has reported twice more; it does so once a second."""
    for _ in range(2):
        before = studio.store.job(job.id).progress
        wait_for(lambda before=before: studio.store.job(job.id).progress != before, 30, "the run to go on")


def zoom_in(page: Page, width: int = 200) -> None:
    box = page.locator(".plot").bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 60, height)
    page.mouse.down()
    page.mouse.move(box["x"] + 60 + width, height, steps=5)
    page.mouse.up()


def test_a_studio_without_runs_says_what_to_do(open_page: OpenPage) -> None:
    page = open_page("tab=runs")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    page.get_by_role("button", name="Go to Train").click()
    expect(page.get_by_role("button", name="Start fine-tune")).to_be_visible()


def test_the_curve_grows_while_the_run_trains_and_a_zoom_survives_it(open_page: OpenPage, long_run: Job) -> None:
    page = open_page("tab=runs")
    expect(page.get_by_role("heading", name="growing")).to_be_visible()
    expect(page.locator("#runs .sentence")).to_contain_text(re.compile(r"Step \d+ of"), timeout=SLOW)
    expect(page.get_by_role("img", name=re.compile("Loss of growing. Step"))).to_be_visible()
    points = drawn(page, 5)
    before = seen_stretch(page)
    zoom_in(page)
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()
    near = seen_stretch(page)
    assert near != before
    for _ in range(3):
        points = drawn(page, points + 1)
        assert seen_stretch(page) == near
    page.get_by_role("button", name="Whole run").click()
    wait_for(lambda: seen_stretch(page) == before, 10, "the whole run to be seen again")


def test_a_step_is_seen_within_two_seconds(open_page: OpenPage, studio: Served, long_run: Job) -> None:
    page = open_page("tab=runs")
    drawn(page, 5)
    delays = []
    for _ in range(3):
        newest, noticed = studio.store.metrics(long_run.id)[-1].step, time.monotonic()
        page.wait_for_function("step => document.querySelector('.plot').data[0].x.at(-1) >= step", arg=newest)
        delays.append(time.monotonic() - noticed)
    assert min(delays) < 2.0, delays


def test_a_reload_and_a_second_tab_show_the_same_curve(open_page: OpenPage, long_run: Job) -> None:
    page = open_page("tab=runs")
    drawn(page, 20)
    steps, losses = curve(page)
    second = open_page(f"tab=runs&job={long_run.id}")
    page.reload()
    for shown in (page, second):
        drawn(shown, 20)
        again = dict(zip(*curve(shown), strict=True))
        both = [(loss, again[step]) for step, loss in zip(steps, losses, strict=True) if step in again]
        assert len(both) >= 10
        assert all(before == after for before, after in both)


def test_a_tab_that_nobody_sees_asks_nothing_until_it_is_seen_again(
    open_page: OpenPage, studio: Served, long_run: Job
) -> None:
    page = open_page(f"tab=runs&job={long_run.id}")
    drawn(page, 3)
    asked: list[str] = []  # what the page asks by itself, again and again
    page.evaluate(SEEN, "hidden")
    further(studio, long_run)  # what was under way arrives
    page.on("request", lambda request: asked.append(request.url) if "component_server" in request.url else None)
    further(studio, long_run)
    assert page.evaluate("document.visibilityState") == "hidden"
    assert asked == []
    page.evaluate(SEEN, "visible")
    page.wait_for_function("step => document.querySelector('.plot').data[0].x.at(-1) > step", arg=curve(page)[0][-1])
    assert asked != []


def test_stop_and_keep_keeps_an_adapter(open_page: OpenPage, studio: Served, long_run: Job) -> None:
    page = open_page("tab=runs")
    drawn(page, 3)
    page.get_by_role("button", name="Stop and keep").click()
    expect(page.locator(".open-head").get_by_text("stopped, kept")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Stop and keep")).to_be_hidden()
    kept = studio.store.adapters(search="growing")[0]
    assert [adapter.job_id for adapter in kept] == [long_run.id]
    page.get_by_role("button", name="Show in library").click()
    expect(page.locator(".detail").get_by_role("heading", name="growing")).to_be_visible()


def test_cancel_asks_once_more_before_it_throws_work_away(open_page: OpenPage, studio: Served) -> None:
    thrown = start(studio.store, "thrown", ENDLESS)
    page = open_page(f"tab=runs&job={thrown.id}")
    drawn(page, 3)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Discard this run?").click()
    expect(page.locator(".open-head").get_by_text("cancelled")).to_be_visible(timeout=SLOW)
    assert studio.store.adapters(search="thrown")[1] == 0


def test_training_again_queues_the_same_settings(open_page: OpenPage, studio: Served) -> None:
    first = measured(studio.store, "once", "failed", "The disk is full. Free some space and try again.", 5, ENDLESS)
    page = open_page(f"tab=runs&job={first.id}")
    page.get_by_role("button", name="Try again").click()
    again = wait_for(lambda: next((j for j in studio.store.jobs() if j.name == "once" and j.id != first.id), None))
    assert again is not None
    assert {**again.settings, **ENDLESS} == again.settings
    expect(page).to_have_url(re.compile(f"job={again.id}"))
    studio.store.request_stop(again.id, "cancel", "test")
    wait_for(lambda: studio.store.job(again.id).state == "cancelled", 60, "the second run to be cancelled")


def test_an_interrupted_run_offers_to_continue_and_to_be_discarded(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    base = store.base_models()[0]
    queued = store.submit("train", "night", QUICK, base_model_id=base.id, data_set_id=add_rows(store).id)
    job = store.claim(queued.id, identify())
    assert job is not None
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        key = draft.publish()
    store.add_checkpoint(job.id, job.token, step=40, folder=key)
    store.move(job.id, "interrupted", who="test", why="The worker was killed. Continue it from step 40.")
    page = open_page(f"tab=runs&job={job.id}")
    expect(page.locator("#runs .sentence")).to_have_text("The worker was killed. Continue it from step 40.")
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    switch = page.get_by_label("Interrupted runs go on by themselves")
    expect(switch).to_be_checked()
    switch.click()
    wait_for(lambda: store.recall("auto_resume") is False, 10, "the switch")
    page.reload()
    expect(switch).not_to_be_checked()
    switch.click()
    wait_for(lambda: store.recall("auto_resume") is True, 10, "the switch")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Discard this run?").click()
    expect(page.locator(".open-head").get_by_text("cancelled")).to_be_visible()
    assert store.files.published("checkpoints") == []


def test_a_failed_run_says_why_and_names_stay_text(open_page: OpenPage, studio: Served) -> None:
    why = f"Stopped at step 41: {HOSTILE}. Try a learning rate of 2e-4."
    job = measured(studio.store, HOSTILE, "failed", why, 41)
    page = open_page(f"tab=runs&job={job.id}")
    expect(page.locator(".open-head").get_by_text("failed")).to_be_visible()
    expect(page.locator("#runs .sentence")).to_have_text(why)
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    drawn(page, 41)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "LoRA Studio"


def test_the_curve_is_the_same_along_tokens_and_time_and_on_a_log_scale(open_page: OpenPage, studio: Served) -> None:
    job = measured(studio.store, "axes", "failed", "Made by hand.", 30)
    page = open_page(f"tab=runs&job={job.id}")
    drawn(page, 30)
    losses = curve(page)[1]
    page.get_by_role("radio", name="Tokens").check()
    wait_for(lambda: curve(page)[0][-1] == 300, 10, "tokens along the chart")
    page.get_by_role("radio", name="Time").check()
    wait_for(lambda: abs(curve(page)[0][-1] - 3.0) < 1e-6, 10, "seconds along the chart")
    page.get_by_role("radio", name="Log").check()
    expect(page.locator(".plot .ytick text").first).to_be_visible()
    assert curve(page)[1] == losses


def test_a_long_run_is_drawn_with_few_points_and_opens_quickly(open_page: OpenPage, studio: Served) -> None:
    job = measured(studio.store, "long", "failed", "Made by hand.", 20_000)
    page = open_page(f"tab=runs&job={job.id}")
    assert 500 < drawn(page, 500) <= 2_000
    assert curve(page)[0][-1] == 20_000


def test_a_stretch_that_is_zoomed_into_shows_every_step_it_has(open_page: OpenPage, studio: Served) -> None:
    job = measured(studio.store, "close", "failed", "Made by hand.", 20_000)
    page = open_page(f"tab=runs&job={job.id}")
    coarse = drawn(page, 500)
    zoom_in(page, width=40)
    left, right = page.evaluate("() => [...document.querySelector('.plot').layout.xaxis.range]")
    wanted = [step for step in range(1, 20_001) if left <= step <= right]
    assert len(wanted) > 100

    def seen() -> list[float]:
        return [step for step in curve(page)[0] if left <= step <= right]

    wait_for(lambda: seen() == wanted, 10, "every step of the stretch")
    page.get_by_role("button", name="Whole run").click()
    wait_for(lambda: len(curve(page)[0]) == coarse, 10, "the whole run")


def test_when_the_studio_does_not_answer_the_page_says_since_when_and_goes_on_later(
    open_page: OpenPage, studio: Served
) -> None:
    measured(studio.store, "silent", "failed", "Made by hand.", 5)
    page = open_page("tab=runs")
    drawn(page, 5)
    page.route(re.compile("component_server"), lambda route: route.abort())
    expect(page.get_by_text(re.compile(r"Stale since \d\d:\d\d:\d\d"))).to_be_visible()
    assert len(curve(page)[0]) == 5
    page.unroute(re.compile("component_server"))
    expect(page.get_by_text(re.compile("Stale since"))).to_be_hidden(timeout=SLOW)


def test_choosing_a_run_keeps_it_in_the_address(open_page: OpenPage, studio: Served) -> None:
    one = measured(studio.store, "chosen-one", "failed", "Made by hand.", 5)
    measured(studio.store, "another", "failed", "Made by hand.", 5)
    page = open_page("tab=runs")
    page.get_by_role("button", name=re.compile("chosen-one")).click()
    expect(page.get_by_role("heading", name="chosen-one")).to_be_visible()
    expect(page).to_have_url(re.compile(f"tab=runs&job={one.id}"))
    page.reload()
    expect(page.get_by_role("heading", name="chosen-one")).to_be_visible()


def test_axe_finds_nothing_serious(open_page: OpenPage, studio: Served) -> None:
    measured(studio.store, "looked-at", "failed", "Made by hand.", 20)
    page = open_page("tab=runs&__theme=light")
    drawn(page, 20)
    assert blocking_faults(page) == []


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page: OpenPage, studio: Served) -> None:
    measured(studio.store, "a-rather-long-name-of-a-run-for-a-phone", "failed", "Made by hand.", 20)
    page = open_page("tab=runs", phone=True)
    drawn(page, 20)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_log_of_a_run_is_followed_while_it_is_open_and_stays_text(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    job = store.claim(start(store, "talks", QUICK).id, identify())
    assert job is not None
    log = store.files.log(f"job-{job.id}")
    log.write_text(f"first {HOSTILE}\n\x1b[31mred\n")
    page = open_page(f"tab=runs&job={job.id}")
    text = page.locator("#runs .log-text")
    expect(text).to_be_hidden()
    page.locator("#runs .log-part summary").click()
    expect(text).to_have_text(f"first {HOSTILE}\n\\x1b[31mred\n")
    with log.open("a") as more:
        more.write("second\n")
    expect(text).to_contain_text("second")
    with page.expect_download() as download:
        page.locator("#runs .log-part").get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "talks-log.txt"
    assert page.title() != "broken into"
    store.move(job.id, "failed", who="test", why="Enough.")
