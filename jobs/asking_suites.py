"""The job of kind suite: some contestants answer all prompts of a suite, and each answer is scored.

Settings: {"suite_run"}. The answers to a prompt are written as soon as they are there, all contestants of a sitting at
once, so a job that was ended goes on with the prompts that are left. What answers are scored by is in
`engine/suites/scores.py`; how a worker claims its job is in `worker.py`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.suite_tables import Suite, SuitePrompt, SuiteRun
from engine import generate
from engine.adapter import AdapterError
from engine.generate import Asked, Snapshot
from engine.likelihood import Likelihood, reference_logprob
from engine.models import LoadedBase
from engine.sampling import Sampling
from engine.suites.prompts import with_system
from engine.suites.scores import scored
from jobs.answerer import Desk
from jobs.ending import Ending
from jobs.inputs import check_base
from jobs.progress import seconds_left, smooth
from jobs.queue import Lease, patiently
from jobs.seats import sampling_of

Kept = dict[str, Any]  # the columns of an answer


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
    done = all(work.sit(sitting) for sitting in asked.sittings)
    lease.move("finishing")
    lease.move("completed" if done else "stopped")


class _Work:
    """One run over a suite: what is left of it, and how far it is."""

    def __init__(self, store: Store, lease: Lease, ending: Ending, run: SuiteRun) -> None:
        self._store, self._lease, self._ending, self._run = store, lease, ending, run
        self._suite: Suite = store.suite(run.suite_id)
        self._prompts = store.suite_prompts(run.suite_id)
        self._answered = {(one.prompt_id, one.place) for one in store.suite_answers(run.id)}
        self._desk = Desk()
        self._steps = len(self._prompts) * len(run.sittings)
        self._step = self._steps - sum(len(self._left(sitting)) for sitting in run.sittings)
        self._first, self._began = self._step, time.monotonic()
        self._recent: float | None = None

    def sit(self, sitting: Mapping[str, Any]) -> bool:
        """Have one sitting answer what is left for it. False if somebody asked for an early end."""
        left = self._left(sitting)
        if not left:
            return True
        drawn = sampling_of({**sitting["payload"], **self._run.sampling})
        with self._ending.may_interrupt():
            base, people = self._seated(sitting, left)
        for prompt in left:
            if self._lease.stop == "keep":
                return False
            began = time.monotonic()
            with self._ending.may_interrupt():
                answers = _answers(base, people, drawn, self._suite, prompt)
            kept = [{"place": place, **one} for place, one in zip(sitting["places"], answers, strict=True)]
            self._keep(prompt, kept)
            self._report(time.monotonic() - began)
        return True

    def _left(self, sitting: Mapping[str, Any]) -> list[SuitePrompt]:
        """The prompts that somebody in the sitting has not answered."""
        places = sitting["places"]
        return [one for one in self._prompts if any((one.id, place) not in self._answered for place in places)]

    def _seated(self, sitting: Mapping[str, Any], left: Sequence[SuitePrompt]) -> tuple[LoadedBase, list[Any]]:
        payload = sitting["payload"]
        self._lease.report(stage="Loading the model", step=self._step, steps=self._steps)
        self._desk.use_threads(1 if self._store.jobs(kinds=["train"], states=LIVE, limit=1) else None)
        self._check_base(self._run.people[sitting["places"][0]], Path(payload["base_path"]))
        longest = max((one.messages for one in left), key=lambda messages: sum(len(m["content"]) for m in messages))
        base, people = self._desk.seated({**payload, **self._run.sampling, "messages": longest})
        how = {"device": base.device.kind, "dtype": str(base.device.dtype).removeprefix("torch.")}
        patiently(lambda: self._store.note_suite_run(self._run.id, self._lease.job.id, **how))
        self._lease.report(stage="Answering", step=self._step, steps=self._steps)
        return base, people

    def _check_base(self, person: Mapping[str, Any], path: Path) -> None:
        """That the base is what it was when the run was asked for. A merged model is no base of the library."""
        base = self._store.base_model(person["base_model_id"])
        if self._store.base_path(base) == path:
            check_base(base, path)

    def _keep(self, prompt: SuitePrompt, answers: Sequence[Kept]) -> None:
        patiently(lambda: self._store.keep_suite_answers(self._run.id, prompt.id, answers))

    def _report(self, seconds: float) -> None:
        self._step += 1
        self._recent = smooth(self._recent, seconds)
        done, left = self._step - self._first, self._steps - self._step
        still = seconds_left(done, done + left, time.monotonic() - self._began, self._recent)
        self._lease.report(step=self._step, steps=self._steps, seconds_left=still)


def _answers(
    base: LoadedBase, people: Sequence[Any], drawn: Sequence[Sampling], suite: Suite, prompt: SuitePrompt
) -> list[Kept]:
    """What all of a sitting answer to a prompt, scored. One that cannot be asked has the reason in its answers."""
    messages = with_system(prompt.messages, suite.system)
    try:
        said = _said(base, [Asked(one, messages, how) for one, how in zip(people, drawn, strict=True)])
        likely = _likelihoods(base, people, suite, messages, prompt.reference)
    except AdapterError:
        raise
    except ValueError as error:  # too long for the model, or the chat template does not take it
        return [_answer("", 0, False, {}, None, str(error)) for _ in people]
    return [
        _answer(
            said.texts[place],
            said.tokens[place],
            said.finished[place],
            scored(suite.scores, said.texts[place], prompt.reference, suite.pattern),
            likely[place],
        )
        for place in range(len(people))
    ]


def _said(base: LoadedBase, asked: Sequence[Asked]) -> Snapshot:
    (last,) = deque(generate.answers(base, asked), maxlen=1)
    return last


def _likelihoods(
    base: LoadedBase, people: Sequence[Any], suite: Suite, messages: Sequence[dict[str, str]], reference: str | None
) -> Sequence[Likelihood | None]:
    if "perplexity" not in suite.scores or reference is None:
        return [None] * len(people)
    return reference_logprob(base, people, messages, reference)


def _answer(
    text: str, tokens: int, finished: bool, scores: dict[str, float], likely: Likelihood | None, problem: str = ""
) -> Kept:
    return {
        "text": text,
        "tokens": tokens,
        "finished": finished,
        "scores": scores,
        "logprob": likely.logprob if likely else None,
        "reference_tokens": likely.tokens if likely else 0,
        "problem": problem,
    }
