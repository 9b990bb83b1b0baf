"""The last part of a job of kind suite: a judge reads each contestant's answers beside those of one of them.

Prompt by prompt and both ways round; what was read is written at once, so a job that was ended goes on with what is
left. What a judge is asked is in `engine/suites/judge.py`, the rest of the job in `asking_suites.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteAnswer, SuitePrompt, SuiteRun
from engine import choice
from engine.suites import judge as reading
from engine.suites.prompts import with_system
from jobs.ending import Ending
from jobs.pace import Pace
from jobs.queue import Lease, patiently

JUDGING = "Judging"
SAME = "The answers are the same."
MISSING = "One of them has no answer."


class Seated(NamedTuple):
    """What a worker has for the judge: a base with who sits on it, by a payload and a person, and whom to tell."""

    seat: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Any, list[Any]]]
    lease: Lease
    ending: Ending
    pace: Pace


class Pair(NamedTuple):
    """Two answers to one prompt: that of the contestant at a place, and that of whom it is held against."""

    prompt: SuitePrompt
    place: int
    one: SuiteAnswer
    other: SuiteAnswer

    @property
    def nothing(self) -> str:
        """Why there is nothing to judge; nothing where there is."""
        if self.one.problem or self.other.problem:
            return MISSING
        return SAME if self.one.text == self.other.text else ""


def left(store: Store, run: SuiteRun) -> list[tuple[int, int]]:
    """The prompts and places that the judge of a run has yet to read; none where it has no judge."""
    if run.judge is None:
        return []
    read = {(one.prompt_id, one.place) for one in store.suite_verdicts(run.id)}
    places = [place for place in range(len(run.people)) if place != run.judge["against"]]
    pairs = ((prompt.id, place) for prompt in store.suite_prompts(run.suite_id) for place in places)
    return [pair for pair in pairs if pair not in read]


def judge(store: Store, run: SuiteRun, by: Seated) -> None:
    """Have the judge of a run read what is left for it, once all is answered; until somebody asks for an early end."""
    assert run.judge is not None
    pairs = _pairs(store, run, left(store, run))
    due = [pair for pair in pairs if not pair.nothing]
    for pair in pairs:
        if pair.nothing:
            _keep(store, run, pair, by.pace, problem=pair.nothing)
    if not due:
        return
    longest = max((_question(store, run, pair) for pair in due), key=lambda asked: len(asked[0]["content"]))
    with by.ending.may_interrupt():
        base, (who,) = by.seat({**run.judge["payload"], "messages": longest, "max_tokens": 1}, run.judge)
    by.pace.stage(JUDGING)
    for pair in due:
        if by.lease.stop == "keep":
            return
        by.lease.moved(JUDGING)
        asked = [_question(store, run, pair), _question(store, run, pair, swapped=True)]
        try:
            with by.ending.may_interrupt():
                forward, backward = choice.odds(base, [who, who], asked)
        except ValueError as error:  # too long for the judge
            _keep(store, run, pair, by.pace, problem=str(error))
        else:
            _keep(store, run, pair, by.pace, forward, backward)


def _pairs(store: Store, run: SuiteRun, wanted: Sequence[tuple[int, int]]) -> list[Pair]:
    answers = {(one.prompt_id, one.place): one for one in store.suite_answers(run.id)}
    prompts = {one.id: one for one in store.suite_prompts(run.suite_id)}
    against = run.judge["against"] if run.judge else 0
    return [Pair(prompts[id], place, answers[id, place], answers[id, against]) for id, place in wanted]


def _question(store: Store, run: SuiteRun, pair: Pair, swapped: bool = False) -> list[dict[str, str]]:
    """What was answered before in a prompt of several turns is left out: the last answers are judged."""
    messages = with_system(pair.prompt.messages, store.suite(run.suite_id).system)
    asked = [one["content"] for one in messages if one["role"] != "assistant"]
    texts = (pair.one.text, pair.other.text)
    return reading.question(asked, *(texts[::-1] if swapped else texts))


def _keep(
    store: Store,
    run: SuiteRun,
    pair: Pair,
    pace: Pace,
    forward: float | None = None,
    backward: float | None = None,
    problem: str = "",
) -> None:
    read = {"forward": forward, "backward": backward, "problem": problem}
    patiently(lambda: store.keep_suite_verdict(run.id, pair.prompt.id, pair.place, **read))
    pace.step(1)
