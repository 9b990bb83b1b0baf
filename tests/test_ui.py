"""The page as Gradio will serve it: nothing in it holds a connection, and its events end in sentences."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from adapters_store.store import Store
from engine.data.check import DataError
from jobs.ask import Answerer
from studio.page import Studio, problem_list, problems_of, said
from studio.shell import _ids, _number, html
from studio.static_files import static_files, static_url
from studio.theme import build_theme, page_head
from studio.ui import build_page
from tests.pages import in_a_loop


@pytest.fixture
def studio(store: Store, data_dir: Path) -> Iterator[Studio]:
    answerer = Answerer(data_dir / "logs" / "answerer.log")
    yield Studio(store, answerer, data_dir)
    answerer.close()


@pytest.fixture
def page(studio: Studio) -> Any:
    return in_a_loop(lambda: build_page(studio))


def test_no_browser_tab_keeps_a_connection_open(page: Any) -> None:
    assert page.get_config_file()["connect_heartbeat"] is False


def test_the_page_has_the_five_tabs_of_this_release(page: Any) -> None:
    tabs = [c["props"]["label"] for c in page.get_config_file()["components"] if c["type"] == "tabitem"]
    assert tabs == ["Train", "Runs", "Library", "Compare", "Data"]


@pytest.mark.parametrize("label", ["Base model", "Data set", "compare-who"])
def test_whatever_writes_a_choice_is_answered_in_turn_or_an_older_answer_could_undo_it(page: Any, label: str) -> None:
    parts = page.blocks.values()
    choice = next(one for one in parts if label in (getattr(one, "label", None), getattr(one, "elem_id", None)))
    writing = [event for event in page.fns.values() if event.fn is not None and choice in event.outputs]
    assert len(writing) > 2
    assert {event.concurrency_limit for event in writing} == {1}
    assert len({event.concurrency_id for event in writing}) == 1


def test_no_template_takes_its_own_text_from_a_value(page: Any) -> None:
    templates = [
        c["props"]["html_template"] for c in page.get_config_file()["components"] if c["props"].get("html_template")
    ]
    assert templates
    for template in templates:
        assert "{{" not in template


def test_no_event_shows_gradios_own_progress(page: Any) -> None:
    config = page.get_config_file()
    loud = [d["api_name"] for d in config["dependencies"] if d["show_progress"] not in ("hidden", "minimal")]
    backend = [d for d in config["dependencies"] if d["backend_fn"] and d["show_progress"] != "hidden"]
    assert [d["api_name"] for d in backend] == [], loud


def test_no_piece_of_the_page_is_told_of_every_change_of_an_event(page: Any) -> None:
    told = [event["show_progress_on"] for event in page.get_config_file()["dependencies"]]
    assert told == [[]] * len(told)


def test_two_pages_can_be_built_in_one_process(studio: Studio) -> None:
    first, second = in_a_loop(lambda: (build_page(studio), build_page(studio)))
    assert first is not second


# --- the edge around events ---------------------------------------------------------------------------------------


@pytest.fixture
def place() -> gr.HTML:
    def build() -> gr.HTML:
        with gr.Blocks():
            return html()

    return in_a_loop(build)


def test_an_error_for_people_is_said_in_its_place(place: gr.HTML) -> None:
    def fails() -> None:
        raise DataError(["Line 3: <b> is empty.", "Line 9: not JSON."], 7)

    answer = said(fails, place)()
    assert list(answer) == [place]
    assert "Line 3: &lt;b&gt; is empty." in answer[place]
    assert "And 5 more." in answer[place]
    assert 'role="alert"' in answer[place]


def test_any_other_error_is_logged_and_told_without_its_text(place: gr.HTML, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise KeyError("a secret path")

    with caplog.at_level(logging.ERROR):
        answer = said(fails, place)()
    assert "secret" not in answer[place]
    assert "KeyError" in answer[place]
    assert "a secret path" in caplog.text


def test_a_stream_that_fails_keeps_what_it_gave_and_then_says_why(place: gr.HTML) -> None:
    def stream() -> Iterator[str]:
        yield "first"
        raise DataError(["The rest is missing."], 1)

    first, last = said(stream, place)()
    assert first == "first"
    assert "The rest is missing." in last[place]


def test_problems_are_escaped_and_none_is_no_place() -> None:
    assert problem_list([]) == ""
    assert "<img" not in problem_list(["<img src=x onerror=alert(1)>"])
    assert problems_of(ValueError("x")) != ["x"]


# --- the pulse ----------------------------------------------------------------------------------------------------


def test_the_pulse_tells_what_changed_since_it_last_looked(studio: Studio) -> None:
    before = studio.changes(-1)
    assert before["topics"] == []
    studio.store.submit("train", "run", {})
    after = studio.changes(before["revision"])
    assert "jobs" in after["topics"]
    assert after["jobs"]["queued"] == 1
    studio.store.submit("suite", "questions", {"suite_run": 1})
    assert studio.changes(after["revision"])["jobs"]["queued"] == 2
    after = studio.changes(-1)
    assert studio.changes(after["revision"])["topics"] == []


def test_the_pulse_answers_whatever_is_sent_to_it(studio: Studio) -> None:
    for after in (-5, 10**30):
        assert "revision" in studio.changes(after)


def test_the_top_bar_names_the_processor_and_its_free_memory(studio: Studio) -> None:
    assert re.fullmatch(r"CPU, \d+ cores?, \d+\.\d GB free", studio.changes(-1)["machine"])


def test_the_fetch_of_the_starter_model_is_told_in_megabytes(studio: Studio) -> None:
    store = studio.store
    from jobs.process import identify

    job = store.claim(store.submit("fetch", "starter", {"source": "starter"}).id, identify())
    assert job is not None
    store.report(job.id, job.token, progress={"stage": "Downloading", "done_bytes": 41e6, "total_bytes": 92e6})
    told = studio.changes(-1)["fetches"]
    assert told == [{"job": job.id, "words": "The starter model is on its way: 41 of 92 MB.", "share": 44}]


# --- addresses and files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "1" * 40, "<b>", None, "²"])
def test_an_address_with_nonsense_opens_nothing(text: str | None) -> None:
    assert _number(text) == ""
    assert _ids(text) == ""


def test_an_address_names_a_few_contestants() -> None:
    assert _ids("3,5,x,7") == "3,5,7"
    assert _ids("3@0.5,5@<b>,x@1") == "3@0.5,5"


def test_every_served_file_has_an_address_that_changes_with_it() -> None:
    for name, path in static_files().items():
        assert path.is_file()
        assert re.fullmatch(rf"/static/{re.escape(name)}\?v=[0-9a-f]{{12}}", static_url(name))
    with pytest.raises(KeyError):
        static_url("../page.py")


def test_the_kinds_of_files_that_are_read_are_listed_in_full_or_not_at_all() -> None:
    files = [path.read_text("utf-8") for name, path in static_files().items() if not name.startswith("plotly")]
    listed = [line for text in files for line in re.findall(r'"([^"\n]*JSONL, JSON[^"\n]*)"', text)]
    assert listed
    for line in listed:
        assert all(kind in line for kind in ("CSV", "TSV", "Parquet", "text", "Markdown", "gzipped")), line


def test_the_head_asks_only_this_server() -> None:
    assert all(address.startswith("/static/") for address in re.findall(r'(?:href|src)="([^"]+)"', page_head()))


def test_the_theme_names_no_colour_of_its_own() -> None:
    theme = build_theme()
    for name in ("body_background_fill", "button_primary_background_fill_dark", "input_border_color_dark"):
        assert str(getattr(theme, name)).startswith("var(--")
