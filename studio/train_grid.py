"""The piece "Try several values" of the Train tab: settings with lists of values, counted, agreed to, queued as one.

What is typed lives in the browser (static/grid_form.js) and comes with every event; it is trusted in nothing. A grid is
queued only as it was counted before the person's eyes. What a grid may be is in `grid`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from adapters_store.store import StoreError
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Weighted
from engine.settings import RunSettings, SettingsError, applies
from engine.shape import SHAPE
from jobs.start_adapter import split_kept
from studio import forms, grid, train_facts, train_mix
from studio.actions import ActionError
from studio.grid import Run
from studio.page import Studio, problems_of
from studio.shell import Shell
from studio.train_layout import Layout
from studio.train_settings import ORDER

_BETWEEN = re.compile(r"[\s,;]+")
_TICKET = re.compile(r"[0-9a-f]{16}")
LONGEST = 1000  # characters of one list
Updates = dict[Any, Any]


class Asked(NamedTuple):
    """What the form holds around the lists: each run of the grid has it."""

    base: BaseModel
    data: DataSet
    mixture: list[Weighted]
    start: Adapter | None
    values: dict[str, object]


class TrainGrid:
    """The handlers of the piece. Each is a public endpoint; a problem is answered in the piece itself."""

    def __init__(self, studio: Studio, shell: Shell, layout: Layout) -> None:
        self.store, self.shell, self.ui = studio.store, shell, layout

    def count(self, event: gr.EventData, *rest: object) -> Updates:
        """Check all combinations and say how many runs they are, how long they take, or all that is wrong."""
        return self._told(lambda: self._counted(event, rest))

    def queue(self, event: gr.EventData, *rest: object) -> Updates:
        """Queue the grid, if it is still the one that was counted; else count it anew. One ticket queues it once."""
        return self._told(lambda: self._queued(event, rest))

    def open_group(self, event: gr.EventData) -> Updates:
        """Go to the first run of the grid that was just queued."""
        number = getattr(event, "id", None)
        there = isinstance(number, int) and 0 < number < 2**53
        return {self.shell.tabs: self.shell.go("runs"), self.shell.job: str(number) if there else gr.skip()}

    def _told(self, act: Callable[[], tuple[dict[str, Any], Updates]]) -> Updates:
        try:
            told, more = act()
        except (SettingsError, ActionError, StoreError) as error:  # told in the piece, not at the button Start
            told, more = {"problems": problems_of(error)}, {}
        return {self.ui.grid: gr.update(value={"settings": forms.numeric(), "at": time.monotonic_ns(), **told}), **more}

    def _counted(self, event: gr.EventData, rest: Sequence[object]) -> tuple[dict[str, Any], Updates]:
        asked, runs = self._plan(event, rest)
        return self._question(asked, runs), {}

    def _question(self, asked: Asked, runs: Sequence[Run], before: str = "") -> dict[str, Any]:
        says = f"{before}{grid.says(runs)} {grid.takes(self.store, asked.base, runs)}"
        return {"says": says, "count": len(runs), "agreed": _mark(asked, runs)}

    def _queued(self, event: gr.EventData, rest: Sequence[object]) -> tuple[dict[str, Any], Updates]:
        ticket = getattr(event, "ticket", None)
        name = ticket if isinstance(ticket, str) and _TICKET.fullmatch(ticket) else None
        before = self.store.jobs_of_grid(name) if name else []
        if before:
            return self._done(before)
        asked, runs = self._plan(event, rest)
        if getattr(event, "agreed", None) != _mark(asked, runs):
            return self._question(asked, runs, "The form has changed since: "), {}
        stops = getattr(event, "stops", None) is True
        jobs = grid.queue(self.store, asked.base, asked.data, runs, asked.start, asked.mixture, stops=stops, name=name)
        return self._done(jobs)

    def _done(self, jobs: Sequence[Job]) -> tuple[dict[str, Any], Updates]:
        many = f"{len(jobs)} runs are" if len(jobs) != 1 else "1 run is"
        told = {"done": f"{many} queued as one group.", "first": jobs[0].id}
        return told, {self.ui.line: train_facts.queued_line(jobs[0]), self.ui.queued: str(jobs[0].id)}

    def _plan(self, event: gr.EventData, rest: Sequence[object]) -> tuple[Asked, list[Run]]:
        """The runs, all checked, with everything that is wrong at once."""
        asked = self._asked(rest)
        lists, problems = _lists(getattr(event, "lists", None), str(asked.values.get("method") or "lora"))
        runs: list[Run] = []
        try:
            runs = grid.plan(asked.base, asked.data, asked.values, lists, start=asked.start, mixture=asked.mixture)
        except SettingsError as error:
            problems += error.problems
        if problems:
            raise SettingsError(problems)
        self.store.check_line(len(runs))
        return asked, runs

    def _asked(self, rest: Sequence[object]) -> Asked:
        start_id, base_id, data_id, *values, mixed = rest
        base = next((one for one in self.store.base_models() if one.id == base_id), None)
        data = next((one for one in self.store.data_sets() if one.id == data_id), None)
        if base is None or data is None:
            raise SettingsError([told for told, row in zip(_MISSING, (base, data), strict=True) if row is None])
        start = self.store.adapter(start_id) if isinstance(start_id, int) and start_id else None
        mixture = train_mix.read(self.store.data_sets(), data, mixed)
        kept = (*SHAPE, *split_kept(start, [one.id for one, _ in mixture])) if start else ()
        given = forms.settings_of(ORDER, values)
        return Asked(base, data, mixture, start, {name: value for name, value in given.items() if name not in kept})


def _mark(asked: Asked, runs: Sequence[Run]) -> str:
    """What a person agrees to, so that nothing else is queued."""
    weights = [(data.id, weight) for data, weight in asked.mixture]
    agreed = (asked.base.id, weights, asked.start.id if asked.start else None, [dict(run.values) for run in runs])
    return hashlib.sha256(repr(agreed).encode()).hexdigest()


_MISSING = ("Choose a base model.", "Choose a data set, or drop a file.")


def _lists(given: object, method: str) -> tuple[dict[str, list[str]], list[str]]:
    """The lists as they were typed, and what is wrong with them, whatever their values are."""
    known, lists, problems = [one["name"] for one in forms.numeric()], dict[str, list[str]](), list[str]()
    pairs = [pair for pair in given if isinstance(pair, list) and len(pair) == 2] if isinstance(given, list) else []
    for name, text in pairs[: len(known)]:
        if name not in known or not isinstance(text, str):
            continue
        title = str(RunSettings.model_fields[name].title)
        values = list(dict.fromkeys(part for part in _BETWEEN.split(text[:LONGEST]) if part))
        if not values:
            problems.append(f"{title} has no values. Write them like 4, 8, 16.")
        elif not applies(name, method):
            problems.append(f"{title} means nothing to the chosen method. Take it out.")
        else:
            lists[name] = values
    if not pairs:
        problems.append("Choose a setting and give it values.")
    return lists, problems
