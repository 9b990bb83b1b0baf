"""The Data tab as a person meets it: add a file, say what is what, see what will be learned, and train with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from adapters_store.store import Store
from tests.browser.conftest import OpenPage, Served, blocking_faults, served, with_starter
from tests.furnish import add_adapter
from tests.hub import StandIn, hub
from tests.workshop import add_rows, wait_for_state

HOSTILE = ["{{name}}", "${window.hurt=7*7}", "<script>window.hurt=1</script>", "![x](http://elsewhere.example/x.png)"]


@pytest.fixture(scope="module")
def far() -> Iterator[StandIn]:
    """A hub on loopback."""
    with hub() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, far: StandIn) -> Iterator[Served]:
    """As elsewhere, and knows that hub."""
    store = with_starter(tmp_path_factory.mktemp("studio") / "data")
    yield from served(store.files.root, store, HF_ENDPOINT=far.endpoint, HF_TOKEN="", NO_PROXY="*")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A table whose columns say nothing, with two rows that cannot be used, and text that is no markup."""
    noise = [sha256(bytes([n])).hexdigest() for n in range(60)]  # so that no row is nearly another one
    lines = [f"{HOSTILE[n % 4]} question {n} {noise[n]}\tanswer {n} {noise[30 + n]}" for n in range(30)]
    lines[11] = lines[17] = "lost\t"
    lines[21] = lines[20]
    file = tmp_path / "harbour talk.csv"
    file.write_text("from_them\tfrom_us\n" + "\n".join(lines) + "\n")
    return file


def test_a_file_is_mapped_looked_at_as_the_model_sees_it_and_trained_with(
    open_page: OpenPage, studio: Served, talk: Path
) -> None:
    page = open_page("tab=data")
    page.get_by_role("button", name="Add data").click()
    page.locator(".data-drop input").set_input_files(talk)
    card = page.locator(".data-add")
    expect(card).to_contain_text("from_them")
    page.get_by_label("Prompt", exact=True).select_option("from_them")
    page.get_by_label("Answer", exact=True).select_option("from_us")
    expect(card.locator(".data-rows > li")).to_have_count(3)
    expect(card.locator(".data-rows .learned").first).to_contain_text("answer 0")
    page.get_by_role("button", name="Add data set").click()
    expect(card).to_contain_text("2 rows cannot be used.")
    expect(card).to_contain_text("Line 13")
    page.get_by_role("radio", name="Skip them").check()
    page.get_by_role("button", name="Add data set").click()
    expect(page.get_by_role("heading", name="harbour talk", exact=True)).to_be_visible()
    expect(page.locator(".data")).to_contain_text("Left out: 2 rows")
    assert page.evaluate("window.hurt") is None

    rows = page.locator(".rows-card .data-rows > li")
    expect(rows).to_have_count(10)
    for number, text in enumerate(HOSTILE):
        expect(rows.nth(number)).to_contain_text(text)
    page.get_by_label("Go to row").fill("27")
    page.get_by_label("Go to row").press("Enter")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("question 29")

    page.get_by_role("radio", name="As the model sees them").check()
    expect(rows.last.locator(".learned").first).to_be_visible()
    expect(rows.last.locator(".special").first).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Lengths of 28 rows"))).to_be_visible()
    page.get_by_label("Length, tokens").fill("8")
    expect(page.locator(".data-lost").first).to_contain_text("28 of 28 rows (100")
    page.get_by_role("button", name="Go to row 1", exact=True).first.click()
    expect(rows.first).to_contain_text(HOSTILE[0])
    expect(rows.first.locator(".beyond").first).to_be_visible()
    assert blocking_faults(page) == []

    page.get_by_role("button", name="Check the rows").click()
    copies = page.locator(".data-findings li").filter(has_text="1 row is a copy of another row")
    expect(copies.get_by_role("checkbox")).to_be_checked()
    page.get_by_role("button", name="Make a cleaned copy").click()
    opened(page, "harbour talk-clean")
    expect(page.locator(".data-facts")).to_contain_text("Copy of harbour talk without 1 of its rows")

    page.get_by_role("button", name="Train with it").click()
    expect(page.get_by_label("Data set", exact=True)).to_have_value("harbour talk-clean (27 rows)")
    page.get_by_role("button", name="Start fine-tune").click()
    expect(page.locator("#start-line")).to_contain_text("harbour talk-clean-r16")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".data")).to_contain_text("Used by 1 run")
    page.locator(".data-users button").first.click()
    expect(page).to_have_url(re.compile(r"tab=runs&job=\d+"))
    run = studio.store.jobs(kinds=["train"])[0]
    assert run.data_set is not None
    assert run.data_set.name == "harbour talk-clean"
    wait_for_state(studio.store, run.id, "completed", seconds=90)
    assert page.evaluate("window.hurt") is None


