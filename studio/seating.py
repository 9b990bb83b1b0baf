"""Who sits where: contestants by the model in memory that they answer on, as the answerer is told.

One base model is in memory at a time, so contestants of several come in several sittings, one after the other; a
merged model is a sitting of its own. Knows nothing about what they are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters_store.store import Store
from studio.contestants import Contestant, precision_note, precision_of


@dataclass(frozen=True)
class Sitting:
    """Contestants that answer on one model in memory: their places among all, and what the answerer is told."""

    places: list[int]
    payload: dict[str, Any]


def sittings(store: Store, people: Sequence[Contestant]) -> list[Sitting]:
    """All contestants, by the model they answer on, in the order in which the models are first needed."""
    return [_sitting(store, people, places) for places in _by_model(people)]


def notes(people: Sequence[Contestant]) -> list[str]:
    """What is to be said about the precision of each base."""
    return [note for places in _by_model(people) if (note := precision_note([people[place] for place in places]))]


def _by_model(people: Sequence[Contestant]) -> list[list[int]]:
    models: dict[str, list[int]] = {}
    for place, one in enumerate(people):
        models.setdefault(one.value if one.is_whole else f"base-{one.base.id}", []).append(place)
    return list(models.values())


def _sitting(store: Store, people: Sequence[Contestant], places: list[int]) -> Sitting:
    seated = [people[place] for place in places]
    first = seated[0]
    whole = first.outsider if first.is_whole else None
    payload = {
        "base_path": str(whole.path if whole else store.base_path(first.base)),
        "precision": precision_of(seated),
        "seats": [_seat(store, one) for one in seated],
    }
    return Sitting(places, payload)


def _seat(store: Store, one: Contestant) -> dict[str, Any]:
    checkpoint = one.outsider if one.outsider is not None and not one.is_whole else None
    return {
        "adapter": str(store.adapter_path(one.adapter)) if one.adapter else None,
        "checkpoint": str(checkpoint.path) if checkpoint else None,
        "strength": one.strength,
    }
