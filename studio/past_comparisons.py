"""What the page asks about kept comparisons: a list of them, one of them, and to take a vote.

Each question is one JSON object from outside, of which nothing is believed. Knows nothing about widgets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from adapters_store.comparison_tables import Comparison
from adapters_store.errors import StoreError
from adapters_store.store import Store
from studio import comparing, kept_grid, scores
from studio.scores import Standing

LISTED = 50
_SAMPLE = re.compile(r" #\d+")
SHORT = 120  # characters of a prompt in the list

Answer = dict[str, Any]


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """The functions that the page may call."""

    def compare_past(question: object) -> Answer:
        search = str(_part(question, "search") or "")[:200]
        return {"rows": [_row(one) for one in store.comparisons(search=search, limit=LISTED)]}

    def compare_open(question: object) -> Answer:
        return _opened(store, store.comparison(_number(question, "id")))

    def compare_vote(question: object) -> Answer:
        kept = store.comparison(_number(question, "id"))
        choice = _part(question, "choice")
        if choice not in ("best", "tie", "bad"):
            raise StoreError("A vote is for one answer as the best, for a tie, or for all being bad.")
        place = _place(kept, _number(question, "at")) if choice == "best" else None
        return _opened(store, store.vote(kept.id, choice, place))

    return [compare_past, compare_open, compare_vote]


def _opened(store: Store, kept: Comparison) -> Answer:
    return {"grid": kept_grid.of(store, kept), "scores": scores.card(store, _people(kept))}


def _people(kept: Comparison) -> list[Standing]:
    """Whoever stood in a comparison, once for all samples of one."""
    stood = {one.identity: Standing(_SAMPLE.sub("", one.name, count=1), one.identity) for one in kept.answers}
    return list(stood.values())


def _row(kept: Comparison) -> Answer:
    names = ", ".join(kept_grid.LETTERS[: len(kept.answers)] if kept.is_secret else [one.name for one in kept.answers])
    return {
        "key": kept.id,
        "prompt": " ".join(kept.prompt.split())[:SHORT],
        "names": names,
        "at": kept.created_at,
        "said": _said(kept),
    }


def _said(kept: Comparison) -> str:
    if kept.ended != "complete":
        return "stopped" if kept.ended == "stopped" else "broke off"
    if kept.sides is None:
        return ""
    if kept.vote is None:
        return "waits for your vote"
    best = next((one.name for one in kept.answers if kept.vote and one.id == kept.vote.answer_id), "")
    return {"best": f"chosen: {best}", "tie": "tie", "bad": "all bad"}[kept.vote.choice]


def _place(kept: Comparison, at: int) -> int:
    places = comparing.order(len(kept.answers), kept.sides)
    if not 0 <= at < len(places):
        raise StoreError(f"There is no column {at + 1} to vote for; there are {len(places)}.")
    return places[at]


def _part(question: object, name: str) -> object:
    return question.get(name) if isinstance(question, dict) else None


def _number(question: object, name: str) -> int:
    value = _part(question, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else -1
