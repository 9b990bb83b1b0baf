"""An adapter from elsewhere comes in by the Library tab, and leaves it again merged into its base, for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.foreign import plain_adapter, zipped


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_adapter(tmp_path_factory.mktemp("peft") / "pirate")


def test_a_zip_is_dropped_imported_and_merged(
    studio: Served, open_page: OpenPage, adapter: Path, tmp_path: Path
) -> None:
    page: Page = open_page("tab=library")
    page.get_by_role("button", name="Import an adapter").click()
    page.locator("#import-zip input[type=file]").set_input_files(zipped(adapter, tmp_path / "pirate.zip"))
    line = page.locator("#import-line")
    expect(line).to_contain_text("It fits ")
    assert blocking_faults(page) == []
    page.locator("#import-press").click()
    expect(line).to_contain_text("pirate is in the library.")
    row = page.get_by_role("row", name="pirate")
    expect(row).to_be_visible()
    row.get_by_text("pirate").click()
    card = page.locator("#library-card")
    expect(card).to_contain_text("Imported")
    expect(page.locator("#library-merged")).to_have_text("")
    assert list((studio.store.files.root / "uploads").rglob("pirate.zip")) == []

    card.get_by_role("button", name="Export merged model").click()
    expect(card.get_by_label("Folder for the base model")).to_be_focused()
    card.get_by_label("Folder for the base model").fill(str(tmp_path / "merged"))
    assert blocking_faults(page) == []
    card.get_by_role("button", name="Write the model").click()
    expect(page.locator("#library-merged")).to_contain_text(f"The merged model is in {tmp_path / 'merged'}, in fp32.")
    assert (tmp_path / "merged" / "config.json").is_file()


def test_what_is_no_adapter_is_said_where_it_was_given(studio: Served, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("tab=library")
    page.get_by_role("button", name="Import an adapter").click()
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80")
    (tmp_path / "adapter_config.json").write_text("{}")
    page.get_by_label("Or its folder").fill(str(tmp_path))
    page.get_by_label("Or its folder").press("Tab")
    expect(page.locator("#import-line")).to_contain_text("a pickle, which can run code")
