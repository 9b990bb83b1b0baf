"""The Library's way in for adapters from elsewhere: a zip or a folder, the base model it is for, and what became of it.

What is asked for is done by `adapter_actions.py`; a worker checks everything. Each handler is a public endpoint and
trusts no argument. Keeps nothing about a visitor on the server.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from adapters_store.errors import NotFound
from adapters_store.tables import Job
from jobs.progress import job_sentence
from studio import adapter_actions, forms
from studio.actions import ActionError
from studio.page import Studio, problem_list, said
from studio.shell import Shell, hidden, html

THE_ONE_IT_FITS = ("The one it fits", 0)
LONGEST_PATH = 4000  # characters
ENDED_WITHOUT = ("failed", "cancelled", "interrupted")
Updates = dict[Any, Any]


class ImportPanel:
    """The folded panel under the table. One for all visitors."""

    def __init__(self, studio: Studio, shell: Shell) -> None:
        self.store, self.shell = studio.store, shell
        self.job = hidden("import-job")
        with gr.Accordion("Import an adapter", open=False, elem_classes="card", elem_id="import"):
            html(
                '<p class="help">An adapter in PEFT\'s format, or in our own where PEFT lacks the method: a zip, or '
                "a folder of this machine with adapter_config.json (studio_adapter.json in our own format) and "
                "adapter_model.safetensors. Nothing in it is run.</p>"
            )
            self.zip = gr.File(
                label="Adapter zip", height=44, elem_classes="drop zip", type="filepath", elem_id="import-zip"
            )
            with gr.Row():
                self.path = gr.Textbox(label="Or its folder", max_lines=1, elem_id="import-path")
                self.name = gr.Textbox(label="Name", placeholder="Its own", max_lines=1, elem_id="import-name")
            self.base = forms.unjudged(
                gr.Dropdown([THE_ONE_IT_FITS], value=0, label="Base model", interactive=True, elem_id="import-base")
            )
            self.press = gr.Button("Import", size="sm", elem_id="import-press")
            self.line = html(elem_id="import-line")

    def connect(self) -> None:
        """Which field changes what."""
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        latest: dict[str, Any] = {**private, "trigger_mode": "always_last"}
        seen, given = [self.base, self.line], [self.zip, self.path, self.base, self.name]
        for way in (self.shell.page.load, self.shell.pulse.models_changed):
            way(said(self.bases, self.line), [self.base], seen, **latest)
        for given_now in (self.zip.upload, self.path.blur, self.path.submit):
            given_now(said(self.look, self.line), [self.zip, self.path], seen, **latest)
        outputs = [self.zip, self.path, self.name, self.job, self.line]
        self.press.click(said(self.take, self.line), given, outputs, **private)
        for change in (self.shell.pulse.jobs_changed, self.job.change):
            change(said(self.follow, self.line), [self.job], [self.line], **latest)

    def bases(self, chosen: object) -> Updates:
        """The base models there are; the choice stays."""
        choices = [THE_ONE_IT_FITS, *((base.name, base.id) for base in self.store.base_models())]
        kept = chosen if chosen in [number for _, number in choices] else 0
        return {self.base: gr.update(choices=choices, value=kept)}

    def look(self, upload: object, path: object) -> Updates:
        """Choose the base model that what was given fits, and say what speaks against it."""
        place = _place(upload, path)
        if place is None:
            return {self.line: gr.skip()}
        base = adapter_actions.likely_base(self.store, place)
        if base is None:
            raise ActionError("This adapter fits none of the base models here. Add its base model on the Train page.")
        return {self.base: base.id, self.line: _status(f"It fits {base.name}.")}

    def take(self, upload: object, path: object, base: object, name: object) -> Updates:
        """Queue the import; the fields are free for the next one."""
        place = _place(upload, path)
        if place is None:
            return {self.line: problem_list(["Drop a zip, or give the path of the adapter's folder."])}
        chosen = base if isinstance(base, int) and base > 0 else None
        called = name if isinstance(name, str) else ""
        job = adapter_actions.import_adapter(self.store, place, chosen, called, upload=isinstance(upload, str))
        return {self.zip: None, self.path: "", self.name: "", self.job: str(job.id), self.line: _told(job)}

    def follow(self, number: object) -> Updates:
        """What became of the import that this page asked for."""
        text = number if isinstance(number, str) else ""
        if not text.isdecimal() or len(text) > 15:
            return {self.line: gr.skip()}
        try:
            job = self.store.job(int(text))
        except NotFound:
            return {self.line: gr.skip()}
        return {self.line: _told(job) if job.kind == "import" else gr.skip()}


def job_line(job: Job, done: str) -> str:
    """Where a job stands, as markup; `done` is said when it has come to its end."""
    if job.state in ENDED_WITHOUT:
        return problem_list([job_sentence(job)])
    return _status(done if job.state == "completed" else job_sentence(job))


def _told(job: Job) -> str:
    return job_line(job, f"{job.progress.get('adapter') or job.name} is in the library.")


def _status(sentence: str) -> str:
    return f'<p class="status" role="status">{escape(sentence)}</p>'


def _place(upload: object, path: object) -> Path | None:
    """What was given: the upload first."""
    if isinstance(upload, str):
        return Path(upload)
    text = path.strip() if isinstance(path, str) else ""
    if not text or len(text) > LONGEST_PATH or "\0" in text:
        return None
    return Path(text)
