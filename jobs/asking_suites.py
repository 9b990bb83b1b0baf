"""The job of kind suite: some contestants answer all prompts of a suite, and each answer is scored.

Settings: {"suite_run"}. Prompts and contestants are rows of one batch, as many as there is memory for. An answer is
written as soon as it is there, so a job that was ended goes on with those that are left. What answers are scored by is
in `engine/suites/scores.py`; how a worker claims its job is in `worker.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.suite_tables import Suite, SuiteAnswer, SuitePrompt, SuiteRun
from engine import generate, likelihood
from engine.adapter import AdapterError
from engine.generate import Asked
from engine.models import LoadedBase
from engine.sampling import Sampling
from engine.snapshot import Snapshot
from engine.suites.prompts import with_system
from engine.suites.scores import scored
from jobs import judging_suites, room
from jobs.answerer import Desk
from jobs.course import memory_now
from jobs.ending import Ending
from jobs.inputs import check_base
from jobs.pace import Pace
from jobs.queue import Lease, patiently
from jobs.seats import sampling_of

LOADING, ANSWERING, READING = "Loading the model", "Answering", "Reading the references"
log = logging.getLogger(__name__)

Kept = dict[str, Any]  # the columns of an answer
Sitting = Mapping[str, Any]


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; what was answered before stays.
        InputError, ModelError, AdapterError, CheckpointError, NoRoom, StoreError: with a sentence for people.
    """
    asked = store.suite_run(int(lease.job.settings["suite_run"]))
    patiently(lambda: store.note_suite_run(asked.id, lease.job.id))
    lease.move("running")
    work = _Work(store, lease, ending, asked)
    done = all(work.sit(sitting) for sitting in asked.sittings) and work.judge()
    lease.move("finishing")
    lease.move("completed" if done else "stopped")


class Row(NamedTuple):
    """One answer that is due: to a prompt, by the contestant at a place of the run, who has a seat on this base."""

    prompt: SuitePrompt
    place: int
    person: Any
    drawn: Sampling


