"""The Train tab as a person meets it: what is chosen for them, what they can do, and what they are told.

An action is a click, a drop or a field filled in. Nothing here knows how the page is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Page, expect

from adapters_store.store import Store
from tests.browser.conftest import OpenPage, Served, blocking_faults, served, with_starter
from tests.workshop import wait_for

SLOW = 60_000  # milliseconds; the first count loads the tokenizer


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio in which runs are queued and nobody takes them up: what these tests start need not be trained."""
    store = with_starter(tmp_path_factory.mktemp("studio") / "data")
    with FileLock(store.files.root / "runner.lock"):
        yield from served(store.files.root, store)


def chosen(page: Page, label: str) -> str:
    return page.get_by_label(label, exact=True).input_value()


def filled(page: Page) -> None:
    """Wait until the page has chosen a base and a data set."""
    expect(page.get_by_label("Base model", exact=True)).to_have_value("tiny")
    expect(page.get_by_label("Data set", exact=True)).to_have_value(re.compile("pirate-style"))


def start_line(page: Page) -> str:
    return page.locator("#start-line").inner_text()


def runs(store: Store) -> int:
    return len(store.jobs(kinds=["train"]))


def test_a_cold_page_has_the_starter_model_and_a_sample_chosen(page: Page) -> None:
    filled(page)
    expect(page.get_by_text("It stays frozen.")).to_be_visible()
    expect(page.get_by_text("Rows 1 to 3 of")).to_be_visible()
    expect(page.locator(".rows .learned").first).to_contain_text(re.compile(r"\w"))


def test_the_figures_are_counted_before_the_start(page: Page) -> None:
    filled(page)
    card = page.locator("#before")
    expect(card.get_by_text("counted from your data")).to_be_visible(timeout=SLOW)
    expect(card).to_contain_text(re.compile(r"Steps\s*\d+, \d+ an epoch"))
    expect(card).to_contain_text(re.compile(r"Rows cut short\s*\d+ of \d+"))
    expect(card).not_to_contain_text("Memory")


def test_a_double_click_on_start_makes_one_run_in_one_action(page: Page, studio: Served) -> None:
    filled(page)
    before = runs(studio.store)
    page.get_by_role("button", name="Start fine-tune").dblclick()
    expect(page.locator("#start-line")).to_contain_text("pirate-style-r16")
    expect(page.get_by_role("button", name="Open the run")).to_be_visible()
    expect(page.locator("#pulse-pill")).to_contain_text(re.compile("running|queued"))
    assert runs(studio.store) == before + 1
    page.get_by_role("button", name="Open the run").click()
    expect(page.get_by_role("tab", name="Runs")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(re.compile(r"tab=runs&job=\d+"))


def test_a_csv_file_trains_after_two_actions(page: Page, studio: Served, tmp_path: Path) -> None:
    filled(page)
    file = tmp_path / "harbour talk.csv"
    file.write_text("prompt,completion\n" + "".join(f"What is {n}?,It be {n}\n" for n in range(40)))
    page.set_input_files("input[type=file]", file)
    expect(page.get_by_label("Data set", exact=True)).to_have_value("harbour talk (40 rows)")
    expect(page.get_by_text("Read as prompt and completion")).to_be_visible()
    expect(page.get_by_text("Rows 1 to 3 of 40.")).to_be_visible()
    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.locator("#start-line")).to_contain_text("harbour talk-r16")
    newest = studio.store.jobs(kinds=["train"])[0]
    assert newest.data_set is not None
    assert newest.data_set.name == "harbour talk"


def test_a_bad_file_is_refused_with_line_numbers_and_nothing_is_lost(page: Page, tmp_path: Path) -> None:
    filled(page)
    page.get_by_role("button", name="8", exact=True).click()
    file = tmp_path / "bad.csv"
    file.write_text("instruction,output\nhello,there\nfoo,\n,\nbar,baz\n,qux\n")
    page.set_input_files("input[type=file]", file)
    problems = page.locator("#drop-problems").get_by_role("alert")
    expect(problems).to_contain_text("Line 3")
    expect(problems).to_contain_text("Line 6")
    filled(page)
    expect(page.get_by_role("spinbutton", name="Rank (r)")).to_have_value("8")


def test_the_count_and_the_drawing_follow_the_rank(page: Page) -> None:
    filled(page)
    count = page.locator("#trained-count")
    expect(count).to_contain_text("trained numbers")
    before = int(count.inner_text().split(" ")[0].replace(",", ""))
    page.get_by_role("button", name="32", exact=True).click()
    expect(count).to_contain_text(f"{2 * before:,} trained numbers")
    expect(page.get_by_role("spinbutton", name="Alpha")).to_have_value("64")
    expect(page.locator("#before")).to_contain_text(f"{2 * before:,}")
    rank = page.get_by_role("spinbutton", name="Rank (r)")
    rank.fill("4")
    expect(count).to_contain_text(f"{before // 4:,} trained numbers")
    expect(page.get_by_role("img", name=re.compile("W plus alpha"))).to_be_visible()
    expect(page.locator(".lora-figure")).to_contain_text("Alpha is 16 times r: strong")


def test_bad_values_are_told_together_and_kept(page: Page, studio: Served) -> None:
    filled(page)
    before = runs(studio.store)
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Learning rate", exact=True).fill("7")
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_role("button", name="Start fine-tune").click()
    problems = page.locator("#problems").get_by_role("alert")
    expect(problems).to_contain_text("Learning rate is 7")
    expect(problems).to_contain_text("Epochs is 0")
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("7")
    expect(page.get_by_role("button", name="More settings (2 changed)")).to_be_visible()
    assert runs(studio.store) == before
    page.get_by_label("Learning rate", exact=True).fill("0.001")
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Epochs", exact=True).blur()
    expect(problems).to_have_count(0)


