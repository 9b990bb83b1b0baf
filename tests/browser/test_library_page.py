"""The Library tab as a person meets it: find an adapter, look at it, name it, throw it away and take that back.

The adapters are rows and folders made by hand: nothing here trains.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from adapters_store.store import Store
from adapters_store.tables import Adapter
from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.furnish import add_adapter
from tests.workshop import add_rows

HOSTILE = "<img src=x onerror=\"document.title='broken into'\">${7*7}"


def shelve(store: Store, name: str, rank: int = 8, validation: float | None = 1.5) -> Adapter:
    """Put an adapter into the library."""
    facts = {"rank": rank, "alpha": 2 * rank, "validation_loss": validation, "best_step": 80, "seconds": 660.0}
    return add_adapter(store, store.base_models()[0], add_rows(store), name, **facts)


@pytest.fixture
def shelf(studio: Served) -> Iterator[Store]:
    """The store with three adapters, and empty again afterwards."""
    for name, rank, validation in (("terse-r8", 8, 1.82), ("pirate-r16", 16, 1.31), ("invoice-r64", 64, 1.16)):
        shelve(studio.store, name, rank, validation)
    yield studio.store
    for adapter in studio.store.adapters()[0]:
        studio.store.delete_adapter(adapter.id)


def names(page: Page) -> list[str]:
    return page.locator(".library tbody .name").all_inner_texts()


def rows_are(page: Page, *wanted: str) -> None:
    expect(page.locator(".library tbody .name")).to_have_text(list(wanted))


def opened(page: Page, name: str) -> None:
    expect(page.locator(".detail").get_by_role("heading", name=name, exact=True)).to_be_visible()


def test_an_empty_library_says_how_it_is_filled(open_page: OpenPage) -> None:
    page = open_page("tab=library")
    expect(page.get_by_role("heading", name="Nothing saved yet")).to_be_visible()
    page.get_by_role("button", name="Go to Train").click()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")


COUNT_FRAMES = """(() => {
  const frame = window.requestAnimationFrame.bind(window);
  let asked = 0;
  window.requestAnimationFrame = (draw) => { asked += 1; return frame(draw); };
  setInterval(() => { window.framesOfASecond = asked; asked = 0; }, 1000);
})()"""


def test_a_page_on_which_nothing_moves_draws_nothing(open_page: OpenPage) -> None:
    page = open_page("tab=library", prepare=lambda page: page.add_init_script(COUNT_FRAMES))
    expect(page.get_by_role("heading", name="Nothing saved yet")).to_be_visible()
    page.wait_for_function("window.framesOfASecond < 10", polling=500)  # by itself it would ask for frames


def test_the_newest_comes_first_and_a_row_opens_its_card(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    opened(page, "invoice-r64")
    page.get_by_role("cell", name="pirate-r16", exact=True).click()
    opened(page, "pirate-r16")
    for fact in ("LoRA, r 16, alpha 32", "1.310 at step 80", "3.000", "11 min"):
        expect(page.locator(".detail")).to_contain_text(fact)
    chosen = shelf.adapters(search="pirate-r16")[0][0]
    expect(page).to_have_url(re.compile(f"tab=library&adapter={chosen.id}"))
    page.reload()
    opened(page, "pirate-r16")


def test_the_table_sorts_by_a_press_on_its_head(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    page.get_by_role("button", name="Validation").click()
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    expect(page.get_by_role("columnheader", name="Validation")).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("button", name="Validation")).to_be_focused()
    page.keyboard.press("Enter")
    rows_are(page, "terse-r8", "pirate-r16", "invoice-r64")
    page.get_by_role("button", name="Name", exact=True).click()
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")


def test_search_narrows_as_one_types_and_says_when_nothing_matches(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    search = page.get_by_label("Search adapters")
    search.press_sequentially("pira")
    rows_are(page, "pirate-r16")
    expect(page.get_by_text("1 of 3")).to_be_visible()
    search.fill("<b>nobody</b>")
    expect(page.get_by_role("heading", name="No adapter matches “<b>nobody</b>”")).to_be_visible()
    page.get_by_role("button", name="Clear search").click()
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")


def test_renaming_is_done_in_place_and_a_taken_name_is_refused_in_words(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    page.get_by_role("cell", name="terse-r8", exact=True).click()
    opened(page, "terse-r8")
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_label("New name")
    expect(field).to_be_focused()
    field.fill("Terse & short")
    field.press("Enter")
    opened(page, "Terse & short")
    rows_are(page, "invoice-r64", "pirate-r16", "Terse & short")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("pirate-r16")
    page.get_by_label("New name").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("There is already an adapter called pirate-r16")
    opened(page, "Terse & short")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("never")
    page.get_by_label("New name").press("Escape")
    opened(page, "Terse & short")


def test_a_deletion_can_be_taken_back(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    page.get_by_role("cell", name="pirate-r16", exact=True).click()
    opened(page, "pirate-r16")
    page.get_by_role("button", name="Delete").click()
    rows_are(page, "invoice-r64", "terse-r8")
    expect(page.get_by_text("Deleted pirate-r16.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    opened(page, "pirate-r16")
    back = shelf.adapters(search="pirate-r16")[0][0]
    assert shelf.files.problems("adapters", back.folder) == []


def test_a_new_adapter_appears_by_itself(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    page.get_by_label("Search adapters").fill("r1")
    rows_are(page, "pirate-r16")
    shelve(shelf, "haiku-r128", 128)
    rows_are(page, "haiku-r128", "pirate-r16")


def test_rows_are_one_stop_and_move_by_arrow_keys(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    page.get_by_role("cell", name="invoice-r64", exact=True).click()
    opened(page, "invoice-r64")
    page.keyboard.press("ArrowDown")
    opened(page, "pirate-r16")
    page.keyboard.press("End")
    opened(page, "terse-r8")
    expect(page.locator(".library tr[tabindex='0']")).to_have_count(1)
    expect(page.locator(".library tr:focus")).to_contain_text("terse-r8")


def test_several_can_be_marked_and_go_to_compare_together(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    page.get_by_role("checkbox", name="Compare pirate-r16").check()
    page.get_by_role("checkbox", name="Compare terse-r8").check()
    page.get_by_role("button", name="Compare 2 with the base").click()
    chips = page.locator("#compare-who .token")
    expect(chips).to_have_text([re.compile("base"), re.compile("pirate-r16"), re.compile("terse-r8")])
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()


def test_nothing_can_be_pressed_before_the_script_hears_it(open_page: OpenPage, shelf: Store) -> None:
    held: list[Route] = []
    page = open_page(
        "tab=library", prepare=lambda page: page.route("**/static/library.js*", lambda route: held.append(route))
    )
    rows = page.locator(".library tbody tr")
    expect(rows).to_have_count(3)  # the server has drawn the table, and the script is still on its way
    assert held
    box = page.get_by_label("Compare pirate-r16")
    expect(box).to_be_hidden()
    expect(page.get_by_label("Delete")).to_be_hidden()
    place = box.bounding_box()
    assert place is not None
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    assert not box.is_checked()
    for route in held:
        route.continue_()
    box.check()
    expect(page.get_by_role("button", name="Compare 1 with the base")).to_be_visible()


def test_a_mark_outlasts_an_older_answer(open_page: OpenPage, shelf: Store) -> None:
    held: list[Route] = []

    def hold_marks(route: Route) -> None:
        if '"ids"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page = open_page("tab=library", prepare=lambda page: page.route("**/queue/join*", hold_marks))
    box = page.get_by_role("checkbox", name="Compare pirate-r16")
    box.check()
    page.get_by_label("Search adapters").fill("pirate")
    rows_are(page, "pirate-r16")  # drawn by a server that has not heard of the mark
    expect(box).to_be_checked()
    for route in held:
        route.continue_()
    expect(page.get_by_role("button", name="Compare 1 with the base")).to_be_visible()
    expect(box).to_be_checked()


def test_a_download_is_a_zip_of_the_adapter(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library")
    opened(page, "invoice-r64")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "invoice-r64.zip"
    content = download.value.path().read_bytes()
    assert sorted(zipfile.ZipFile(io.BytesIO(content)).namelist()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_hostile_names_are_shown_as_text(open_page: OpenPage, shelf: Store) -> None:
    shelve(shelf, HOSTILE)
    page = open_page("tab=library")
    opened(page, HOSTILE)
    assert names(page)[0] == HOSTILE
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text(f"Deleted {HOSTILE}.")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "LoRA Studio"


def test_axe_finds_nothing_serious(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library&__theme=light")
    page.get_by_role("checkbox", name="Compare pirate-r16").check()
    expect(page.get_by_role("button", name="Compare 1 with the base")).to_be_visible()
    assert blocking_faults(page) == []


def test_on_a_phone_the_card_lies_under_the_table(open_page: OpenPage, shelf: Store) -> None:
    page = open_page("tab=library", phone=True)
    rows_are(page, "invoice-r64", "pirate-r16", "terse-r8")
    table, card = page.locator(".table-card").bounding_box(), page.locator(".detail").bounding_box()
    assert table is not None
    assert card is not None
    assert card["y"] >= table["y"] + table["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_role("columnheader", name="Size")).to_be_hidden()
