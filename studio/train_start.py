"""The choice "Start from" of the Train tab: the base model, or one of its adapters, whose shape the run then keeps.

Stands before the tab's other handlers: it puts the adapter's shape into what they are given, and locks those fields.
Which fields are locked is kept beside the defaults, in the page, so that they go back to these when they are let go.
Each handler is a public endpoint and trusts no argument.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gradio as gr

from adapters_store.errors import NotFound
from adapters_store.tables import Adapter
from engine.settings import RunSettings, SettingsError, parse
from engine.shape import SHAPE
from jobs.start_adapter import SPLIT, shape_of, split_kept
from studio import method_words
from studio.page import Studio, problem_list
from studio.train_events import TrainEvents
from studio.train_layout import Layout
from studio.train_settings import ORDER
from studio.words import ANEW

FROM_BASE = ("The base model", 0)
_LOCKED = "locked"  # beside the settings in the page's defaults; no setting is called so
OFFERED = 200  # adapters of a base, the newest first
_NO_START = "No run can start from this adapter: it is gone, or made with settings that a run cannot have."
_NO_RUN = "This run cannot be taken as a start: it is gone, or was made with settings that no run can have now."
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
        held = _held(defaults)
        shape = _in_fields(shape_of(start), SHAPE) if start else _in_fields(RunSettings(), [*held.intersection(SHAPE)])
        given = dict(zip(ORDER, values, strict=True)) | shape
        updates = self.events.show(base_id, data_id, looked_at, defaults, *(given[name] for name in ORDER))
        base_shown, data_shown = (updates[field]["value"] for field in (self.ui.base, self.ui.data))
        if start is not None and start.base_model_id != base_shown:  # a base that was just added goes first
            return self.show(None, base_shown, data_id, *rest)
        names = (*SHAPE, *split_kept(start, [data_shown])) if start else ()
        kept = _in_fields(shape_of(start), names) if start else {}
        return {
            **self._locked(updates, kept, held),
            **self._offer(base_shown, start),
            self.ui.start_help: _help(start, names),
        }

    def begin(self, wish: object, data_id: object, *rest: object) -> Updates:
        """Choose an adapter that was asked for elsewhere on the page, with its base, and its data if that is there.

        Or, for `job-NUMBER`, fill the form with all that a run was given, to be changed.
        """
        named = str(wish or "").partition(" ")[0]
        if named.startswith("job-"):
            return self._duplicate(named.removeprefix("job-"), *rest)
        number = _number(named)
        start = self._start(number)
        if start is None:
            return {self.ui.problems: problem_list([_NO_START] if number else [])}
        updates = self.show(start.id, start.base_model_id, start.data_set_id or data_id, *rest)
        return {**updates, self.ui.mix: self.events.mix_of(start)}

    def _duplicate(self, named: str, looked_at: object, defaults: object, *_: object) -> Updates:
        """The base, data, start and settings of a run in their fields."""
        try:
            job = self.store.job(_number(named))
            settings = parse(job.settings)
        except (NotFound, SettingsError):
            return {self.ui.problems: problem_list([_NO_RUN])}
        fields = _in_fields(settings, ORDER)
        chosen = (job.start_adapter_id, job.base_model_id, job.data_set_id)
        updates = self.show(*chosen, looked_at, defaults, *fields.values())
        for name, value in fields.items():
            updates[self.ui.settings[name]] = {**updates.get(self.ui.settings[name], gr.update()), "value": value}
        return {**updates, self.ui.mix: self.events.mix_of(job)}

    def train_with(self, wish: object, start_id: object, base_id: object, data_id: object, *rest: object) -> Updates:
        """Choose a data set that was asked for elsewhere on the page."""
        return self.show(start_id, base_id, _number(str(wish or "").partition(" ")[0]) or data_id, *rest)

    def offer(self, start_id: object, base_id: object, *rest: object) -> Updates:
        """The adapters of this base, after some came or went; what is chosen stays chosen while it is there."""
        start = self._start(start_id)
        if start is None and _number(start_id):
            return self.show(None, base_id, *rest)
        return self._offer(base_id, start)

    def start(self, start_id: object, base_id: object, data_id: object, *rest: object) -> Updates:
        """Queue the run. An adapter that is gone is told, not passed over."""
        chosen = _number(start_id)
        return self.events.start(base_id, data_id, *rest, start=self.store.adapter(chosen) if chosen else None)

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _locked(self, updates: Updates, kept: dict[str, Any], held: Collection[str]) -> Updates:
        """`updates` in which fields hold what is `kept` and cannot be changed; what was `held` goes to its default."""
        defaults = updates[self.ui.defaults]
        own = {name: _in_field(name, defaults[name]) for name in held} | kept
        for name in (*SHAPE, *SPLIT):
            field, value = self.ui.settings[name], {"value": own[name]} if name in own else {}
            updates[field] = {**updates.get(field, gr.update()), **value, "interactive": name not in kept}
            if isinstance(kept.get(name), list):  # a path is no choice, but it can be shown as one
                offered = updates[field].get("choices", [])
                updates[field]["choices"] = list(dict.fromkeys([*offered, *kept[name]]))
        presets = {button: gr.update(interactive=not kept) for button in self.ui.presets}
        return {**updates, **presets, self.ui.defaults: {**defaults, _LOCKED: [*kept]}}

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


def _held(defaults: object) -> set[str]:
    """The fields that were locked so far."""
    names = defaults.get(_LOCKED) if isinstance(defaults, dict) else None
    return {name for name in (*SHAPE, *SPLIT) if name in names} if isinstance(names, list) else set()


def _help(start: Adapter | None, kept: Collection[str]) -> str:
    if start is None:
        return ""
    titles = " and ".join(str(RunSettings.model_fields[name].title) for name in SPLIT)
    aside = f"{titles} are locked too, so that rows it was measured on are not learned now. "
    words = (
        f"The run goes on from {start.name} and keeps its shape ({method_words.of_settings(_plain(shape_of(start)))}), "
        f"so those settings are locked. {aside if set(SPLIT) <= set(kept) else ''}{ANEW}"
    )
    return f'<p class="help">{html.escape(words)}</p>'


def _plain(settings: RunSettings) -> Mapping[str, Any]:
    return settings.model_dump(mode="json")


def _in_fields(settings: RunSettings, names: Sequence[str]) -> dict[str, Any]:
    """These settings as their fields hold them: pairs and numbers of blocks as text, no names as an empty choice."""
    return {name: _in_field(name, getattr(settings, name)) for name in names}


def _in_field(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key}={number:g}" for key, number in value.items())
    if name == "layers" and isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None:
        return [] if name in ("target_modules", "train_in_full") else ""
    return value
