"""The Compare tab: several contestants answer one prompt, streamed side by side from one base in memory.

The answerer computes; this tab asks, passes on what comes at most ten times a second, and closes the line when someone
presses Stop or leaves. Keeps nothing about a visitor on the server: the choice lives in hidden fields of the page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from adapters_store.comparison_tables import Comparison
from engine import starter
from engine.data.check import DataError, read
from jobs.ask import AnswererError
from studio import (
    answer_grid,
    answering,
    closer,
    columns,
    comparing,
    contestants,
    draft,
    room_beside,
    scores,
    seating,
    way_out,
)
from studio.ask_form import PLAIN, USUAL, first_question, prompt_problems
from studio.asked import Question
from studio.asked_on_page import read_question
from studio.contestants import Contestant
from studio.page import Studio, problem_list, said
from studio.past_comparisons import questions
from studio.runs_tab import answered, number_of
from studio.shell import Shell, html, scripted

NO_BASE = "No base model is here yet. The starter model comes by itself; Runs shows how far it is."

# The choice is kept in a field of our own, so that a piece which is drawn late never undoes it.
_CHOSEN = """() => { const values = document.querySelector('#compare-who [data-chosen]').dataset.chosen.split(',')
  return [values.join(','), values.filter(v => v.startsWith('adapter-')).map(v => v.slice(8)).join(',')] }"""
# Whoever picks contestants by hand keeps the focus there.
_FOCUS = """() => { if (!document.activeElement?.closest('#compare-who'))
  document.querySelector('#compare-prompt textarea')?.focus() }"""

Update = dict[Any, Any]


def build(studio: Studio, shell: Shell) -> None:
    """Fill the tab; it stands in its gr.Tab."""
    Compare(studio, shell).connect()


class Compare:
    """The pieces of the tab and what its events do. One for all visitors, so it keeps nothing but the pieces."""

    def __init__(self, studio: Studio, shell: Shell):
        self.studio, self.store, self.shell = studio, studio.store, shell
        self.chosen = gr.Textbox(contestants.NOBODY_YET, label="chosen", visible="hidden", elem_id="compare-chosen")
        with gr.Column(elem_classes="card ask-card"):
            html('<h2 class="for-readers">Compare</h2>', elem_classes="for-readers")
            with gr.Row(elem_classes="ask-row"):
                self.who = scripted(
                    "columns.js",
                    "mountColumns",
                    "element, trigger, watch, props",
                    "choose",
                    value={"columns": [], "choices": [], "presets": []},
                    html_template="<div></div>",
                    elem_id="compare-who",
                )
                self.names = gr.Radio(
                    ["Open", "Blind"], value="Open", label="Names", interactive=True, elem_id="compare-names", scale=0
                )
                bounds: Any = {"precision": 0, "minimum": 0, "maximum": 2**31 - 1}
                self.seed = gr.Number(
                    7, label="Seed", interactive=True, min_width=96, scale=0, elem_id="compare-seed", **bounds
                )
            with gr.Row(elem_classes="ask-row ask"):
                self.prompt = gr.Textbox(
                    label="Prompt", lines=1, max_lines=8, interactive=True, elem_id="compare-prompt", scale=1
                )
                self.go = gr.Button("Answer", variant="primary", scale=0, min_width=120, elem_id="compare-go")
                self.halt = gr.Button("Stop", visible=False, scale=0, min_width=120, elem_id="compare-stop")
            # Apart, so that what is said about the choice never takes back why a press of Answer came to nothing.
            self.problems, self.refused = html(elem_id="compare-problems"), html(elem_id="compare-refused")
            self.note = html(elem_id="compare-note")
            self.how = scripted(
                "columns.js",
                "mountSampling",
                "element, props",
                "",
                value={**USUAL, **PLAIN, "samples": 1, "stop": "", "system": "", "own": {}},
                html_template="<div></div>",
                elem_id="compare-sampling",
            )
        self.grid = scripted(
            "compare.js",
            "mountAnswers",
            "element, trigger, watch, props, server",
            "example again reseed onwards way_out",
            value=answer_grid.EMPTY,
            hint=answer_grid.hint("", ""),
            html_template="<div></div>",
            server_functions=[
                answered(fn) for fn in (*questions(self.store), *closer.questions(self.store, studio.answerer))
            ],
            elem_id="compare-answers",
        )

    def connect(self) -> None:
        """Which field changes what."""
        shell = self.shell
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        at_once = {**quiet, "queue": False}
        # What settles the choice goes one after the other, or an older answer could arrive last.
        in_turn = {**quiet, "concurrency_id": "choice", "concurrency_limit": 1}
        # None of this ever writes the answers, so it cannot cover them however late it comes.
        who = [shell.contestants, self.chosen]
        filled: Any = [self.who, self.chosen, self.note, self.problems, self.grid]
        fill = said(self.fill, self.problems)
        renew = said(self.renew, self.problems)

        fields = [self.prompt, self.names, self.seed]
        shell.opened.then(None, [*who, *fields], [shell.contestants, *fields], js=draft.FIELDS, show_progress="hidden")
        shell.opened.then(renew, who, filled, js=draft.WHO, **in_turn)
        handed = shell.contestants.change(fill, who, filled, js=draft.WHO, **in_turn)
        handed.then(None, None, None, js=_FOCUS, show_progress="hidden")
        shell.pulse.adapters_changed(renew, who, filled, trigger_mode="always_last", **in_turn)
        shell.pulse.models_changed(renew, who, filled, trigger_mode="always_last", **in_turn)
        self.who.choose(None, None, [self.chosen, shell.contestants], js=_CHOSEN, show_progress="hidden")
        self.chosen.change(fill, who, filled, **in_turn)
        self.grid.example(said(self.example, self.refused), who, [self.prompt, self.refused], **at_once)

        asked = [*who, self.names, self.prompt, self.seed, self.how]
        shown = [self.grid, self.go, self.halt, self.problems, self.refused, self.note]
        # "multiple": after Stop the browser takes the old question for pending until the server has ended it, and would
        # drop the next one. It waits in turn instead.
        # Answers take turns at the answerer; while one's proof is made the next question may come; the proof gives way.
        ask: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "answers", "trigger_mode": "multiple", **quiet}
        ended = [self.grid, self.go, self.halt]
        events: Any = [
            way(said(self.answer, self.refused), asked, shown, js=draft.WHO, **ask)
            for way in (self.go.click, self.prompt.submit)
        ]
        kept = ((self.grid.again, self.again), (self.grid.reseed, self.reseed), (self.grid.onwards, self.onwards))
        events += [event(said(fn, self.refused), None, shown, **ask) for event, fn in kept]
        events.append(self.grid.way_out(said(self.way_out, self.refused), asked, shown, **ask))
        self.halt.click(self.stopped, self.grid, ended, cancels=events, **at_once)

    # --- who answers ---

    def fill(self, handed: str, chosen: str) -> Update:
        """The contestants handed over from a run or the library; nothing moves when they are the chosen ones."""
        people = contestants.standing(self.store, handed, chosen)
        return self._judged(people) if _text(people) == chosen else self._show(people)

    def renew(self, handed: str, chosen: str) -> Update:
        """The choices, when a page is opened or the library has changed; what was deleted is no longer chosen."""
        people = contestants.standing(self.store, handed, chosen)
        return self._show(people or contestants.with_base(self.store, ""))

    def _show(self, chosen: list[Contestant]) -> Update:
        return {self.who: columns.facts(self.store, chosen), self.chosen: _text(chosen), **self._judged(chosen)}

    def _judged(self, chosen: list[Contestant]) -> Update:
        # Nobody is told off for having chosen nobody yet.
        wrong = contestants.problems(chosen) if chosen else []
        advice = contestants.advice(chosen) if self.store.base_models() else NO_BASE
        return {
            self.problems: problem_list(wrong),
            self.note: self._note(chosen),
            self.grid: gr.HTML(
                hint={**answer_grid.hint(advice, self._example(chosen)), "scores": self._scores(chosen)}
            ),
        }

    def _scores(self, chosen: list[Contestant]) -> dict[str, Any]:
        return scores.card(self.store, [scores.Standing(one.name, one.identity) for one in chosen if not one.copy])

    # --- asking ---

    def answer(self, *asked: Any) -> Iterator[Update]:
        """Stream the answers of all contestants; whoever stops listening stops the answerer within a token."""
        question = self._question(*asked)
        yield from self._asked(question, {"event": "answer"}) if isinstance(question, Question) else iter([question])

    def _question(self, handed: str, chosen: str, names: str, prompt: str, seed: float, how: Any) -> Question | Update:
        """What the fields ask; or the update that says what is wrong with them."""
        people = contestants.standing(self.store, handed, chosen)
        sides = comparing.new_sides() if names == "Blind" else None
        question, wrong = read_question(people, prompt, seed, how, sides)
        unfit = contestants.problems(people)
        if wrong or unfit:
            return {self.problems: problem_list(unfit), self.refused: problem_list(wrong)}
        return question

    def again(self, event: gr.EventData) -> Iterator[Update]:
        """Ask the question of a kept comparison exactly as it was."""
        before = self._kept(event)
        retry = {"event": "again", "id": before.id}
        yield from self._asked(comparing.again(self.store, before), retry, before)

    def reseed(self, event: gr.EventData) -> Iterator[Update]:
        """Ask the question of a kept comparison with a new seed."""
        before = self._kept(event)
        yield from self._asked(comparing.otherwise(self.store, before), {"event": "reseed", "id": before.id})

    def onwards(self, event: gr.EventData) -> Iterator[Update]:
        """Ask the next question of a conversation: every column goes on with its own answers."""
        before, prompt = self._kept(event), way_out.prompt_of(event)
        if wrong := prompt_problems(prompt):
            yield {self.refused: problem_list(wrong)}
            return
        retry = {"event": "onwards", "id": before.id, "prompt": prompt}
        yield from self._asked(comparing.onwards(self.store, before, prompt), retry)

    def way_out(
        self, handed: str, chosen: str, names: str, prompt: str, seed: float, how: Any, event: gr.EventData
    ) -> Iterator[Update]:
        """Ask once more what there was no memory for: on the CPU, when the run has ended, or when it has paused."""
        way, retry = way_out.chosen(event)
        question = way_out.question(self.store, retry) or self._question(handed, chosen, names, prompt, seed, how)
        if not isinstance(question, Question):
            yield question
            return
        yield {self.go: gr.Button(visible=False), self.halt: gr.Button(visible=True), self.refused: ""}
        for words in way_out.until_free(self.store, way):
            yield {self.note: f'<p class="status">{escape(words)}</p>'}
        yield from self._asked(replace(question, device="cpu" if way == "cpu" else None), retry)

    def _kept(self, event: gr.EventData) -> Comparison:
        return self.store.comparison(int(number_of(event, "id") or 0))

    def _asked(self, question: Question, retry: dict[str, Any], before: Comparison | None = None) -> Iterator[Update]:
        question = room_beside.beside_runs(self.store, question)
        people, asked_at = list(question.people), int(time.time() * 1000)
        grid = answer_grid.of_round(answering.waiting(question), asked_at)
        yield {
            self.grid: grid,
            self.go: gr.Button(visible=False),
            self.halt: gr.Button(visible=True),
            self.problems: "",
            self.refused: "",
            self.note: self._note(people),
        }
        ready = self._ready()
        try:
            for told in answering.answers(self.studio, question, before):
                grid = answer_grid.of_round(told, asked_at)
                # With the answers: updates that come close together can be taken for one, and the last one wins. And
                # only once: when a proof comes, the next question may be under way.
                yield {self.grid: grid, **(ready if told["state"] == "complete" else {})}
                ready = {} if told["state"] == "complete" else ready
        except AnswererError as error:
            # What was said so far stays; the reason stands beside it.
            said_any = any(column["text"] for column in grid["columns"])
            words = "The answers broke off." if said_any else "Nothing was answered."
            broken = answer_grid.ended(grid, words) | {"ways": way_out.offered(self.store, error, retry)}
            yield {self.grid: broken, self.refused: problem_list([str(error)]), **self._ready()}

    def stopped(self, grid: Any) -> Update:
        """Keep what was said so far."""
        return {self.grid: answer_grid.ended(grid, "Stopped."), **self._ready()}

    def _ready(self) -> Update:
        return {self.go: gr.Button(visible=True), self.halt: gr.Button(visible=False)}

    # --- what is said beside it ---

    def _note(self, chosen: list[Contestant]) -> str:
        said = [contestants.bases_note(chosen), *seating.notes(chosen), contestants.passes_note(chosen)]
        if room_beside.on_cpu(jobs := room_beside.at_work(self.store)):
            said.append(f"{jobs[0].name} computes on the CPU, so answers use one thread and come slower.")
        words = escape(" ".join(filter(None, said)))
        return f'<p class="status">{words}</p>' if words else ""

    def example(self, handed: str, chosen: str) -> Update:
        """Put the example into the prompt."""
        return {self.prompt: self._example(contestants.standing(self.store, handed, chosen)), self.refused: ""}

    def _example(self, chosen: list[Contestant]) -> str:
        """A question in the manner of the sample the first adapter was trained on, from its held-out rows."""
        data = next((one.adapter.data_set for one in chosen if one.adapter), None)
        try:
            samples = starter.samples()
            sample = next((one for one in samples if data and one.name == data.name), samples[0])
            rows = read(sample.held_out).rows
        except (OSError, DataError):
            return ""
        return first_question(rows[0]) if rows else ""


def _text(chosen: list[Contestant]) -> str:
    return ",".join(one.value for one in chosen)
