"""The answerer's request "proof": what proves the answers of a comparison, once they are there.

Knows nothing about how they were drawn; what each was asked and the tokens of each answer come with the request.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.answerer import Desk


def proof(desk: Desk, payload: Mapping[str, Any], should_stop: Callable[[], bool]) -> Generator[dict[str, Any]]:
    """By contestant `weights`, the hash of the tensors that answered, and `divergences`; and the template's hash."""
    from engine import proof
    from jobs.seats import messages_of

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    moved = proof.divergences(base, contestants, messages_of(payload), payload["ids"], should_stop)
    yield {
        "weights": [proof.weights(base, one) for one in contestants],
        "divergences": moved,
        "template": proof.template(base),
    }
