"""A question to several contestants: what each column is asked, alike or otherwise, and in which conversation.

Columns share a prompt, and a system prompt and sampling unless one has its own. Several samples of a contestant are
columns whose seeds follow one another. Knows nothing about how it is answered or kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from adapters_store.comparison_tables import Comparison
from studio.contestants import Contestant

LARGEST_SEED = 2**31 - 1


class Own(NamedTuple):
    """What one column has otherwise than the others. `system`: None is as all; `sample` counts from 0."""

    system: str | None = None
    sampling: Mapping[str, Any] = {}
    sample: int = 0

    @property
    def label(self) -> str:
        """What differs, in a few words: ", own system prompt, temperature 0.2"."""
        words = ["own system prompt"] if self.system is not None else []
        words += [f"{name.replace('_', ' ')} {_said(value)}" for name, value in self.sampling.items()]
        return "".join(f", {word}" for word in words)


class Turn(NamedTuple):
    """One turn of a column's conversation: what was asked, and what it answered."""

    prompt: str
    text: str


@dataclass(frozen=True)
class Question:
    """What is asked of whom, and how.

    Attributes:
        sampling: of all columns, but for what stands in `own`.
        sides: the seed by which a blind one is shuffled; None: names are open.
        own: of each column, in the order of `people`; empty where nobody has anything of its own.
        follows: the comparison whose answers this goes on with, and `turns` the conversation of each column so far.
        device: "cpu" to leave a GPU to whoever uses it.
        run: what the run or suite is called that is under way; "" where none is. `spare`: bytes it may come to need.
    """

    people: Sequence[Contestant]
    prompt: str
    sampling: Mapping[str, Any]
    system: str = ""
    sides: int | None = None
    threads: int | None = None
    own: Sequence[Own] = ()
    follows: Comparison | None = None
    turns: Sequence[Sequence[Turn]] = ()
    device: str | None = None
    run: str = ""
    spare: int = 0

    def own_of(self, place: int) -> Own:
        """What a column has of its own."""
        return self.own[place] if self.own else Own()

    def name_of(self, place: int) -> str:
        """What a column is called: its contestant, which sample, and what it has of its own."""
        one, who = self.own_of(place), self.people[place]
        several = any(other.sample for other in self.own)
        bases = {other.base.id for other in self.people}
        name = f"base: {who.base.name}" if who.is_base and len(bases) > 1 else who.name
        return name + (f" #{one.sample + 1}" if several else "") + one.label

    def identity_of(self, place: int) -> str:
        """What tells a column from all others by weights and instructions; its samples have it in common."""
        one = self.own_of(place)
        if not one.label:
            return self.people[place].identity
        told = json.dumps([one.system, dict(one.sampling)], sort_keys=True)
        return f"{self.people[place].identity}+{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def sampling_of(self, place: int) -> dict[str, Any]:
        """How a column's answer is drawn."""
        return drawn_with(self.sampling, self.own_of(place))

    def messages_of(self, place: int) -> list[dict[str, str]]:
        """What a column is asked, as the base's template takes it: its system prompt, its conversation, the prompt."""
        own = self.own_of(place).system
        system = self.system if own is None else own
        turns = self.turns[place] if self.turns else ()
        told = [{"role": "system", "content": system}] if system else []
        for turn in turns:
            told += [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": turn.text}]
        return [*told, {"role": "user", "content": self.prompt}]


def drawn_with(sampling: Mapping[str, Any], own: Own) -> dict[str, Any]:
    """The sampling of one column. The seed of a further sample is that many higher; after the highest comes 0."""
    drawn = {**sampling, **own.sampling}
    return {**drawn, "seed": (int(drawn["seed"]) + own.sample) % (LARGEST_SEED + 1)}


def with_samples(question: Question, samples: int) -> Question:
    """The same question with so many columns for each one."""
    if samples == 1:
        return question
    places = [place for place in range(len(question.people)) for _ in range(samples)]
    own = [question.own_of(place)._replace(sample=number % samples) for number, place in enumerate(places)]
    return replace(question, people=[question.people[place] for place in places], own=own)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, list) else str(value)
