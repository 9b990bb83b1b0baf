"""Kept comparisons asked again: exactly, with another seed, or further on in their conversation.

Serves the page and the command line. How a question is answered and kept is in `hearing.py`.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import replace
from typing import Any

from adapters_store.comparison_tables import Answer, Comparison
from adapters_store.errors import StoreError
from adapters_store.store import Store
from studio import contestants
from studio.asked import LARGEST_SEED, Own, Question, Turn, drawn_with
from studio.contestants import Contestant


def new_sides() -> int:
    """The seed of a shuffle that nobody can guess."""
    return secrets.randbelow(2**31)


def new_seed() -> int:
    """A seed for other answers, with room above it for samples."""
    return secrets.randbelow(LARGEST_SEED - 100)


def order(count: int, sides: int | None) -> list[int]:
    """The places of contestants from left to right."""
    places = list(range(count))
    if sides is not None:
        random.Random(sides).shuffle(places)
    return places


def again(store: Store, kept: Comparison) -> Question:
    """The question of a kept comparison, to be asked exactly as it was.

    Raises:
        StoreError: somebody who answered is no longer here, or is no longer what it was.
    """
    if kept.is_secret:
        raise StoreError(
            f"Comparison {kept.id} is blind and waits for its vote. Vote first: asking openly tells names."
        )
    return replace(_asked(store, kept), sides=None)


def otherwise(store: Store, kept: Comparison) -> Question:
    """The question of a kept comparison with a new seed. A blind one is asked blindly again.

    Raises:
        StoreError: as `again`.
    """
    question = _asked(store, kept)
    sides = question.sides
    if sides is not None and question.follows is None:
        sides = new_sides()
    elif not kept.is_secret:
        sides = None  # in a conversation columns keep their places, so names once told stay told
    return replace(question, sampling={**question.sampling, "seed": new_seed()}, sides=sides)


def onwards(store: Store, kept: Comparison, prompt: str) -> Question:
    """The next question of a conversation: each column goes on with its own answers. Blind stays blind.

    Raises:
        StoreError: as `again`; or the last answers are not complete.
    """
    if kept.ended != "complete":
        raise StoreError(f"Comparison {kept.id} broke off, so there is nothing to go on with. Ask it again first.")
    before = _asked(store, kept)
    turns = [
        [*(before.turns[place] if before.turns else ()), Turn(kept.prompt, answer.text)]
        for place, answer in enumerate(kept.answers)
    ]
    sides = before.sides if kept.is_secret else None
    return replace(before, prompt=prompt, sides=sides, follows=kept, turns=turns)


def _asked(store: Store, kept: Comparison) -> Question:
    earlier = store.turns(kept)
    question = Question(
        [_stood(store, kept, answer) for answer in kept.answers],
        kept.prompt,
        kept.sampling,
        kept.system,
        kept.sides,
        kept.how.get("threads"),
        [own_of(answer) for answer in kept.answers],
        earlier[-1] if earlier else None,
        [[Turn(one.prompt, one.answers[place].text) for one in earlier] for place in range(len(kept.answers))],
    )
    for place, answer in enumerate(kept.answers):
        if question.identity_of(place) != answer.identity:
            raise StoreError(_gone(kept, answer))
    return question


def sampling_of(kept: Comparison, answer: Answer) -> dict[str, Any]:
    """How an answer of a kept comparison was drawn."""
    return drawn_with(kept.sampling, own_of(answer))


def own_of(answer: Answer) -> Own:
    seat = answer.seat or {}
    return Own(seat.get("system"), seat.get("sampling") or {}, int(seat.get("sample") or 0))


def _stood(store: Store, kept: Comparison, answer: Answer) -> Contestant:
    """Who gave an answer. Those of before are known by their adapter and strength alone.

    Raises:
        StoreError: whoever it was is no longer here.
    """
    if answer.seat is not None:
        found = contestants.find(store, str(answer.seat["value"]))
        if found is None:
            raise StoreError(_gone(kept, answer))
        return found
    adapter = store.adapter(answer.adapter_id) if answer.adapter_id is not None else None
    if adapter is not None and adapter.deleted_at is not None:
        raise StoreError(_gone(kept, answer))
    return Contestant(store.base_model(kept.base_model_id), adapter, answer.strength)


def _gone(kept: Comparison, answer: Answer) -> str:
    told = f"{answer.name} is no longer here as it was, so comparison {kept.id} cannot be asked again. "
    kind = str((answer.seat or {}).get("value", "adapter")).partition("-")[0]
    why = {
        "checkpoint": "A run lets go of its older checkpoints, and of all when it has ended, but not of pinned ones.",
        "merged": "The folder that it was written to is gone or changed.",
    }
    return told + why.get(kind, "A deleted adapter can be brought back: python -m studio adapters restore NAME")


def differences(before: Comparison, now: Comparison) -> str:
    """Whether a replay gave the same answers, in a sentence."""
    pairs = zip(before.answers, now.answers, strict=True)
    other = [then.name for then, one in pairs if then.text != one.text]
    if not other:
        count = len(now.answers)
        return f"Asked again: {'all ' if count > 1 else ''}{count} answer{'s' if count > 1 else ''} exactly as before."
    return f"Asked again: {', '.join(other)} answered otherwise than in comparison {before.id}."