class _Work:
    """One run over a suite: what is left of it, and how far it is."""

    def __init__(self, store: Store, lease: Lease, ending: Ending, run: SuiteRun) -> None:
        self._store, self._lease, self._ending, self._run = store, lease, ending, run
        self._suite: Suite = store.suite(run.suite_id)
        self._prompts = store.suite_prompts(run.suite_id)
        self._kept = {(one.prompt_id, one.place): one for one in store.suite_answers(run.id)}
        self._desk = Desk()
        self._pace = Pace(lease, *self._counted())

    def _counted(self) -> tuple[int, int]:
        """What is done, and what there is to do: answers, and references to be read."""
        places = [place for sitting in self._run.sittings for place in sitting["places"]]
        read = [one for one in self._prompts if self._is_read(one)]
        unread = sum(len(answers) for sitting in self._run.sittings for _, answers in self._unread(sitting))
        known = len(self._kept)
        done = known + sum((one.id, place) in self._kept for one in read for place in places) - unread
        judged = len(self._prompts) * (len(places) - 1) if self._run.judge else 0
        steps = len(places) * (len(self._prompts) + len(read)) + judged
        return done + judged - len(judging_suites.left(self._store, self._run)), steps

    def sit(self, sitting: Sitting) -> bool:
        """Have one sitting do what is left for it. False if somebody asked for an early end."""
        left = self._left(sitting)
        if not left and not self._unread(sitting):
            return True
        drawn = sampling_of({**sitting["payload"], **self._run.sampling})
        with self._ending.may_interrupt():
            base, people = self._seated(sitting)
        seats = {place: (person, how) for place, person, how in zip(sitting["places"], people, drawn, strict=True)}
        self._answer(base, [Row(prompt, place, *seats[place]) for prompt, place in left])
        self._read(base, sitting, {place: person for place, (person, _) in seats.items()})
        return self._lease.stop != "keep"

    def judge(self) -> bool:
        """Have the judge of the run, if it has one, read what is left for it. False as `sit`."""
        if self._run.judge is not None:
            seated = judging_suites.Seated(self._judge_seated, self._lease, self._ending, self._pace)
            judging_suites.judge(self._store, self._run, seated)
        return self._lease.stop != "keep"

    def _judge_seated(self, payload: Mapping[str, Any], person: Mapping[str, Any]) -> tuple[LoadedBase, list[Any]]:
        self._loading(person, Path(payload["base_path"]))
        return self._desk.seated(payload)

    def _left(self, sitting: Sitting) -> list[tuple[SuitePrompt, int]]:
        """The answers that are due, prompt by prompt."""
        pairs = ((one, place) for one in self._prompts for place in sitting["places"])
        return [(one, place) for one, place in pairs if (one.id, place) not in self._kept]

    def _seated(self, sitting: Sitting) -> tuple[LoadedBase, list[Any]]:
        payload = sitting["payload"]
        self._loading(self._run.people[sitting["places"][0]], Path(payload["base_path"]))
        longest = max((one.messages for one in self._prompts), key=lambda said: sum(len(m["content"]) for m in said))
        return self._desk.seated({**payload, **self._run.sampling, "messages": longest})

    def _loading(self, person: Mapping[str, Any], path: Path) -> None:
        self._pace.stage(LOADING)
        self._lease.at_length(LOADING)
        self._desk.use_threads(1 if self._store.jobs(kinds=["train"], states=LIVE, limit=1) else None)
        self._check_base(person, path)

    def _check_base(self, person: Mapping[str, Any], path: Path) -> None:
        """That the base is what it was when the run was asked for. A merged model is no base of the library."""
        base = self._store.base_model(person["base_model_id"])
        if self._store.base_path(base) == path:
            check_base(base, path)

    # --- answers --------------------------------------------------------------------------------------------------

    def _answer(self, base: LoadedBase, rows: Sequence[Row]) -> None:
        self._pace.stage(ANSWERING)
        asked, longest = list[tuple[Row, Asked]](), 0
        for row in rows:
            one = Asked(row.person, with_system(row.prompt.messages, self._suite.system), row.drawn)
            try:
                longest = max(longest, len(generate.prompts_of(base, [one])[0]) + row.drawn.max_tokens)
                if self._is_read(row.prompt):
                    likelihood.check_reference(base, [row.person], one.messages, str(row.prompt.reference))
            except AdapterError:
                raise
            except ValueError as error:  # too long for the model, or the chat template does not take it
                self._keep(row, _answer(problem=str(error)))
            else:
                asked.append((row, one))
        if asked:
            at_once = self._at_once(base, [row.person for row in rows], longest)
            self._hear(base, asked, at_once)

    def _at_once(self, base: LoadedBase, people: Sequence[Any], tokens: int) -> int:
        beside = max(one.size_bytes if one else 0 for one in people)
        rows = room.rows_at_once(base, tokens, beside)
        how = {"device": base.device.kind, "dtype": str(base.device.dtype).removeprefix("torch."), "rows": rows}
        patiently(lambda: self._store.note_suite_run(self._run.id, self._lease.job.id, **how))
        now = memory_now()
        most = now + room.answers_bytes(base.path, room.Answers(rows, tokens), base.device.dtype.itemsize)
        self._lease.report(device=base.device.name, memory_bytes=now, peak_memory_bytes=most)
        log.info("%s answers of up to %s tokens at the same time, on %s", rows, tokens, base.device.name)
        return rows

    def _hear(self, base: LoadedBase, asked: Sequence[tuple[Row, Asked]], at_once: int) -> None:
        """Let all answer, and keep each answer when it is whole."""
        due = dict(enumerate(row for row, _ in asked))
        answers = generate.answers(base, [one for _, one in asked], lambda: self._lease.stop == "keep", at_once)
        with closing(cast(Any, answers)):
            while (said := self._next(answers)) is not None:
                for number in [number for number in due if said.over[number]]:
                    row = due.pop(number)
                    text, reference = said.texts[number], row.prompt.reference
                    scores = scored(self._suite.scores, text, reference, self._suite.pattern)
                    self._keep(row, _answer(text, said.tokens[number], said.finished[number], scores))

    def _next(self, answers: Iterator[Snapshot]) -> Snapshot | None:
        self._lease.moved(ANSWERING)
        with self._ending.may_interrupt():
            return next(answers, None)

    def _keep(self, row: Row, answer: Kept) -> None:
        self._store_answers(row.prompt, [{"place": row.place, **answer}])
        if answer["problem"] and self._is_read(row.prompt):
            self._pace.step(1)  # its reference is not read, either

    def _store_answers(self, prompt: SuitePrompt, answers: Sequence[Kept]) -> None:
        patiently(lambda: self._store.keep_suite_answers(self._run.id, prompt.id, answers))
        for one in answers:
            self._kept[prompt.id, one["place"]] = SuiteAnswer(run_id=self._run.id, prompt_id=prompt.id, **one)
        self._pace.step(len(answers))

    # --- references -----------------------------------------------------------------------------------------------

    def _is_read(self, prompt: SuitePrompt) -> bool:
        """Whether it is measured how likely each contestant is to answer a prompt with its reference."""
        return "perplexity" in self._suite.scores and prompt.reference is not None

    def _unread(self, sitting: Sitting) -> list[tuple[SuitePrompt, list[SuiteAnswer]]]:
        """The answers of a sitting whose reference was not read, by their prompts."""
        asked = [one for one in self._prompts if self._is_read(one)]
        kept = ((one, [self._kept.get((one.id, place)) for place in sitting["places"]]) for one in asked)
        unread = ((one, [answer for answer in answers if answer and _is_unread(answer)]) for one, answers in kept)
        return [(one, answers) for one, answers in unread if answers]

    def _read(self, base: LoadedBase, sitting: Sitting, people: Mapping[int, Any]) -> None:
        unread = self._unread(sitting)
        if unread:
            self._pace.stage(READING)
        for prompt, answers in unread:
            if self._lease.stop == "keep":
                return
            messages = with_system(prompt.messages, self._suite.system)
            self._lease.moved(READING)
            with self._ending.may_interrupt():
                who = [people[answer.place] for answer in answers]
                likely = likelihood.reference_logprob(base, who, messages, str(prompt.reference))
            told = [
                {**_columns(answer), "logprob": one.logprob, "reference_tokens": one.tokens}
                for answer, one in zip(answers, likely, strict=True)
            ]
            self._store_answers(prompt, told)


def _is_unread(answer: SuiteAnswer) -> bool:
    return answer.logprob is None and not answer.problem


def _columns(answer: SuiteAnswer) -> Kept:
    return {name: getattr(answer, name) for name in ("place", *_answer())}


def _answer(
    text: str = "",
    tokens: int = 0,
    finished: bool = False,
    scores: Mapping[str, float] | None = None,
    problem: str = "",
) -> Kept:
    """An answer whose reference was not read."""
    return {
        "text": text,
        "tokens": tokens,
        "finished": finished,
        "scores": dict(scores or {}),
        "logprob": None,
        "reference_tokens": 0,
        "problem": problem,
    }
