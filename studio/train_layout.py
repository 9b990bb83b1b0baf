"""The widgets of the Train tab and where they stand. Nothing here reacts to anything: `train_tab` connects them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio import forms, train_facts
from studio.shell import hidden, html, scripted

PRESETS = (4, 8, 16, 32, 64, 128)
ADAPTER = forms.names("adapter")
MORE = forms.names("more")


class Layout:
    """All widgets of the tab as attributes. Made inside the tab; each part below is one card."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=7, min_width=320):
                self._base_and_data()
                self._adapter()
                self._more()
            with gr.Column(scale=3, min_width=320, elem_classes="sticky"):
                self._before_you_start()
        self._unseen()

    def values(self) -> list[Any]:
        """The widgets of all settings: first the adapter's, then the others, as in `ADAPTER` and `MORE`."""
        return [self.settings[name] for name in (*ADAPTER, *MORE)]

    def _base_and_data(self) -> None:
        with gr.Column(elem_classes="card"):
            html(train_facts.card_head("Base and data", ""))
            with gr.Row(elem_classes="line arrival"):
                self.arrival = html()
                self.retry = gr.Button("Retry", size="sm", visible=False, elem_id="retry")
            with gr.Row():
                with gr.Column(min_width=220, elem_classes="tight"):
                    self.base = forms.unjudged(gr.Dropdown([], label="Base model", interactive=True, elem_id="base"))
                    # Until this is told anew the fields are not filled, and nothing can be pressed (theme.css).
                    self.base_help = html(f'<i class="unfilled"></i>{train_facts.base_help(None)}')
                    self.other = gr.Button("Add a model", size="sm", elem_classes="link", elem_id="other-model")
                with gr.Column(min_width=220, elem_classes="tight"):
                    self.data = forms.unjudged(gr.Dropdown([], label="Data set", interactive=True, elem_id="data"))
                    self.data_help = html(
                        train_facts.data_help(None),
                        js_on_load="""element.addEventListener('click', e => {
                            if (e.target.closest('button')) trigger('look_at') })""",
                    )
                    self.mix = scripted(
                        "mix.js",
                        "mountMix",
                        "element, trigger, watch, props",
                        "mix",
                        value={"sets": [], "first": None},
                        html_template="<div></div>",
                        elem_id="mix",
                    )
            self._other_model()
            self.start_from = forms.unjudged(
                gr.Dropdown([], label="Start from", interactive=True, visible=False, elem_id="start-from")
            )
            self.start_help = html(elem_id="start-help")
            self.drop = gr.File(label="Data file", height=44, elem_classes="drop", type="filepath", elem_id="drop")
            self.drop_problems = html(elem_id="drop-problems")
            self.rows = html(elem_id="first-rows")

    def _other_model(self) -> None:
        with gr.Column(visible=False, elem_classes="rescue") as self.rescue:
            with gr.Row(elem_classes="line"):
                self.path = gr.Textbox(
                    label="Model folder, hub id or GGUF file",
                    show_label=False,
                    container=False,
                    max_lines=1,
                    placeholder="A model folder, organisation/name on the hub, or a GGUF file",
                    elem_id="model-path",
                )
                self.add = gr.Button("Add", size="sm", elem_id="add-model")
            self.found = forms.unjudged(
                gr.Dropdown([], label="Models on this disk", visible=False, interactive=True, elem_id="models-found")
            )
            self.added = html(elem_id="model-added")

    def _adapter(self) -> None:
        with gr.Column(elem_classes="card", elem_id="adapter"):
            head = _drawn("loraHead")
            with gr.Row(elem_classes="method-row"):
                with gr.Column(min_width=240):
                    self.settings = {"method": forms.widget("method")}
                    self.settings["method"].info = None  # more is said beside it
                with gr.Column(min_width=240):
                    self.method_help = html(elem_id="method-help")
            with gr.Row():
                with gr.Column(min_width=240):
                    self.settings["rank"] = forms.widget("rank")
                    with gr.Row(elem_classes="presets") as self.presets_row:
                        self.presets = [gr.Button(str(rank), size="sm", min_width=20) for rank in PRESETS]
                    for name in ADAPTER[2:]:
                        self.settings[name] = forms.widget(name)
                with gr.Column(min_width=240):
                    figure = _drawn("loraFigure")
        self.drawings = [figure, head]

    def _more(self) -> None:
        self.more = gr.Accordion("More settings", open=False, elem_classes="card", elem_id="more")
        with self.more, gr.Row(elem_classes="settings"):
            for name in MORE:
                self.settings[name] = forms.widget(name)

    def _before_you_start(self) -> None:
        with gr.Column(elem_classes="card", elem_id="before"):
            self.head = html(train_facts.card_head("Before you start", ""))
            self.problems = html(elem_id="problems")
            self.drawings.append(_drawn("loraSize"))
            self.figures = html(train_facts.figures(None), elem_id="figures")
            with gr.Column(elem_id="start-bar"):
                self.start = gr.Button("Start fine-tune", variant="primary", size="lg", elem_id="start")
                self.line = html(
                    elem_id="start-line",
                    html_template='<p class="status" role="status">${value}</p>',
                    js_on_load="""element.addEventListener('click', e => {
                        const button = e.target.closest('button[data-job]');
                        if (button) trigger('open_run', {id: button.dataset.job}) })""",
                )

            self.grid = scripted(
                "grid_form.js",
                "mountGrid",
                "element, trigger, watch, props",
                "grid_count grid_queue grid_open",
                value={"settings": forms.numeric(), "at": 0},
                html_template="<div></div>",
                elem_id="grid",
            )

    def _unseen(self) -> None:
        self.shape = gr.JSON({}, visible="hidden")
        self.defaults = gr.JSON({}, visible="hidden")
        self.ticket = hidden("ticket")
        self.queued = hidden("queued-run")
        self.looked_at = hidden("added-model")
        self.to_count = hidden("to-count")
        self.mixed = hidden("mixed")


def _drawn(function: str) -> gr.HTML:
    """A piece that a function of lora_figure.js draws from numbers."""
    return html({}, html_template=f"${{window.{function}(value)}}")
