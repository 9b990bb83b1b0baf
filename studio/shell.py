"""The frame all tabs hang in: the top bar, the tabs, the pulse that tells what changed, and the fields tabs share.

A tab never writes into another tab's widgets: it sets one of the hidden fields here (`job`, `adapter`, `data`, ...)
and the other tab listens. Nothing about a visitor is kept on the server, so a page can be reloaded, or opened twice, at
any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr

from studio.page import Studio, log
from studio.static_files import module

_STRENGTH = re.compile(r"[0-9](\.[0-9]{1,3})?")
TabName = Literal["train", "runs", "library", "compare", "data"]
TABS: tuple[TabName, ...] = ("train", "runs", "library", "compare", "data")
FIELDS = ("job", "adapter", "contestants", "start", "data", "train_with")  # that tabs share, as in Shell

_TOP = """
<div class="top-row">
  <h1 class="brand">LoRA Studio</h1>
  <div class="top-facts">
    <button type="button" class="pill idle" id="pulse-pill"><span class="word">idle</span></button>
    <span id="machine"></span>
    <button type="button" class="small" id="theme-switch" aria-pressed="false">Dark</button>
  </div>
  <p class="for-readers" id="announcer" role="status" aria-live="polite"></p>
</div>
"""

# The event names stand here in quotes because Gradio looks for them in this text.
_START_PULSE = """window.studioPulse(element, trigger, server, ['jobs_changed', 'adapters_changed',
'models_changed', 'data_changed', 'settings_changed', 'open_run'])"""


def html(value: Any = "", **options: Any) -> gr.HTML:
    """A piece of our own markup, without Gradio's prose style. Whoever passes text of a person escapes it first."""
    return gr.HTML(value, apply_default_css=False, **options)


def scripted(script: str, mount: str, given: str, events: str, **options: Any) -> gr.HTML:
    """A piece that a module of ours makes answer: its function `mount` is called with an object of the names `given`.

    The module comes over the network, so what the server draws may be there first. Until `mount` has run the piece is
    neither seen nor pressed (`.scripted` in theme.css), for nobody would hear the press. `events` names what the module
    triggers, because Gradio looks for the quoted names in this text.
    """
    quoted = " ".join(f"'{event}'" for event in events.split())
    on_load = f"""{module(script)}.then(part => {{
      part.{mount}({{{given}}});
      element.dataset.ready = '';
    }}).catch(error => {{ element.dataset.failed = ''; throw error }});
    // {quoted}"""
    return html(js_on_load=on_load, elem_classes="scripted", **options)


@dataclass
class Shell:
    """What the tabs share. `page.load(fn, ...)` runs when a page is opened; `start` is the adapter to train on from,
    `train_with` the data set to train with.

    `opened.then(fn, ...)` runs once the fields hold what the address names.
    """

    page: gr.Blocks
    tabs: gr.Tabs
    pulse: gr.HTML
    job: gr.Textbox
    adapter: gr.Textbox
    contestants: gr.Textbox
    start: gr.Textbox
    data: gr.Textbox
    train_with: gr.Textbox
    opened: Any = field(init=False)

    def __post_init__(self) -> None:
        self.opened = self._read_address()

    def _read_address(self) -> Any:
        def from_address(request: gr.Request) -> tuple[Any, Any, Any, Any, Any]:
            query = request.query_params
            tab = query.get("tab", "train")
            # What the address does not name is left alone: somebody quick may have chosen it already.
            return (
                gr.Tabs(selected=tab if tab in TABS else "train"),
                _number(query.get("job")) or gr.skip(),
                _number(query.get("adapter")) or gr.skip(),
                _ids(query.get("contestants")) or gr.skip(),
                _number(query.get("data")) or gr.skip(),
            )

        shown = [self.tabs, self.job, self.adapter, self.contestants, self.data]
        return self.page.load(from_address, None, shown, show_progress="hidden", queue=False)

    def go(self, tab: TabName) -> gr.Tabs:
        """The update that opens a tab; its event names `tabs` as an output."""
        return gr.Tabs(selected=tab)


def hidden(name: str) -> gr.Textbox:
    """A field of the page that only events read and write."""
    return gr.Textbox("", label=name, visible="hidden", elem_id=f"shared-{name}")


def top_bar(studio: Studio) -> gr.HTML:
    """The bar over the tabs. It asks once a second what changed, with short requests, while the page is in sight."""

    def changes(question: object) -> dict[str, Any]:
        """Answers the pulse. It is a public endpoint, so the question is checked."""
        after = question.get("after") if isinstance(question, dict) else None
        try:
            return studio.changes(after if isinstance(after, int) else -1)
        except Exception:
            log.exception("The pulse failed")
            return {"problem": "The data folder cannot be read. The log of the page says more."}

    return html(
        _TOP,
        elem_id="top",
        js_on_load=_START_PULSE,
        server_functions=[changes],
    )


def _number(text: str | None) -> str:
    return text if text and text.isdecimal() and len(text) < 10 else ""


def _ids(text: str | None) -> str:
    """The adapters that the address names, some at a strength: `3,5@0.5`."""
    named = [part.partition("@") for part in (text or "").split(",")[:8]]
    return ",".join(
        number + (at + strength if _STRENGTH.fullmatch(strength) else "")
        for number, at, strength in named
        if _number(number)
    )


def connect(shell: Shell) -> None:
    """The fields into the address bar, and the running pill."""

    def open_run(event: gr.EventData) -> tuple[gr.Tabs, str]:
        return shell.go("runs"), _number(str(getattr(event, "id", "")))

    fields = [shell.job, shell.adapter, shell.contestants, shell.data]
    shell.pulse.open_run(open_run, None, [shell.tabs, shell.job], show_progress="hidden", queue=False)
    for one in fields:
        one.change(
            None,
            fields,
            None,
            js="(job, adapter, contestants, data) => { window.studioAddress({job, adapter, contestants, data}) }",
            show_progress="hidden",
        )