def test_columns_of_a_data_set_on_a_hub_are_mapped_with_its_rows_shown(
    open_page: OpenPage, studio: Served, far: StandIn, tmp_path: Path
) -> None:
    far.models["datasets/org/talk"] = tmp_path
    for split in ("train", "test"):
        rows = [{"their_words": f"{HOSTILE[n % 4]} {split} {n}", "our_words": f"said {n}"} for n in range(9)]
        (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    page = open_page("tab=data")
    page.get_by_role("button", name="Add data").click()
    page.get_by_role("radio", name="From a hub").check()
    page.get_by_label("Id of a data set on a hub").fill("org/talk")
    page.get_by_role("button", name="Look it up").click()
    card = page.locator(".data-add")
    expect(card).to_contain_text("The columns their_words, our_words are not understood.")
    page.get_by_label("Split").select_option("train")
    expect(card).to_contain_text("org/talk, default, train")
    page.get_by_label("Prompt", exact=True).select_option("their_words")
    page.get_by_label("Answer", exact=True).select_option("our_words")
    expect(card.locator(".data-rows > li")).to_have_count(3)
    expect(card.locator(".data-rows > li").first).to_contain_text("{{name}} train 0")
    assert blocking_faults(page) == []
    page.get_by_role("button", name="Fetch and add").click()
    opened(page, "talk")
    expect(page.locator(".data-facts")).to_contain_text("prompt from their_words, answer from our_words")
    assert page.evaluate("window.hurt") is None


def opened(page: Page, name: str) -> None:
    expect(page.locator(".data .open-name")).to_have_text(name)


def test_a_set_is_renamed_deleted_brought_back_and_kept_while_it_is_in_use(open_page: OpenPage, studio: Served) -> None:
    store: Store = studio.store
    data = add_rows(store, 12)
    page = open_page(f"tab=data&data={data.id}")
    opened(page, "rows-12")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("<b>twelve</b>")
    page.get_by_label("New name").press("Enter")
    opened(page, "<b>twelve</b>")
    expect(page.locator(".run-row.open")).to_contain_text("<b>twelve</b>")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted <b>twelve</b>.")).to_be_visible()
    expect(page.locator(".run-name").get_by_text("twelve")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    opened(page, "<b>twelve</b>")
    add_adapter(store, store.base_models()[0], data, "made-with-it")
    expect(page.locator(".data-users")).to_contain_text("made-with-it")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert").filter(has_text="Adapters made with it: made-with-it")).to_be_visible()


def test_pasted_rows_are_shown_at_once_and_a_phone_has_room_for_them(open_page: OpenPage, studio: Served) -> None:
    page = open_page("tab=data", phone=True)
    page.get_by_role("button", name="Add data").click()
    page.get_by_role("radio", name="Paste").check()
    page.get_by_label("Rows to paste").fill('{"prompt": "What is rain?", "completion": "Water."}\n')
    page.get_by_role("button", name="Look at it").last.click()
    expect(page.locator(".data-add .data-rows")).to_contain_text("What is rain?")
    page.get_by_label("Name of the data set").fill("rain")
    page.get_by_role("button", name="Add data set").click()
    opened(page, "rain")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page).to_have_url(re.compile(r"tab=data&data=\d+"))
