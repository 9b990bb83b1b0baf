"""The Train tab: choose a base and data, shape the adapter, see what it will do, start.

The wiring only: which widget of `train_layout` calls which handler of `train_events`, and what each may change.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from studio.page import Studio, said
from studio.shell import Shell
from studio.train_events import TrainEvents, Updates
from studio.train_grid import TrainGrid
from studio.train_layout import MORE, PRESETS, Layout
from studio.train_start import TrainStart

# What the browser counts with alone, while it is moved; every other setting that changes the count asks the server.
_MOVED = ("rank", "alpha", "bottleneck", "prompt_tokens")
_LIVE_NUMBERS = f"({', '.join(_MOVED)}, shape) => window.loraLive({{{', '.join(_MOVED)}}}, shape)"
_COUNTED = ("layers", "rank_stabilised", "start", "rank_pattern", "alpha_pattern", "train_in_full", "bias", "blocks")
# What settles the choice is answered one after the other: an answer to the choice before could come last and undo it.
_IN_TURN: dict[str, Any] = {"concurrency_id": "train choice", "concurrency_limit": 1}
# What is mixed in is taken from the piece itself: whoever types a weight and presses Start at once means that weight.
_MIXED = "document.querySelector('#mix .mix-rows')?.dataset.mixed ?? ''"
_TICKET = f"(...values) => window.studioTicket([...values.slice(0, -2), {_MIXED}, values.at(-1)])"
# The pulse looks at once; problems come into sight, which may be far from the button, once they are drawn.
_STARTED = """() => { window.dispatchEvent(new Event('studio:ask'));
setTimeout(() => document.querySelector('#problems [role=alert]')?.scrollIntoView({block: 'nearest'}), 100) }"""


def build(studio: Studio, shell: Shell) -> None:
    """Draw the tab and connect it."""
    layout = Layout()
    events = TrainEvents(studio, shell, layout)
    wires = _Wires(layout, events, TrainStart(studio, events, layout))
    wires.choices(shell)
    wires.models(shell)
    wires.numbers()
    wires.start(shell)
    wires.grid(TrainGrid(studio, shell, layout))


class _Wires:
    """The tab's widgets and its handlers, brought together."""

    def __init__(self, ui: Layout, events: TrainEvents, starts: TrainStart) -> None:
        self.ui, self.events, self.starts = ui, events, starts
        self._counted = [ui.base, ui.data, ui.mixed, *ui.values()]
        self._arrival = [ui.arrival, ui.rescue, ui.retry, ui.added]

    def choices(self, shell: Shell) -> None:
        """Base, data and start: what fills them, and what follows from a choice."""
        ui, on, starts = self.ui, self.events, self.starts
        rest = [ui.data, ui.looked_at, ui.defaults, *ui.values()]
        asked = [ui.start_from, ui.base, *rest]
        shown = [
            ui.base,
            ui.base_help,
            ui.data,
            ui.data_help,
            ui.mix,
            ui.rows,
            ui.shape,
            ui.defaults,
            ui.looked_at,
            ui.to_count,
        ]
        shown += [*self._arrival, *ui.values(), ui.presets_row, ui.method_help, ui.start_from, ui.start_help]
        shown += ui.presets
        dropped = self._on(ui.drop.upload, on.take_file, [ui.drop], [ui.data, ui.drop], ui.drop_problems, **_IN_TURN)
        for way in (
            shell.page.load,
            shell.pulse.models_changed,
            shell.pulse.data_changed,
            ui.base.input,
            ui.data.input,
            ui.start_from.input,
            ui.settings["method"].input,
            ui.settings["target_modules"].input,
            dropped.then,
        ):
            self._choice(way, starts.show, asked, shown)
        self._choice(shell.start.change, starts.begin, [shell.start, *rest], shown)
        self._choice(shell.pulse.adapters_changed, starts.offer, asked, shown)
        self._choice(shell.train_with.change, starts.train_with, [shell.train_with, *asked], shown)
        ui.mix.mix(None, None, ui.mixed, js=f"() => [{_MIXED}]", show_progress="hidden")
        self._on(ui.data_help.look_at, on.look_at_data, [ui.data], [shell.tabs, shell.data], ui.problems)

    def models(self, shell: Shell) -> None:
        """The way of the starter model, and models from elsewhere."""
        ui, on = self.ui, self.events
        self._on(shell.pulse.jobs_changed, on.look, [ui.looked_at], self._arrival, ui.added)
        self._on(ui.other.click, on.open_rescue, [], [ui.rescue, ui.found], ui.added)
        self._on(ui.found.input, on.take_found, [ui.found], [ui.path], ui.added)
        self._on(ui.retry.click, on.fetch_again, [], self._arrival, ui.added)
        for way in (ui.add.click, ui.path.submit):
            self._on(way, on.add_model, [ui.path], [ui.path, ui.looked_at], ui.added)

    def numbers(self) -> None:
        """What moves the drawings in the browser alone, and what changes the count."""
        ui = self.ui
        moved: list[Any] = [*(ui.settings[name] for name in _MOVED), ui.shape]
        for part in moved:
            part.change(None, moved, ui.drawings, js=_LIVE_NUMBERS, show_progress="hidden")
        pair = [ui.settings["rank"], ui.settings["alpha"]]
        for button, size in zip(ui.presets, PRESETS, strict=True):
            button.click(None, None, pair, js=f"() => [{size}, {2 * size}]", show_progress="hidden")
        counted = _any_of([ui.settings[name].input for name in _COUNTED])
        self._on(counted, self.events.size, [ui.base, *ui.values()], [ui.shape], ui.problems)
        others = [ui.settings[name] for name in (*MORE, "prompt_tokens") if name != "target_modules"]
        typed = [field for field in others if isinstance(field, gr.Number | gr.Textbox)]
        # One event for all of them: a slow count of old values must not come after a quick one of new values.
        changed = _any_of([ui.to_count.change, ui.mixed.change, *(field.input for field in others)])
        self._on(changed, self.events.count, self._counted, [ui.head], ui.figures, concurrency_limit=4)
        self._on(changed, self.events.title, [ui.defaults, *ui.values()], [ui.more], ui.problems)
        self._on(_any_of([field.blur for field in typed]), self.events.check, self._counted, [], ui.problems)

    def start(self, shell: Shell) -> None:
        """The button, the line under it, and what becomes of the run."""
        ui, on = self.ui, self.events
        given = [ui.start_from, ui.base, ui.data, *ui.values(), ui.mixed, ui.ticket]
        once = {"js": _TICKET, "trigger_mode": "once"}
        started = self._on(ui.start.click, self.starts.start, given, [ui.line, ui.queued], ui.problems, **once)
        started.then(None, None, None, js=_STARTED)
        for way in (shell.page.load, shell.pulse.jobs_changed, shell.pulse.settings_changed):
            self._on(way, on.tell, [ui.queued], [], ui.line)
        self._on(ui.line.open_run, on.open_run, [], [shell.tabs, shell.job], ui.problems)

    def grid(self, on: TrainGrid) -> None:
        """Several runs at once, with different values."""
        ui = self.ui
        given = [ui.start_from, ui.base, ui.data, *ui.values(), ui.mixed]
        self._on(ui.grid.grid_count, on.count, given, [ui.grid, ui.line, ui.queued], ui.problems)
        self._on(ui.grid.grid_queue, on.queue, given, [ui.grid, ui.line, ui.queued], ui.problems, trigger_mode="once")
        self._on(ui.grid.grid_open, on.open_group, [], [on.shell.tabs, on.shell.job], ui.problems)

    def _choice(
        self, way: Callable[..., Any], fn: Callable[..., Updates], given: Sequence[Any], shown: Sequence[Any]
    ) -> None:
        """Connect a handler that settles what is chosen."""
        self._on(way, only_changes(fn, given), given, shown, self.ui.problems, **_IN_TURN)

    def _on(
        self,
        way: Callable[..., Any],
        fn: Callable[..., Any],
        given: Sequence[Any],
        shown: Sequence[Any],
        place: gr.HTML,
        **more: Any,
    ) -> Any:
        """Connect one handler: what it is given, what it may change, and the place that says what went wrong."""
        outputs = list(dict.fromkeys([*shown, place]))
        more.setdefault("trigger_mode", "always_last")  # what was typed last is what is answered
        return way(said(fn, place), list(given), outputs, show_progress="hidden", api_visibility="private", **more)


def only_changes(fn: Callable[..., Updates], given: Sequence[Any]) -> Callable[..., Updates]:
    """`fn`, whose answer leaves alone what it was given as it would have it.

    The person may have chosen something else before the answer comes, and would see their choice undone.
    """

    @functools.wraps(fn)
    def answer(*values: Any) -> Updates:
        updates = fn(*values)
        for field, value in zip(given, values, strict=True):
            update = updates.get(field)
            if isinstance(update, dict) and "value" in update and update["value"] == value:
                updates[field] = {key: part for key, part in update.items() if key != "value"}
        return updates

    return answer


def _any_of(triggers: list[Any]) -> Callable[..., Any]:
    """Several triggers as one, so that only the last of a flurry is answered."""

    def connect(*given: Any, **more: Any) -> Any:
        return gr.on(triggers, *given, **more)

    return connect
