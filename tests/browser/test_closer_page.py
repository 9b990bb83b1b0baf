"""Looking closer at a kept comparison: its differences, its tokens by shades and words, and a judge that reads it."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from studio import hearing
from studio.asked import Question
from studio.contestants import Contestant
from tests.at_hand import AtHand
from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.test_hearing import SAMPLING, adapter

SLOW = 90_000  # milliseconds; the answerer has to load the model


def test_answers_are_looked_at_closer_and_judged(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    base = store.base_models()[0]
    pirate, at_hand = adapter(store, base, 1, "pirate"), AtHand()
    people = [Contestant(base, None), Contestant(base, pirate)]
    answerer: Any = at_hand
    kept = hearing.ask(store, answerer, Question(people, "What is rain?", SAMPLING))
    page = open_page(f"tab=compare&id={kept.id}")
    page.get_by_role("button", name="Look closer").click()
    card = page.locator(".closer")
    expect(card).to_contain_text("only in base")
    texts = [one.text for one in kept.answers]
    marked = card.locator(".closer-text").first
    assert "".join(marked.locator("span, ins").all_text_contents()) == texts[1]
    expect(marked.locator("del").first).to_have_css("text-decoration-line", "line-through")

    card.get_by_role("radio", name="Tokens").check()
    tokens = card.locator(".closer-tokens [role=option]")
    assert "".join(tokens.all_text_contents()) == texts[1]
    expect(card.locator(".closer-legend")).to_contain_text("100 times likelier")
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(card.locator(".closer-value")).to_have_text(re.compile(r"with the adapter, .+ without: "))
    assert blocking_faults(page) == []

    card.get_by_role("radio", name="Reference").check()
    card.get_by_label("Reference answer").fill("Rain is water.")
    card.get_by_role("button", name="Measure").click()
    expect(card.get_by_role("row", name=re.compile(r"^pirate -[\d.]+ nats"))).to_be_visible(timeout=SLOW)
    card.get_by_role("radio", name="Judge").check()
    card.get_by_role("combobox", name="Judge").select_option("pirate")
    card.get_by_role("button", name="Judge").click()
    expect(card).to_contain_text("It judges its own answers here", timeout=SLOW)
    expect(card).to_contain_text("pirate has judged 1 pair, each both ways round.")
    assert blocking_faults(page) == []