def test_target_modules_are_the_models_own_and_change_the_count(page: Page) -> None:
    filled(page)
    page.get_by_role("button", name="More settings").click()
    before = page.locator("#trained-count").inner_text()
    page.get_by_label("Target modules", exact=True).click()
    page.get_by_role("option", name="q_proj").click()
    expect(page.locator("#trained-count")).not_to_have_text(before)
    expect(page.locator(".lora-figure")).to_contain_text("q_proj")


@pytest.mark.parametrize("name", ["<img src=x onerror=window.hurt=1>", "${window.hurt=7*7}", "{{value}}<b>"])
def test_names_and_rows_are_shown_as_text(page: Page, name: str, tmp_path: Path) -> None:
    filled(page)
    file = tmp_path / "rows.jsonl"
    row = '{"prompt": "PROMPT", "completion": "ANSWER"}\n'
    file.write_text("".join(row.replace("PROMPT", f"{name} {n}").replace("ANSWER", name) for n in range(20)))
    payload = {"name": f"{name.replace('/', '')}.jsonl", "mimeType": "text/plain", "buffer": file.read_bytes()}
    page.set_input_files("input[type=file]", payload)
    expect(page.locator(".rows")).to_contain_text(f"{name} 0")
    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.get_by_role("button", name="Open the run")).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator(".rows img, .rows b, #start-line img, #start-line b").count() == 0


def test_the_theme_is_remembered_and_the_address_wins(open_page: OpenPage) -> None:
    page = open_page()
    dark = page.evaluate("document.body.classList.contains('dark')")
    page.get_by_role("button", name="Dark theme" if not dark else "Light theme").click()
    expect(page.locator("body.dark")).to_have_count(0 if dark else 1)
    page.reload()
    filled(page)
    expect(page.locator("body.dark")).to_have_count(0 if dark else 1)
    page.goto(page.url.split("?")[0] + f"?__theme={'dark' if dark else 'light'}")
    filled(page)
    expect(page.locator("body.dark")).to_have_count(1 if dark else 0)


def test_tabs_are_one_stop_and_move_by_arrow_keys(page: Page) -> None:
    filled(page)
    page.get_by_role("tab", name="Train").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Runs")).to_be_focused()
    expect(page).to_have_url(re.compile("tab=runs"))
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Data")).to_be_focused()
    expect(page.locator("#tabs > .tab-wrapper [role=tab][tabindex='0']")).to_have_count(1)
    assert page.get_by_role("tabpanel").get_attribute("aria-labelledby") == "tab-data-button"


def test_axe_finds_nothing_serious(open_page: OpenPage) -> None:
    page = open_page("__theme=light")
    filled(page)
    expect(page.get_by_text("counted from your data")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_label("Batch", exact=True).fill("0")
    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.locator("#problems").get_by_role("listitem")).to_have_count(2)
    assert blocking_faults(page) == []


def test_a_phone_has_no_sideways_scroll_and_start_at_the_bottom(open_page: OpenPage) -> None:
    page = open_page(phone=True)
    filled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.get_by_role("button", name="Start fine-tune").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert 780 < box["y"] + box["height"] <= 844
    expect(page.get_by_role("tab", name="Data")).to_be_visible()


def test_more_than_six_tabs_open_at_once(open_page: OpenPage) -> None:
    first = open_page()
    filled(first)
    for _ in range(7):
        other = first.context.new_page()
        other.goto(first.url)
        expect(other.get_by_label("Base model", exact=True)).to_have_value("tiny", timeout=30_000)


def test_the_pulse_shows_a_run_that_another_program_queued(page: Page, studio: Served) -> None:
    filled(page)
    base, data = studio.store.base_models()[0], studio.store.data_sets()[0]
    values = {"rank": 4, "alpha": 8, "epochs": 1000, "batch_size": 4}
    studio.store.submit("train", "from elsewhere", values, base_model_id=base.id, data_set_id=data.id)
    expect(page.locator("#pulse-pill")).to_contain_text(re.compile(r"\d+ (running|queued)"))
    expect(page.locator("#start-line")).to_contain_text(re.compile(r"Waits for \d+ runs?\."))
    job = studio.store.jobs(kinds=["train"])[0]
    studio.store.request_stop(job.id, "cancel", "test")
    wait_for(lambda: studio.store.job(job.id).state == "cancelled", 60, "the run to be cancelled")


def test_another_set_is_mixed_in_with_a_weight_counted_and_trained(page: Page, studio: Served) -> None:
    filled(page)
    page.get_by_role("button", name="Mix in another").click()
    page.get_by_label("Data set to mix in").select_option(index=1)
    name = page.get_by_label("Data set to mix in").locator("option:checked").inner_text().partition(" (")[0]
    page.get_by_label(f"Weight of {name}").fill("0.5")
    expect(page.get_by_role("list", name="Rows of each data set")).to_contain_text(re.compile(rf"{name}: \d+ rows"))
    page.get_by_label("Weight of pirate-style").fill("2")
    page.get_by_role("button", name="Start fine-tune").click()  # at once: what was typed last counts
    expect(page.locator("#start-line")).to_contain_text(f"pirate-style-{name}-r16")
    mixture = studio.store.jobs(kinds=["train"])[0].mixture
    assert [(data.name, weight) for data, weight in mixture] == [("pirate-style", 2.0), (name, 0.5)]
    page.get_by_role("button", name=re.compile(f"Take {name}.* out")).click()
    expect(page.get_by_role("button", name="Mix in another")).to_be_focused()
    expect(page.locator(".mix-row")).to_have_count(0)
