"""The answerer's request "proof": what proves the answers of a comparison, once they are there.

Knows nothing about how they were drawn; what each was asked and the tokens of each answer come with the request.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.answerer import Desk


def proof(desk: Desk, payload: Mapping[str, Any], should_stop: Callable[[], bool]) -> Generator[dict[str, Any]]:
    """By contestant `weights`, the hash of the tensors that answered, `divergences`, and `along`, the pieces of its
    answer as `engine.along.Piece`, and `templates`, the hash of the chat template that wrote its prompt."""
    from engine import proof
    from engine.along import along
    from jobs.seats import messages_of

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    read = along(base, contestants, messages_of(payload), payload["ids"], should_stop)
    yield {
        "weights": [proof.weights(base, one) for one in contestants],
        "divergences": [one and one.divergence for one in read],
        "along": [one and one.pieces for one in read],
        "templates": [proof.template(base, one) for one in contestants],
    }
