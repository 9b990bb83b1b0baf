"""The Library tab: search, sort, open, rename, delete and hand over to Compare.

Reads like the wiring it is: which field changes what. The markup is made in library_view.py and turned into events by
static/library.js. Searching, sorting and cutting happen in the store. Keeps nothing about a visitor on the server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from adapters_store.errors import NotFound
from adapters_store.tables import Adapter, Job
from studio import adapter_actions
from studio import library_view as view
from studio.library_import import LONGEST_PATH, ImportPanel, job_line
from studio.page import Studio, said
from studio.shell import Shell, hidden, html, scripted
from studio.words import clean_name

MOST_MARKED = 7  # beside the base
LONGEST_SEARCH = 200  # characters


def build(studio: Studio, shell: Shell) -> None:
    """Fill the tab; it stands in its gr.Tab."""
    Library(studio, shell).connect()


class Library:
    """The pieces of the tab and what its events do. One for all visitors, so it keeps nothing but the pieces."""

    def __init__(self, studio: Studio, shell: Shell):
        self.store = studio.store
        self.shell = shell
        self.order = gr.Textbox(str(view.Order()), label="order", visible="hidden", elem_id="library-order")
        self.marked = gr.Textbox("", label="marked", visible="hidden", elem_id="library-marked")
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=1, min_width=0):
                with gr.Row(elem_classes="library-tools"):
                    self.search = gr.Textbox(
                        label="Search adapters",
                        show_label=False,
                        container=False,
                        placeholder="Search name, base, data",
                        max_lines=1,
                        elem_id="library-search",
                    )
                    self.count = html(elem_classes="fact library-count")
                self.table = _piece("Table", "row_open sort_by marked go_train clear_search")
                self.coming_in = ImportPanel(studio, shell)
            with gr.Column(scale=0, min_width=340, elem_classes="sticky library-side"):
                self.card = _piece("Card", "compare train_on rename delete merge")
                self.notice = _piece("Notice", "undo")
                self.merged = html(elem_id="library-merged")
                self.export = hidden("export-job")

    def connect(self) -> None:
        """Which field changes what."""
        self.coming_in.connect()
        shell, asked = self.shell, [self.search, self.order, self.shell.adapter, self.marked]
        shown: Any = [self.table, self.count, self.card]
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        quiet = {**private, "queue": False, "trigger_mode": "multiple"}
        latest: dict[str, Any] = {**private, "trigger_mode": "always_last"}
        # What draws the table goes one after the other, or an older answer could arrive last.
        in_turn: dict[str, Any] = {**private, "concurrency_id": "library", "concurrency_limit": 1}
        look = said(self.look, self.notice)
        outputs = [*shown, self.notice]

        shell.page.load(said(self.opened, self.notice), None, outputs, **in_turn)
        self.search.change(look, asked, outputs, trigger_mode="always_last", **in_turn)
        self.order.change(look, asked, outputs, **in_turn)
        shell.adapter.change(look, asked, outputs, **in_turn)
        self.marked.change(look, asked, outputs, **in_turn)
        shell.pulse.adapters_changed(look, asked, outputs, trigger_mode="always_last", **in_turn)

        # Every press counts: by default one that comes while another is under way would be lost.
        pressed = {"trigger_mode": "multiple", **in_turn}
        self.table.row_open(said(self.open, self.notice), None, [shell.adapter, self.notice], **pressed)
        self.table.sort_by(self.sort, self.order, self.order, **pressed)
        self.table.marked(self.mark, None, self.marked, **pressed)
        self.table.go_train(lambda: shell.go("train"), None, shell.tabs, **quiet)
        self.table.clear_search(lambda: "", None, self.search, **quiet)
        to_compare, to_train = ([shell.tabs, field, self.notice] for field in (shell.contestants, shell.start))
        self.card.compare(said(self.compare, self.notice), self.marked, to_compare, **quiet)
        self.card.train_on(said(self.train_on, self.notice), None, to_train, **quiet)
        self.card.rename(said(self.rename, self.notice), asked, outputs, **pressed)
        self.card.delete(said(self.delete, self.notice), asked, [*outputs, self.marked], **pressed)
        self.card.merge(said(self.merge, self.merged), None, [self.export, self.merged], **private)
        for change in (shell.pulse.jobs_changed, self.export.change):
            change(said(self.follow_export, self.merged), [self.export], [self.merged], **latest)
        self.notice.undo(said(self.undo, self.notice), asked, [*outputs, shell.adapter], **pressed)

    # --- showing ---

    def opened(self, request: gr.Request) -> dict[Any, Any]:
        """What a page shows when it is opened, with the adapter its address names."""
        return self.look("", "", str(request.query_params.get("adapter", "")), "")

    def look(self, search: str, order: str, adapter: str, marked: str) -> dict[Any, Any]:
        """The table, the count and the card for what is asked for."""
        search, sorted_by = _one_line(search), view.Order.read(order)
        rows, matching = self.store.adapters(
            search=search, sort=sorted_by.sort, descending=sorted_by.descending, limit=view.SHOWN
        )
        every = self.store.adapters(limit=1)[1] if search else matching
        opened = self._opened(adapter, rows)
        chosen = self._marked(marked)
        return {
            self.table: self._table(rows, sorted_by, opened, chosen, search),
            self.count: view.count(len(rows), matching, every) if every else "",
            self.card: view.card(opened, chosen) if opened else "",
        }

    def _table(
        self, rows: Sequence[Adapter], order: view.Order, opened: Adapter | None, chosen: Sequence[Adapter], search: str
    ) -> str:
        if rows:
            return view.table(rows, order, opened.id if opened else None, {one.id for one in chosen})
        return view.no_hit(search) if search else view.EMPTY

    def _opened(self, adapter: str, rows: Sequence[Adapter]) -> Adapter | None:
        """The adapter whose card is shown: the one asked for while it exists, else the first row."""
        asked = self._found(adapter)
        return asked or next(iter(rows), None)

    def _marked(self, marked: str) -> list[Adapter]:
        found = [self._found(part) for part in (marked or "").split(",")[:MOST_MARKED]]
        return [adapter for adapter in found if adapter]

    def _found(self, text: str) -> Adapter | None:
        if not (text or "").isdecimal() or len(text) > 15:
            return None
        try:
            adapter = self.store.adapter(int(text))
        except NotFound:
            return None
        return adapter if adapter.deleted_at is None else None

    # --- doing ---

    def open(self, event: gr.EventData) -> dict[Any, Any]:
        """The row that was pressed, for the hidden field."""
        return {self.shell.adapter: str(_id(event))}

    def sort(self, order: str, event: gr.EventData) -> str:
        """The order after a press on a column's head."""
        return str(view.Order.read(order).after(str(_data(event).get("sort"))))

    def mark(self, event: gr.EventData) -> str:
        """The adapters chosen for a comparison, for the hidden field."""
        ids = _data(event).get("ids")
        numbers = [one for one in ids if isinstance(one, int)] if isinstance(ids, list) else []
        return ",".join(str(number) for number in numbers[:MOST_MARKED])

    def compare(self, marked: str, event: gr.EventData) -> dict[Any, Any]:
        """Hand the marked adapters, or else the open one, over to Compare."""
        chosen = [str(adapter.id) for adapter in self._marked(marked)] or [str(_id(event))]
        return {self.shell.tabs: self.shell.go("compare"), self.shell.contestants: ",".join(chosen)}

    def train_on(self, event: gr.EventData) -> dict[Any, Any]:
        """Open the Train tab with this adapter to start from; the time makes every press a new wish."""
        wish = f"{_id(event)} {time.monotonic_ns()}"
        return {self.shell.tabs: self.shell.go("train"), self.shell.start: wish}

    def rename(self, search: str, order: str, _adapter: str, marked: str, event: gr.EventData) -> dict[Any, Any]:
        """Give the adapter another name."""
        current = self.store.adapter(_id(event))
        name = clean_name(str(_data(event).get("name") or ""), current.name)
        self.store.rename_adapter(current.id, name)
        return {**self.look(search, order, str(current.id), marked), self.notice: ""}

    def delete(self, search: str, order: str, _adapter: str, marked: str, event: gr.EventData) -> dict[Any, Any]:
        """Delete at once, and offer to take it back."""
        adapter = self.store.adapter(_id(event))
        self.store.delete_adapter(adapter.id)
        left = ",".join(part for part in (marked or "").split(",") if part != str(adapter.id))
        return {
            **self.look(search, order, "", left),
            self.marked: left,
            self.notice: view.deleted(adapter),
        }

    def merge(self, event: gr.EventData) -> dict[Any, Any]:
        """Queue the writing of the base with this adapter merged into it."""
        folder = str(_data(event).get("folder") or "").strip()[:LONGEST_PATH]
        job = adapter_actions.merge_adapter(self.store, _id(event), Path(folder) if folder else None)
        return {self.export: str(job.id), self.merged: _export_line(job)}

    def follow_export(self, number: str) -> dict[Any, Any]:
        """What became of the export that this page asked for."""
        if not (number or "").isdecimal() or len(number) > 15:
            return {self.merged: gr.skip()}
        job = self.store.job(int(number))
        return {self.merged: _export_line(job) if job.kind == "export" else gr.skip()}

    def undo(self, search: str, order: str, _adapter: str, marked: str, event: gr.EventData) -> dict[Any, Any]:
        """Take a deletion back."""
        adapter = self.store.restore_adapter(_id(event))
        return {
            **self.look(search, order, str(adapter.id), marked),
            self.shell.adapter: str(adapter.id),
            self.notice: "",
        }


def _export_line(job: Job) -> str:
    progress, folder = job.progress, job.settings.get("folder")
    done = f"The merged model is in {folder}, in {progress.get('dtype')}. {adapter_actions.to_use(folder)}"
    return job_line(job, done)


def _piece(name: str, events: str) -> gr.HTML:
    given = "element, trigger, watch"
    return scripted("library.js", f"mount{name}", given, events, elem_id=f"library-{name.lower()}")


def _data(event: gr.EventData) -> dict[str, Any]:
    return event._data if isinstance(event._data, dict) else {}


def _id(event: gr.EventData) -> int:
    number = _data(event).get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**53:
        raise NotFound(f"An adapter has a number, not {number!r}.")
    return number


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())[:LONGEST_SEARCH]
