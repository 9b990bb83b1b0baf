"""What happens on the Train tab: handlers that take plain values and give updates for widgets.

What is shown is made in `train_facts`; what is asked for is done by `actions`. Each handler is a public endpoint and
trusts no argument. Knows nothing of tokens: the answerer counts them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

import gradio as gr

from adapters_store.states import LIVE
from adapters_store.store import NotFound
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Weighted
from engine.data.check import DataError, read_rows
from engine.settings import RunSettings, SettingsError
from engine.shape import SHAPE
from jobs import snapshot, sources
from jobs.ask import AnswererError
from jobs.queue import ON_DEVICE, queue_paused
from jobs.start_adapter import split_kept
from studio import actions, forms, train_facts, train_mix, train_settings
from studio.page import Studio, problem_list, problems_of
from studio.shell import Shell
from studio.train_layout import MORE, Layout
from studio.train_settings import ORDER

SAY_COUNTING_AFTER = 0.3  # seconds; a count that comes at once shall not flicker
MOST_FOUND = 200  # models on this disk that a list can offer
PLAN_DEADLINE = 90.0  # seconds; the first count has to load the tokenizer
Updates = dict[Any, Any]


class TrainEvents:
    """The handlers of the tab over its widgets. Holds nothing of a visitor: every value comes with its event."""

    def __init__(self, studio: Studio, shell: Shell, layout: Layout) -> None:
        self.studio, self.store = studio, studio.store
        self.shell, self.ui = shell, layout
        self._counters = ThreadPoolExecutor(4, "count")

    # --- base and data --------------------------------------------------------------------------------------------

    def show(self, base_id: object, data_id: object, looked_at: object, defaults: object, *values: object) -> Updates:
        """Everything that follows from the chosen base, data set and method, chosen for the person when nothing is."""
        ui = self.ui
        bases, data_sets = self.store.base_models(), self.store.data_sets()
        added = self._added_base(bases, looked_at)
        base, data = added or _chosen(bases, base_id), _chosen(data_sets, data_id)
        settings = train_settings.follow(ui, base, data, defaults, forms.typed(ORDER, values))
        return {
            ui.base: _choices([(b.name, b.id) for b in bases], base),
            ui.base_help: train_facts.base_help(base, settings[ui.settings["method"]]["value"]),
            ui.data: _choices([(train_facts.data_label(d), d.id) for d in data_sets], data),
            ui.data_help: train_facts.data_help(data),
            ui.mix: gr.update(value=train_mix.offered(data_sets, data)),
            ui.rows: self._first_rows(data),
            **settings,
            **self.look(looked_at),
            ui.looked_at: "" if added else looked_at,
            ui.to_count: str(time.monotonic_ns()),  # any new text: it is counted when this changes
        }

    def _first_rows(self, data: DataSet | None) -> str:
        if data is None:
            return ""
        return train_facts.rows_shown(read_rows(self.store.rows_path(data), train_facts.SHOWN_ROWS), data.rows)

    def take_file(self, path: object) -> Updates:
        """Read a dropped file. When it cannot be used, the data set chosen before stays."""
        ui = self.ui
        if not isinstance(path, str):
            return {ui.drop: None}
        file = Path(path)
        try:
            data = actions.import_file(self.store, file, file.name)
        except DataError as error:
            return {ui.drop: None, ui.drop_problems: problem_list(problems_of(error)) + train_facts.OTHERWISE}
        finally:
            file.unlink(missing_ok=True)  # the rows are kept as a data set; the upload is not needed any more
        choices = [(train_facts.data_label(d), d.id) for d in self.store.data_sets()]
        return {ui.data: gr.update(choices=choices, value=data.id), ui.drop: None, ui.drop_problems: ""}

    def mix_of(self, start: Adapter | Job) -> dict[str, Any]:
        """The update that mixes in what this adapter or run has learned from, as far as it is there."""
        return gr.update(value=train_mix.offered(self.store.data_sets(), start.data_set, start))

    def look_at_data(self, data_id: object) -> Updates:
        """Go to the chosen data set on its own tab."""
        data = self._data(data_id)
        return {self.shell.tabs: self.shell.go("data"), self.shell.data: str(data.id) if data else gr.skip()}

    # --- models that are not here yet -----------------------------------------------------------------------------

    def look(self, looked_at: object) -> Updates:
        """How far the starter model is, and what became of a model that was added."""
        ui, here = self.ui, actions.starter_model(self.store) is not None
        fetch = next((j for j in self.store.jobs(kinds=["fetch"]) if j.settings.get("source") == "starter"), None)
        on_its_way = fetch is not None and fetch.state not in train_facts.ENDED_WITHOUT
        wanted = not here and (fetch is not None or not self.store.base_models())
        updates: Updates = {
            ui.arrival: train_facts.arrival(fetch) if wanted else "",
            ui.retry: gr.update(value="Retry" if fetch else "Fetch it", visible=wanted and not on_its_way),
            ui.added: train_facts.added_line(self._job(looked_at)),
        }
        if fetch is not None and wanted and not on_its_way:
            updates[ui.rescue] = gr.update(visible=True)
        return updates

    def open_rescue(self) -> Updates:
        """Show the field for a model from elsewhere, and those that lie on this disk and are not in the list."""
        listed = {str(base.path) for base in self.store.base_models()}
        found = [model for model in sources.find() if str(model.path) not in listed]
        choices = [(train_facts.found_label(model), str(model.path)) for model in found[:MOST_FOUND]]
        return {
            self.ui.rescue: gr.update(visible=True),
            self.ui.found: gr.update(choices=choices, value=None, visible=bool(choices)),
        }

    def take_found(self, path: object) -> Updates:
        """Put a model that was found on this disk into the field, from where it can be added."""
        return {self.ui.path: path if isinstance(path, str) else "", self.ui.added: ""}

    def fetch_again(self) -> Updates:
        """Queue the fetch of the starter model once more."""
        actions.fetch_starter(self.store)
        return self.look("")

    def add_model(self, text: object) -> Updates:
        """Queue what makes a folder, a GGUF file or a model on a hub a base model; it is listed when it is usable."""
        job = actions.add_model(self.store, text if isinstance(text, str) else "")
        return {self.ui.path: "", self.ui.added: train_facts.added_line(job), self.ui.looked_at: str(job.id)}

    def _added_base(self, bases: list[BaseModel], looked_at: object) -> BaseModel | None:
        job = self._job(looked_at)
        made = job.progress.get("base_model") if job else None
        return next((base for base in bases if base.id == made), None)

    # --- what it will do ------------------------------------------------------------------------------------------

    def title(self, defaults: object, *values: object) -> Updates:
        """How many of the settings that are folded away differ from their defaults."""
        given = forms.settings_of(ORDER, values)
        known = defaults if isinstance(defaults, dict) else {}
        more = {name: given[name] for name in MORE if name in given}
        return {self.ui.more: gr.update(label=forms.more_title(more, known))}

    def size(self, base_id: object, *values: object) -> Updates:
        """What is drawn and counted, after a setting that changes it."""
        return {self.ui.shape: train_settings.shape(self._base(base_id), forms.typed(ORDER, values))}

    def count(self, base_id: object, data_id: object, mixed: object, *values: object) -> Iterator[Updates]:
        """Count steps and tokens with the model's own tokenizer. Meanwhile the old figures stay, at half ink."""
        ui = self.ui
        given = forms.settings_of(ORDER, values)
        base, data = self._base(base_id), self._data(data_id)
        if base is None or data is None:
            yield {ui.figures: _inked(train_facts.figures(None)), ui.head: _head("")}
            return
        mixture = self._mixture(data, mixed)
        try:
            settings = actions.check_settings(base, mixture, given)
        except SettingsError:
            yield {ui.figures: _half(), ui.head: _head("some values cannot be used")}
            return
        plan = self._counters.submit(self._plan, base, mixture, settings)
        try:
            plan.result(timeout=SAY_COUNTING_AFTER)
        except NotYet:
            yield {ui.figures: _half(), ui.head: _head("counting…")}
        except AnswererError:
            pass  # told below, with what to show beside it
        yield self._counted_out(plan)

    def _counted_out(self, plan: Future[dict[str, Any]]) -> Updates:
        ui = self.ui
        try:
            return {ui.figures: _inked(train_facts.figures(plan.result())), ui.head: _head("counted from your data")}
        except AnswererError as error:
            told = train_facts.figures(None) + problem_list(problems_of(error))
            return {ui.figures: _inked(told), ui.head: _head("not counted")}

    def _plan(self, base: BaseModel, mixture: Sequence[Weighted], settings: RunSettings) -> dict[str, Any]:
        plan = self.studio.answerer.request(
            "plan",
            deadline=PLAN_DEADLINE,
            base_path=str(self.store.base_path(base)),
            mixture=[(str(self.store.rows_path(data)), weight, snapshot.sources(data)) for data, weight in mixture],
            settings=settings.model_dump(mode="json"),
        )
        return {**plan, "named": [data.name for data, _ in mixture]}

    def check(self, base_id: object, data_id: object, mixed: object, *values: object) -> Updates:
        """Tell all values that cannot be used, together, as soon as a field is left."""
        base, data = self._base(base_id), self._data(data_id)
        if base is not None and data is not None:
            actions.check_settings(base, self._mixture(data, mixed), forms.settings_of(ORDER, values))
        return {self.ui.problems: ""}

    # --- start ----------------------------------------------------------------------------------------------------

    def start(self, base_id: object, data_id: object, *rest: object, start: Adapter | None = None) -> Updates:
        """Queue the run. The ticket makes a double click ask for the same run twice.

        The shape of a run that starts from an adapter is the adapter's, as are the rows kept aside of the same data,
        so their fields are not asked.
        """
        *values, mixed, ticket = rest
        base, data = self._base(base_id), self._data(data_id)
        if base is None or data is None:
            return {self.ui.problems: problem_list(self._missing(base, data))}
        given = forms.settings_of(ORDER, values)
        mixture = [(one.id, weight) for one, weight in self._mixture(data, mixed)]
        kept = (*SHAPE, *split_kept(start, [id for id, _ in mixture])) if start else ()
        job = actions.start_run(
            self.store,
            base_model_id=base.id,
            data_set_id=data.id,
            mixture=mixture,
            values={name: value for name, value in given.items() if name not in kept},
            start_adapter_id=start.id if start else None,
            key=ticket if isinstance(ticket, str) and len(ticket) == 32 and ticket.isalnum() else None,
        )
        return {self.ui.problems: "", self.ui.line: train_facts.queued_line(job), self.ui.queued: str(job.id)}

    def _missing(self, base: BaseModel | None, data: DataSet | None) -> list[str]:
        told = []
        if base is None and self.store.base_models():
            told.append("Choose a base model.")
        elif base is None:
            told.append("There is no base model yet. Wait for the starter model, or add a model folder.")
        return told if data else [*told, "Choose a data set, or drop a file."]

    def tell(self, queued: object) -> Updates:
        """The line under Start: what became of the run that was started here, else whether one would wait."""
        ahead = len(self.store.jobs(kinds=sorted(ON_DEVICE), states=["queued", *LIVE]))
        job = self._job(queued)
        if job is None:
            waits = train_facts.PAUSED if queue_paused(self.store) else train_facts.wait_line(ahead)
            return {self.ui.line: waits if self.store.base_models() else ""}
        next_one = f" The next one waits for {ahead} run{'' if ahead == 1 else 's'}." if ahead > 1 else ""
        return {self.ui.line: train_facts.queued_line(job) + next_one}

    def open_run(self, event: gr.EventData) -> Updates:
        """Go to the run that was just started."""
        job = self._job(getattr(event, "id", None))
        if job is None:
            return {self.ui.problems: problem_list(["This run is not there any more."])}
        return {self.shell.tabs: self.shell.go("runs"), self.shell.job: str(job.id)}

    # --- rows of the store from what a browser sent -----------------------------------------------------------------

    def _base(self, id: object) -> BaseModel | None:
        return next((base for base in self.store.base_models() if base.id == id), None)

    def _data(self, id: object) -> DataSet | None:
        return next((data for data in self.store.data_sets() if data.id == id), None)

    def _mixture(self, data: DataSet, mixed: object) -> list[Weighted]:
        return train_mix.read(self.store.data_sets(), data, mixed)

    def _job(self, id: object) -> Job | None:
        text = str(id or "")
        try:
            return self.store.job(int(text)) if text.isdecimal() and len(text) < 10 else None
        except NotFound:
            return None


def _chosen(rows: Sequence[Any], id: object) -> Any:
    """The row with this id; while none is chosen, the starter or first one."""
    first = next((row for row in rows if row.source == "starter"), rows[0] if rows else None)
    return next((row for row in rows if row.id == id), first)


def _choices(choices: list[tuple[str, int]], chosen: BaseModel | DataSet | None) -> dict[str, Any]:
    return gr.update(choices=choices, value=chosen.id if chosen else None)


def _head(fact: str) -> str:
    return train_facts.card_head("Before you start", fact)


def _half() -> dict[str, Any]:
    return gr.update(elem_classes="stale-figures")


def _inked(figures: str) -> dict[str, Any]:
    return gr.update(value=figures, elem_classes="")
