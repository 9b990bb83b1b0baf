"""Who answers, on what and how, as a request to the answerer says it: its seats.

A seat is {"adapter": folder or null, "checkpoint": folder or null, "strength", "messages", "sampling"}; one without a
folder is the base. Older requests name "include_base", "adapters" and "strengths" instead; where seats bring no
messages of their own, all share those of the request. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.sampling import Sampling

Payload = Mapping[str, Any]
Seat = Mapping[str, Any]


def seats_of(payload: Payload) -> list[Seat]:
    """The seats of a request, in order."""
    if "seats" in payload:
        return list(payload["seats"])
    first = [{"adapter": None}] if payload.get("include_base", True) else []
    strengths = payload.get("strengths") or [1.0] * len(payload["adapters"])
    named = zip(payload["adapters"], strengths, strict=True)
    return [*first, *({"adapter": path, "strength": strength} for path, strength in named)]


def messages_of(payload: Payload) -> list[list[dict[str, str]]]:
    """What each seat is asked."""
    return [seat.get("messages") or payload["messages"] for seat in seats_of(payload)]


def sampling_of(payload: Payload) -> list[Sampling]:
    """How the answer of each seat is drawn."""
    return [_sampling(seat.get("sampling") or payload) for seat in seats_of(payload)]


def _sampling(given: Payload) -> Sampling:
    from engine.sampling import Narrowing, Sampling

    return Sampling(
        int(given["seed"]),
        float(given["temperature"]),
        float(given["top_p"]),
        int(given["max_tokens"]),
        Narrowing(**{name: given[name] for name in Narrowing._fields if name in given}),
        tuple(given.get("stop") or ()),
    )
