"""The choice of a method, from the Train tab to the library: what is shown, what is counted, what is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from adapters_store.store import Store
from engine.settings import RunSettings
from engine.sizing import count
from tests.browser.conftest import OpenPage, Served, served
from tests.workshop import add_base, shared_tiny_model, wait_for_state

expect.set_options(timeout=45_000)  # milliseconds, as for every other wait of the page

BLOCKING = ("serious", "critical")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio with two bases: the tiny llama, which has no biases, and the tiny GPT-2, which has."""
    root = tmp_path_factory.mktemp("studio") / "data"
    store = Store(root)
    add_base(store, source="starter")
    add_base(store, shared_tiny_model("gpt2"), name="with-biases")
    yield from served(root, store)


def filled(page: Page) -> None:
    expect(page.get_by_label("Base model", exact=True)).to_have_value("tiny")
    expect(trained(page)).to_contain_text("trained numbers")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(page.get_by_label(label, exact=True)).to_have_value(option)


def trained(page: Page) -> Locator:
    return page.locator("#trained-count")


def counted(studio: Served, **values: object) -> str:
    """What the page should say that a run with these settings trains on the tiny base."""
    base = next(base for base in studio.store.base_models() if base.name == "tiny")
    return f"{count(base.facts, RunSettings.model_validate(values)).trained:,} trained numbers"


def test_each_method_shows_its_own_settings_and_counts_what_it_trains(page: Page, studio: Served) -> None:
    filled(page)
    expect(page.get_by_label("Method", exact=True)).to_have_value("LoRA")
    expect(trained(page)).to_contain_text(counted(studio))
    choose(page, "Method", "DoRA")
    expect(trained(page)).to_contain_text(counted(studio, method="dora"))
    expect(page.get_by_role("img", name=re.compile("m times the direction"))).to_be_visible()
    choose(page, "Method", "Soft prompt")
    expect(trained(page)).to_contain_text(counted(studio, method="prompt"))
    expect(page.get_by_role("spinbutton", name="Rank (r)")).to_be_hidden()
    page.get_by_role("spinbutton", name="Prompt length").fill("7")
    expect(trained(page)).to_contain_text(counted(studio, method="prompt", prompt_tokens=7))
    choose(page, "Method", "Last blocks")
    expect(trained(page)).to_contain_text(counted(studio, method="blocks"))
    page.get_by_role("spinbutton", name="Trained blocks").fill("1")
    expect(trained(page)).to_contain_text(counted(studio, method="blocks", blocks=1))
    expect(page.get_by_text("Its own files stay as they are.")).to_be_visible()


def test_what_was_typed_for_a_method_is_there_again_after_another(page: Page) -> None:
    filled(page)
    rank = page.get_by_role("spinbutton", name="Rank (r)")
    rank.fill("5")
    rank.press("Tab")
    choose(page, "Method", "Full fine-tune")
    expect(rank).to_be_hidden()
    choose(page, "Method", "LoRA")
    expect(rank).to_have_value("5")


def test_the_learning_rate_follows_the_method_until_it_is_typed(page: Page) -> None:
    filled(page)
    # Two answers about one choice may be under way while the page opens; the later one would undo what is typed here.
    expect(page.get_by_text("counted from your data")).to_be_visible()
    page.get_by_role("button", name="More settings").click()
    rate = page.get_by_label("Learning rate", exact=True)
    expect(rate).to_have_value("0.0002")
    choose(page, "Method", "Norms only")
    expect(rate).to_have_value("0.001")
    expect(page.locator("#more")).not_to_contain_text("changed")
    expect(page.get_by_label("Target modules", exact=True)).to_be_hidden()
    expect(page.get_by_label("Base precision", exact=True)).to_be_hidden()
    expect(page.locator(".stale-figures")).to_have_count(0)
    rate.fill("0.003")
    rate.blur()
    choose(page, "Method", "LoRA")
    expect(page.get_by_label("Target modules", exact=True)).to_be_visible()
    expect(rate).to_have_value("0.003")


def test_a_method_without_a_place_in_the_base_is_not_offered_and_the_page_says_why(page: Page) -> None:
    filled(page)
    expect(page.locator("#method-help")).to_contain_text("Not offered: Biases only (BitFit); tiny has no biases.")
    page.get_by_label("Method", exact=True).click()
    expect(page.get_by_role("option", name="LoRA")).to_be_visible()
    expect(page.get_by_role("option", name="Biases only (BitFit)")).to_have_count(0)
    page.keyboard.press("Escape")
    choose(page, "Base model", "with-biases")
    expect(page.locator("#method-help")).not_to_contain_text("Not offered")
    choose(page, "Method", "Biases only (BitFit)")
    choose(page, "Base model", "tiny")
    expect(page.get_by_label("Method", exact=True)).to_have_value("LoRA")


def test_a_run_by_dora_is_named_by_it_from_start_to_library(page: Page, studio: Served) -> None:
    filled(page)
    choose(page, "Method", "DoRA")
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Epochs", exact=True).blur()
    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.locator("#start-line")).to_contain_text("pirate-style-dora-r16")
    page.get_by_role("button", name="Open the run").click()
    expect(page.get_by_text(re.compile(r"DoRA, r 16, alpha 32, learning rate 2e-4"))).to_be_visible()
    wait_for_state(studio.store, studio.store.jobs(kinds=["train"])[0].id, "completed", seconds=120)
    page.get_by_role("tab", name="Library").click()
    row = page.get_by_role("row", name=re.compile("pirate-style-dora-r16"))
    expect(row).to_contain_text("DoRA")
    row.click()
    expect(page.locator(".detail")).to_contain_text("DoRA, r 16, alpha 32")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_with_a_method_of_few_settings(open_page: OpenPage, theme: str) -> None:
    page = open_page(f"__theme={theme}")
    filled(page)
    choose(page, "Method", "Bottleneck adapters")
    page.get_by_role("button", name="More settings").click()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["impact"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in BLOCKING] == []


def test_a_phone_has_no_sideways_scroll_with_any_drawing(open_page: OpenPage) -> None:
    page = open_page(phone=True)
    filled(page)
    for method in ("DoRA", "Soft prompt", "Full fine-tune"):
        choose(page, "Method", method)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
