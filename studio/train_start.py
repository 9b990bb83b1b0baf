"""The choice "Start from" of the Train tab: the base model, or one of its adapters, whose shape the run then keeps.

Stands before the tab's other handlers: it puts the adapter's shape into what they are given, and locks those fields.
Each handler is a public endpoint and trusts no argument.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from adapters_store.errors import NotFound
from adapters_store.tables import Adapter
from engine.settings import SHAPE, RunSettings, SettingsError
from jobs.start_adapter import shape_of
from studio import again, method_words
from studio.page import Studio, problem_list
from studio.train_events import TrainEvents
from studio.train_layout import Layout
from studio.train_settings import ORDER

FROM_BASE = ("The base model", 0)
OFFERED = 200  # adapters of a base, the newest first
_NO_START = "No run can start from this adapter: it is gone, or made with settings that a run cannot have."
Updates = dict[Any, Any]


class TrainStart:
    """The handlers that know of a start. Holds nothing of a visitor: every value comes with its event."""

    def __init__(self, studio: Studio, events: TrainEvents, layout: Layout) -> None:
        self.store, self.events, self.ui = studio.store, events, layout

    def show(self, start_id: object, base_id: object, data_id: object, *rest: object) -> Updates:
        """All that follows from base, data, method and start; a start of another base is let go."""
        start = self._start(start_id)
        if start is not None and start.base_model_id != base_id:
            start = None
        looked_at, defaults, *values = rest
        given = dict(zip(ORDER, values, strict=True)) | (_in_fields(shape_of(start)) if start else {})
        updates = self.events.show(base_id, data_id, looked_at, defaults, *(given[name] for name in ORDER))
        base_shown = updates[self.ui.base]["value"]
        if start is not None and start.base_model_id != base_shown:  # a base that was just added goes first
            return self.show(None, base_shown, data_id, *rest)
        return {**self._locked(updates, start), **self._offer(base_shown, start)}

    def begin(self, wish: object, data_id: object, *rest: object) -> Updates:
        """Choose an adapter that was asked for elsewhere on the page, with its base, and its data if that is there."""
        number = _number(str(wish or "").partition(" ")[0])
        start = self._start(number)
        if start is None:
            return {self.ui.problems: problem_list([_NO_START] if number else [])}
        return self.show(start.id, start.base_model_id, start.data_set_id or data_id, *rest)

    def offer(self, start_id: object, base_id: object) -> Updates:
        """The adapters of this base, after some came or went; what is chosen stays chosen."""
        return self._offer(base_id, self._start(start_id))

    def start(self, start_id: object, base_id: object, data_id: object, *rest: object) -> Updates:
        """Queue the run. An adapter that is gone is told, not passed over."""
        chosen = _number(start_id)
        return self.events.start(base_id, data_id, *rest, start=self.store.adapter(chosen) if chosen else None)

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _locked(self, updates: Updates, start: Adapter | None) -> Updates:
        """`updates` in which the fields of the shape hold the adapter's values and cannot be changed."""
        kept = _in_fields(shape_of(start)) if start else {}
        for name in SHAPE:
            field, own = self.ui.settings[name], {"value": kept[name]} if start else {}
            updates[field] = {**updates.get(field, gr.update()), **own, "interactive": start is None}
            if isinstance(kept.get(name), list):  # a path is no choice, but it can be shown as one
                offered = updates[field].get("choices", [])
                updates[field]["choices"] = list(dict.fromkeys([*offered, *kept[name]]))
        presets = {button: gr.update(interactive=start is None) for button in self.ui.presets}
        return {**updates, **presets, self.ui.start_help: _help(start)}

    def _offer(self, base_id: object, start: Adapter | None) -> Updates:
        rows = [row for row in self.store.adapters(limit=1000)[0] if row.base_model_id == base_id and _usable(row)]
        choices = [FROM_BASE, *((_label(row), row.id) for row in rows[:OFFERED])]
        if start is not None and start.id not in [id for _, id in choices]:
            choices.append((_label(start), start.id))
        chosen = start.id if start else FROM_BASE[1]
        return {self.ui.start_from: gr.update(choices=choices, value=chosen, visible=len(choices) > 1)}

    def _start(self, id: object) -> Adapter | None:
        number = _number(id)
        try:
            adapter = self.store.adapter(number) if number else None
        except NotFound:
            return None
        return adapter if adapter and adapter.deleted_at is None and _usable(adapter) else None


def _number(id: object) -> int:
    text = str(id) if isinstance(id, int | str) else ""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _usable(adapter: Adapter) -> bool:
    """Whether its settings are known and a run can have them."""
    try:
        return bool(adapter.settings) and shape_of(adapter) is not None
    except SettingsError:
        return False


def _label(adapter: Adapter) -> str:
    return f"{adapter.name} ({method_words.short(adapter)})"


def _help(start: Adapter | None) -> str:
    if start is None:
        return ""
    words = (
        f"The run goes on from {start.name} and keeps its shape ({method_words.of_settings(_plain(shape_of(start)))}), "
        f"so those settings are locked. {again.ANEW}"
    )
    return f'<p class="help">{html.escape(words)}</p>'


def _plain(settings: RunSettings) -> Mapping[str, Any]:
    return settings.model_dump(mode="json")


def _in_fields(settings: RunSettings) -> dict[str, Any]:
    """The shape as its fields hold it: pairs and numbers of blocks as text, no names as an empty choice."""
    return {name: _in_field(name, getattr(settings, name)) for name in SHAPE}


def _in_field(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key}={number:g}" for key, number in value.items())
    if name == "layers" and isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None:
        return [] if name in ("target_modules", "train_in_full") else ""
    return value
