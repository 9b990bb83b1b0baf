"""A question to several contestants: what the answerer is asked, and how question, answers and proof are kept.

Serves the page and the command line. Knows nothing about widgets or about how an answer is shown.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_store.comparison_tables import Comparison
from adapters_store.errors import StoreError
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel
from jobs.ask import Answerer, AnswererError
from studio.answer_grid import Pace
from studio.contestants import Contestant, precision

DEADLINE = 900  # seconds for the answers; a large model on a slow disk takes its time to load
PROOF_SECONDS = 300  # a proof that takes longer is left out

Snapshot = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked of whom, and how. `sides` is the seed by which a blind one is shuffled; None: names are open."""

    people: Sequence[Contestant]
    prompt: str
    sampling: Mapping[str, Any]
    system: str = ""
    sides: int | None = None
    threads: int | None = None

    @property
    def base(self) -> BaseModel:
        """The base model of all of them."""
        return self.people[0].base

    @property
    def adapters(self) -> list[Adapter]:
        """The adapters among them, in order."""
        return [one.adapter for one in self.people if one.adapter is not None]

    @property
    def messages(self) -> list[dict[str, str]]:
        """What they are asked, as the base's template takes it."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, {"role": "user", "content": self.prompt}]


def new_sides() -> int:
    """The seed of a shuffle that nobody can guess."""
    return secrets.randbelow(2**31)


def order(count: int, sides: int | None) -> list[int]:
    """The places of contestants from left to right."""
    places = list(range(count))
    if sides is not None:
        random.Random(sides).shuffle(places)
    return places


def seating(store: Store, question: Question) -> dict[str, Any]:
    """Who answers, on which base and in which numbers, as the answerer is told."""
    return {
        "base_path": str(store.base_path(question.base)),
        "precision": precision(question.adapters),
        "include_base": any(one.adapter is None for one in question.people),
        "adapters": [str(store.adapter_path(adapter)) for adapter in question.adapters],
        "strengths": [one.strength for one in question.people if one.adapter is not None],
        "messages": question.messages,
        "threads": question.threads,
    }


def ask(store: Store, answerer: Answerer, question: Question) -> Comparison:
    """Have a question answered, keep it, and prove it.

    Raises:
        AnswererError: no answer.
    """
    pace, rates, last = Pace(len(question.people)), [], None
    asked = {**seating(store, question), **question.sampling}
    for last in answerer.stream("compare", deadline=DEADLINE, **asked):
        rates = pace.after(last)
    if last is None:
        raise AnswererError("The model ended without an answer. Ask again.")
    return prove(store, answerer, question, keep(store, question, last, rates), last["ids"])


def keep(
    store: Store, question: Question, snapshot: Snapshot, paces: Sequence[float | None], ended: str = "complete"
) -> Comparison:
    """Save what was asked and answered."""
    answers = [
        {
            "name": one.name,
            "adapter_id": one.adapter.id if one.adapter else None,
            "strength": one.strength,
            "identity": one.identity,
            "text": snapshot["texts"][place],
            "tokens": snapshot["tokens"][place],
            "finished": snapshot["finished"][place],
            "tokens_per_second": paces[place],
        }
        for place, one in enumerate(question.people)
    ]
    return store.add_comparison(
        base=question.base,
        answers=answers,
        prompt=question.prompt,
        system=question.system,
        precision=precision(question.adapters),
        sampling=dict(question.sampling),
        how={fact: snapshot[fact] for fact in ("device", "dtype", "threads", "batches", "seconds")},
        sides=question.sides,
        ended=ended,
    )


def prove(
    store: Store, answerer: Answerer, question: Question, kept: Comparison, ids: Sequence[Sequence[int]]
) -> Comparison:
    """Have the answerer prove the answers whose tokens are `ids`, and save it with them.

    Raises:
        AnswererError: no proof in time; the comparison stays as it is.
    """
    proof = answerer.request("proof", deadline=PROOF_SECONDS, ids=ids, **seating(store, question))
    return store.prove(kept.id, proof["weights"], proof["divergences"], template=proof["template"])


def again(store: Store, kept: Comparison) -> Question:
    """The question of a kept comparison, to be asked exactly as it was.

    Raises:
        StoreError: somebody who answered is no longer here, or is no longer what it was.
    """
    if kept.is_secret:
        raise StoreError(
            f"Comparison {kept.id} is blind and waits for its vote. Vote first: asking openly tells names."
        )
    base = store.base_model(kept.base_model_id)
    people = []
    for answer in kept.answers:
        adapter = store.adapter(answer.adapter_id) if answer.adapter_id is not None else None
        one = Contestant(base, adapter, answer.strength)
        if (adapter is not None and adapter.deleted_at is not None) or one.identity != answer.identity:
            raise StoreError(
                f"{answer.name} is no longer in the library as it was, so comparison {kept.id} cannot be asked again. "
                "A deleted adapter can be brought back: python -m studio adapters restore NAME"
            )
        people.append(one)
    return Question(people, kept.prompt, kept.sampling, kept.system, threads=kept.how.get("threads"))


def differences(before: Comparison, now: Comparison) -> str:
    """Whether a replay gave the same answers, in a sentence."""
    pairs = zip(before.answers, now.answers, strict=True)
    other = [then.name for then, one in pairs if then.text != one.text]
    if not other:
        count = len(now.answers)
        return f"Asked again: {'all ' if count > 1 else ''}{count} answer{'s' if count > 1 else ''} exactly as before."
    return f"Asked again: {', '.join(other)} answered otherwise than in comparison {before.id}."
