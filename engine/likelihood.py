"""How likely given words are under each contestant: the log-probability of every token, and of a reference answer.

One contestant after the other, so that the logits of one are held at a time. Knows nothing about how an answer is
drawn, about the library or the page.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.adapter import AdapterOnDisk
from engine.data.render import IGNORED, encode
from engine.methods.attach import attached
from engine.models import LoadedBase, max_length

AT_ONCE = 32  # positions whose distributions are held at a time

Message = dict[str, str]


class Likelihood(NamedTuple):
    """Of a reference: the sum of the log-probabilities of its tokens, in nats, and how many there are."""

    logprob: float
    tokens: int


@torch.inference_mode()
def token_logprobs(
    base: LoadedBase, contestants: Sequence[AdapterOnDisk | None], ids: Sequence[int], first: int
) -> list[list[float]]:
    """For each contestant the log-probability, in nats, of each of `ids[first:]` after all that stands before it.

    Args:
        first: at least 1; nothing stands before the very first token to predict it from.
    """
    last = len(ids) - first + 1
    wanted = torch.tensor(ids[first:], device=base.device.kind)
    return [_of_tokens(logits_of(base, one, ids, last)[:-1], wanted) for one in contestants]


def reference_logprob(
    base: LoadedBase, contestants: Sequence[AdapterOnDisk | None], messages: Sequence[Message], reference: str
) -> list[Likelihood]:
    """How likely each contestant is to answer `messages` with `reference`, the mark that ends the answer among it.

    The tokens are those that a run with this row as its data would learn (`engine.data.render`).

    Raises:
        ValueError: the template cannot write it, or prompt and reference are longer than the base model takes.
    """
    return [_of_row(base, *read) for read in _examples(base, contestants, messages, reference)]


def check_reference(
    base: LoadedBase, contestants: Sequence[AdapterOnDisk | None], messages: Sequence[Message], reference: str
) -> None:
    """ValueError where `reference_logprob` would raise it. Reads nothing."""
    deque(_examples(base, contestants, messages, reference), maxlen=0)


class _Example(NamedTuple):
    """A row as a contestant reads it: its tokens, and the places of those that are learned."""

    contestant: AdapterOnDisk | None
    ids: list[int]
    learned: list[int]


def _examples(
    base: LoadedBase, contestants: Sequence[AdapterOnDisk | None], messages: Sequence[Message], reference: str
) -> Iterator[_Example]:
    room = max_length(base.model.config) - max((_own_tokens(one) for one in contestants), default=0)
    row = {"messages": [*messages, {"role": "assistant", "content": reference}]}
    return (_example(base, one, row, room) for one in contestants)


def _example(base: LoadedBase, contestant: AdapterOnDisk | None, row: dict[str, Any], room: int) -> _Example:
    example = encode(base.tokenizer_of(contestant), row, max(1, room), "last")
    if example.full_length > room:
        raise ValueError(f"With its reference it has {example.full_length} tokens; this base model takes {room}.")
    learned = [place for place, label in enumerate(example.labels) if label != IGNORED and place]
    if not learned:
        raise ValueError("Nothing of the reference is left once the chat template has written it.")
    return _Example(contestant, example.ids, learned)


def _of_row(base: LoadedBase, contestant: AdapterOnDisk | None, ids: list[int], learned: list[int]) -> Likelihood:
    first = learned[0]
    (told,) = token_logprobs(base, [contestant], ids, first)
    return Likelihood(sum(told[place - first] for place in learned), len(learned))


def _own_tokens(contestant: AdapterOnDisk | None) -> int:
    """Positions that a soft prompt takes."""
    return 0 if contestant is None or contestant.prompt is None else len(contestant.prompt)


def logits_of(base: LoadedBase, contestant: AdapterOnDisk | None, ids: Sequence[int], last: int) -> Tensor:
    """The logits of the `last` positions of a row: (last, V)."""
    options: dict[str, Any] = {"use_cache": False}
    if "logits_to_keep" in inspect.signature(base.model.forward).parameters:
        options["logits_to_keep"] = last
    with attached(base.model, [contestant]):
        out = base.model(input_ids=torch.tensor([list(ids)], device=base.device.kind), **options)
    logits: Tensor = out.logits[0, -last:]
    return logits


def _of_tokens(logits: Tensor, wanted: Tensor) -> list[float]:
    told: list[float] = []
    for first in range(0, len(wanted), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        told += logits[part].float().log_softmax(-1).gather(1, wanted[part, None])[:, 0].tolist()
    return told
