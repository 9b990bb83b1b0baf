"""The line under the tabs in a browser: space is freed after it was named, and the end of a run is told."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Served, blocking_faults
from tests.test_disk_use import cached
from tests.test_notices import ended

# A browser that is asked for the permission, and keeps what it is to show.
ASKED = """window.asked = 0; window.shown = [];
window.Notification = class {
  static permission = 'default';
  static async requestPermission() { window.asked += 1; return 'granted' }
  constructor(title, { body, tag }) { window.shown.push([title, body, tag]) }
}"""


def test_space_is_freed_after_it_was_named_and_the_end_of_a_run_is_told(studio: Served, open_page: OpenPage) -> None:
    def prepare(page: Page) -> None:
        page.add_init_script(ASKED)

    cache = cached(studio.store, 41_000_000)
    page = open_page("tab=library", prepare=prepare)
    page.get_by_text("Disk and notices").click()
    free = page.get_by_role("button", name="Free space")
    expect(free).to_be_disabled()
    page.get_by_label("Free token cache").check()
    free.click()
    page.get_by_role("button", name="Keep it").click()
    assert cache.exists()
    free.click()
    page.get_by_role("button", name="Delete token cache").click()
    expect(page.get_by_text("41.0 MB freed.")).to_be_visible()
    assert not cache.exists()

    assert page.evaluate("window.asked") == 0
    page.get_by_label("Tell me in this browser").click()
    expect(page.get_by_label("Tell me in this browser")).to_be_checked()
    job = ended(studio.store, name="<i>mine</i>")
    page.wait_for_function("window.shown.length")
    ((title, body, tag),) = page.evaluate("window.shown")
    assert (title, job.why in body, "lora-studio" in tag) == ("<i>mine</i>", True, True)
    assert blocking_faults(page) == []
