"""The Data tab: what the page may ask about data sets, and where its buttons lead.

The tab is one piece of our own (static/data.js), which asks when something changed. What it may ask is public like any
endpoint: every argument is checked. Knows nothing about reading files, tokens, or drawing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import DataSet
from studio import data_adding, data_checks, data_facts, data_hub, data_tokens
from studio.actions import NotNow
from studio.page import Studio
from studio.question import Answer, fields, whole
from studio.row_places import RowPlaces
from studio.runs_tab import answered, number_of
from studio.shell import Shell, scripted
from studio.static_files import PLOTLY, static_url
from studio.words import clean_name

MOST_ROWS = 50  # at once
LISTED_USERS = 20

_GIVEN = f'element, server, trigger, upload, plotly: "{static_url(PLOTLY)}", data: window.studioData || null'

# A tab that is not there yet finds the number later.
_TELL = """data => { window.studioData = Number(data) || null;
  window.dispatchEvent(new CustomEvent('studio:data', {detail: data})) }"""

Question = Callable[[object], Answer]


def build(studio: Studio, shell: Shell) -> None:
    """Fill the tab; it stands in its gr.Tab."""
    view = scripted(
        "data.js",
        "mount",
        _GIVEN,
        "data_open train_with run_open adapter_open",
        html_template="<div></div>",
        server_functions=[answered(fn) for fn in questions(studio)],
        elem_id="data-tab",
    )
    # "multiple": by default a press that comes while another is under way would be lost.
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "queue": False,
        "api_visibility": "private",
        "trigger_mode": "multiple",
    }

    def opened(event: gr.EventData) -> str:
        return number_of(event, "id")

    def to_train(event: gr.EventData) -> tuple[gr.Tabs, str]:
        # The time makes every press a new wish.
        return shell.go("train"), f"{number_of(event, 'id')} {time.monotonic_ns()}"

    def to_run(event: gr.EventData) -> tuple[gr.Tabs, str]:
        return shell.go("runs"), number_of(event, "id")

    def to_adapter(event: gr.EventData) -> tuple[gr.Tabs, str]:
        return shell.go("library"), number_of(event, "id")

    shell.data.change(None, [shell.data], None, js=_TELL, show_progress="hidden")
    view.data_open(opened, None, shell.data, **quiet)
    view.train_with(to_train, None, [shell.tabs, shell.train_with], **quiet)
    view.run_open(to_run, None, [shell.tabs, shell.job], **quiet)
    view.adapter_open(to_adapter, None, [shell.tabs, shell.adapter], **quiet)


def questions(studio: Studio) -> list[Question]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""
    return [
        *_of_data_sets(studio.store),
        *data_adding.questions(studio.store),
        *data_hub.questions(studio.store),
        *data_checks.questions(studio.store),
        *data_tokens.questions(studio),
    ]


def _of_data_sets(store: Store) -> list[Question]:
    places = RowPlaces()

    def data_state(question: object) -> Answer:
        """The list, what is on its way into it, and everything about the open data set but its rows."""
        sets = store.data_sets()[::-1]
        asked = fields(question)
        wanted, job = asked.get("id"), asked.get("job")
        chosen = next((data for data in sets if data.id == wanted), sets[0] if sets and wanted is None else None)
        return {
            "rows": [data_facts.listed(data) for data in sets],
            "open": _open(store, chosen) if chosen else None,
            "choices": data_tokens.choices(store.base_models()),
            "coming": [data_facts.coming(one) for one in store.jobs(kinds=["data", "clean"], states=["queued", *LIVE])],
            "job": data_facts.coming(store.job(whole(asked, "job", 1, 2**53))) if job is not None else None,
        }

    def data_rows(question: object) -> Answer:
        """Some rows as text, from row number `first` on, counted from 0; one alone comes whole."""
        asked = fields(question)
        data, first, count = _data(store, asked), whole(asked, "first", 0, 2**53), whole(asked, "count", 1, MOST_ROWS)
        file = store.rows_path(data)
        if not file.is_file():
            raise NotNow(f"The rows of the data set {data.name} are gone from disk. Add the file again.")
        found = places.rows(file, first, count)
        cut = data_facts.WHOLE_CHARACTERS if count == 1 else data_facts.SHOWN_CHARACTERS
        return {"rows": [{"key": n, "pieces": data_facts.shown_row(row, cut)} for n, row in enumerate(found, first)]}

    def data_rename(question: object) -> Answer:
        """Give a data set another name."""
        asked = fields(question)
        data = _data(store, asked)
        store.rename_data_set(data.id, clean_name(str(asked.get("name") or ""), data.name))
        return {}

    def data_delete(question: object) -> Answer:
        """Delete a data set that nobody uses."""
        data = _data(store, fields(question))
        store.delete_data_set(data.id)
        return {"id": data.id, "name": data.name}

    def data_undo(question: object) -> Answer:
        """Take a deletion back."""
        return {"id": store.restore_data_set(_data(store, fields(question)).id).id}

    return [data_state, data_rows, data_rename, data_delete, data_undo]


def _open(store: Store, data: DataSet) -> Answer:
    file = store.rows_path(data)
    used = store.data_set_users(data.id, LISTED_USERS)
    return {
        **data_facts.opened(data, file.stat().st_size if file.is_file() else None),
        "checks": data_checks.shown(store, data),
        "users": data_facts.users(used.jobs, used.adapters, used.job_total, used.adapter_total),
    }


def _data(store: Store, asked: Answer) -> DataSet:
    return store.data_set(whole(asked, "id", 1, 2**53))
