"""The answerer's requests "reference" and "letters": how likely given words are, under each seat.

Knows nothing about where the words come from, or what is made of the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.answerer import Desk

Payload = Mapping[str, Any]
ShouldStop = Callable[[], bool]


def reference(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Generator[dict[str, Any]]:
    """`logprobs`, how likely each seat is to answer with `reference`, in nats, and `tokens`, how many that is."""
    from engine.likelihood import reference_logprob
    from jobs.seats import messages_of

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    told = []
    for contestant, asked in zip(contestants, messages_of(payload), strict=True):
        told += [] if should_stop() else reference_logprob(base, [contestant], asked, payload["reference"])
    yield {"logprobs": [one.logprob for one in told], "tokens": [one.tokens for one in told]}


def letters(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Generator[dict[str, Any]]:
    """`odds`, by seat: log P("A") - log P("B") of the first token of its answer."""
    from engine import choice
    from jobs.seats import messages_of

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    yield {"odds": choice.odds(base, contestants, messages_of(payload), should_stop)}
