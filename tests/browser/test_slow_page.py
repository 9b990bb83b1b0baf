"""The page on a slow machine: what a person does while answers of the server are still on their way."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import APIResponse, Page, Request, Route, expect

from adapters_store.store import Store
from tests.browser.conftest import Late, OpenPage, Served
from tests.furnish import add_adapter
from tests.workshop import wait_for

Held = list[tuple[Route, APIResponse]]


@pytest.fixture(scope="module")
def shelf(studio: Served) -> Store:
    """The store with two adapters."""
    for name in ("terse", "pirate"):
        add_adapter(studio.store, studio.store.base_models()[0], name=name)
    return studio.store


class Streams:
    """Follows the streams of answers that a page has open."""

    def __init__(self) -> None:
        self.open: set[Request] = set()

    def follow(self, page: Page) -> None:
        self.page = page
        page.on("request", lambda request: self.open.add(request) if "/queue/data" in request.url else None)
        page.on("requestfinished", lambda request: self.open.discard(request))
        page.on("requestfailed", lambda request: self.open.discard(request))

    def end(self) -> None:
        """Wait until the page has all answers it asked for."""
        wait_for(lambda: self.page.evaluate("true") and not self.open, 30, "the page to have all its answers")


@pytest.fixture
def streams() -> Streams:
    return Streams()


def still_library(open_page: OpenPage, streams: Streams) -> Page:
    """The Library on a page that waits for no answer."""
    page = open_page("tab=library", prepare=streams.follow)
    expect(page.get_by_role("checkbox", name="Compare pirate")).to_be_visible()
    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_text("counted from your data")).to_be_visible()  # the last thing a page asks by itself
    page.get_by_role("tab", name="Library").click()
    streams.end()
    return page


def answers_to(page: Page, address: str, words: str = "") -> Held:
    """Where the answer to the next such question lands instead of on the page."""
    held: Held = []

    def hold_one(route: Route) -> None:
        if held or words not in (route.request.post_data or ""):
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route(address, hold_one)
    return held


def let_go(held: Held) -> None:
    ((route, answer),) = held
    route.fulfill(response=answer)


def test_a_mark_set_while_the_last_answers_end_is_taken(open_page: OpenPage, shelf: Store, streams: Streams) -> None:
    page = still_library(open_page, streams)
    held = answers_to(page, "**/queue/data*")
    page.get_by_label("Search adapters").fill("r")
    # The server has answered the search and closed its stream of answers, and the page has not heard that yet.
    wait_for(lambda: page.evaluate("true") and held, 60, "the answers to end")
    with page.expect_response("**/queue/join*"):
        page.get_by_role("checkbox", name="Compare pirate").check()
    page.evaluate("new Promise(requestAnimationFrame)")
    let_go(held)
    expect(page.get_by_role("button", name="Compare 1 with the base")).to_be_visible()
    streams.end()


def test_a_stream_ends_although_the_word_on_a_question_comes_last(
    open_page: OpenPage, shelf: Store, streams: Streams
) -> None:
    page = still_library(open_page, streams)
    held = answers_to(page, "**/queue/join*", '"ids"')
    page.get_by_role("checkbox", name="Compare pirate").check()
    wait_for(lambda: page.evaluate("true") and held, 60, "the mark to be taken")
    # The stream that the search opens brings the answers to both and ends; of one the page knows nothing yet.
    with page.expect_event("requestfinished", lambda request: "/queue/data" in request.url):
        page.get_by_label("Search adapters").fill("r")
    page.evaluate("new Promise(requestAnimationFrame)")
    let_go(held)
    expect(page.get_by_role("button", name="Compare 1 with the base")).to_be_visible()
    streams.end()


def test_each_of_two_quick_presses_counts(open_page: OpenPage, shelf: Store) -> None:
    late: list[Route] = []

    def hold_names(route: Route) -> None:
        late.append(route) if '"name"' in (route.request.post_data or "") else route.continue_()

    page = open_page("tab=library", prepare=lambda page: page.route("**/queue/join*", hold_names))
    page.get_by_role("cell", name="terse", exact=True).click()
    expect(page.locator(".detail").get_by_role("heading", name="terse", exact=True)).to_be_visible()
    for count, name in enumerate(("first", "second"), 1):
        page.get_by_role("button", name="Rename").click()
        page.get_by_label("New name").fill(name)
        page.get_by_label("New name").press("Enter")
        wait_for(lambda wanted=count: page.evaluate("true") and len(late) == wanted, 10, f"{name} to be sent")
    for route in late:  # in the order in which they were pressed, which two connections would not keep
        with page.expect_response(lambda answer, held=route: answer.request == held.request):
            route.continue_()
    expect(page.locator(".detail").get_by_role("heading", name="second", exact=True)).to_be_visible()


def test_train_takes_no_press_before_its_fields_are_filled(open_page: OpenPage, shelf: Store) -> None:
    late = Late()
    page = open_page(prepare=late.hold)
    start, more = (page.get_by_role("button", name=name) for name in ("Start fine-tune", "More settings"))
    expect(page.get_by_text("Before you start")).to_be_visible()
    wait_for(lambda: page.evaluate("true") and late.held, 60, "the page to ask for what fills it")
    expect(start).to_be_hidden()
    expect(more).to_be_hidden()
    late.release()
    more.click()
    expect(page.get_by_label("Base model")).to_have_value(re.compile("tiny"))
    expect(start).to_be_visible()


def test_a_choice_made_before_the_answer_to_the_one_before_stays(open_page: OpenPage, shelf: Store) -> None:
    page, late = open_page(), Late()
    data = page.get_by_label("Data set", exact=True)
    expect(page.get_by_text("counted from your data")).to_be_visible()
    late.hold(page)
    data.click()
    page.get_by_role("option", name=re.compile("invoice-json")).click()
    wait_for(lambda: page.evaluate("true") and late.held, 60, "the first choice to be sent")
    data.click()
    page.get_by_role("option", name=re.compile("plain-text")).click()
    late.release()
    expect(page.get_by_text("Read as plain text")).to_be_visible()
    expect(data).to_have_value(re.compile("plain-text"))
