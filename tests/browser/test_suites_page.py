"""The Suites card as a person meets it: prompts with references, answered, scored, and held against an earlier run."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.test_hearing import adapter

SLOW = 90_000  # milliseconds; a worker has to load the model


def test_a_suite_is_written_run_and_held_against_an_earlier_run(open_page: OpenPage, studio: Served) -> None:
    store = studio.store
    pirate = adapter(store, store.base_models()[0], 1, "pirate")
    page = open_page(f"tab=compare&contestants={pirate.id}")
    card = page.locator(".suites")
    expect(page.locator("#compare-who .token")).to_have_count(2)
    card.get_by_role("button", name="New suite").click()
    written = {"Name": "things", "Prompts": "What is rain?\nWhat is bread?", "References": "Rain is water.\nFood."}
    for label, text in written.items():
        card.get_by_role("textbox", name=re.compile(f"^{label}")).fill(text)
    card.get_by_role("button", name="Keep suite").click()
    expect(card.locator(".suite-who")).to_contain_text("answer: base, pirate.")
    card.get_by_label("Most tokens").fill("6")
    for number, temperature in enumerate(("0", "1"), 1):
        card.get_by_label("Temperature").fill(temperature)
        card.get_by_role("button", name="Run suite").click()
        row = card.get_by_role("button", name=re.compile(f"^Run {number}:"))
        row.click()
        if number == 1:
            expect(card.get_by_role("progressbar")).to_be_visible()
        expect(row).to_contain_text("All 4 answers", timeout=SLOW)
    expect(card.get_by_role("row", name=re.compile("^pirate [\\d.]+"))).to_be_visible()
    expect(card.get_by_text("Reference: Rain is water.")).to_be_visible()
    card.get_by_label("Show").select_option(label="what changed since run 1 (base, pirate)")
    expect(card.locator(".suite-rows ins").first).to_be_visible()
    assert blocking_faults(page) == []
