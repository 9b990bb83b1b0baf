"""Along an answer: how far a contestant moved the model, and how likely it and the base were to say each token.

By teacher forcing: the answer is read once with the adapter and once without. Made after the answers are complete, so
that it costs none of their speed. Knows nothing about the library or the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.adapter import AdapterOnDisk
from engine.data.render import prompt_ids
from engine.data.template import Message
from engine.likelihood import AT_ONCE, logits_of
from engine.models import LoadedBase

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # how a decoder writes a character whose last byte is yet to come


class Piece(NamedTuple):
    """A token of an answer, or the few that make one character: its text and its log-probability, in nats."""

    text: str
    logprob: float  # under the contestant
    base_logprob: float


class Along(NamedTuple):
    """What reading a contestant's own answer tells of it.

    `divergence` is the mean KL(contestant || base) of the distributions of the next token, in nats, over all places of
    the answer: before its first token, and after each of them.
    """

    divergence: float
    pieces: list[Piece]


@torch.inference_mode()
def along(
    base: LoadedBase,
    contestants: Sequence[AdapterOnDisk | None],
    messages: Sequence[Sequence[Message]],
    answers: Sequence[Sequence[int]],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Along | None]:
    """Read `answers[i]`, the tokens that contestant i answered to `messages[i]`.

    None for the base itself, and from where `should_stop` said so, asked before each reading.
    """
    told: list[Along | None] = []
    for contestant, asked, answer in zip(contestants, messages, answers, strict=True):
        row = [*prompt_ids(base.tokenizer_of(contestant), asked), *answer]
        read: list[Tensor] = []
        for who in (contestant, None) if contestant is not None else ():
            if not should_stop():
                read.append(logits_of(base, who, row, len(answer) + 1))
        told.append(_told(base.tokenizer, answer, *read) if len(read) == 2 else None)
    return told


def _told(tokenizer: Any, answer: Sequence[int], moved: Tensor, plain: Tensor) -> Along:
    total, ours, theirs = 0.0, list[float](), list[float]()
    wanted = torch.tensor([*answer, 0], device=moved.device)[:, None]  # nothing follows the last one
    for first in range(0, len(moved), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        p, q = (logits[part].float().log_softmax(-1) for logits in (moved, plain))
        total += float((p.exp() * (p - q)).sum(-1).double().sum())
        ours += p.gather(1, wanted[part])[:, 0].tolist()
        theirs += q.gather(1, wanted[part])[:, 0].tolist()
    return Along(max(0.0, total / len(moved)), list(_pieces(tokenizer, answer, ours, theirs)))


def _pieces(tokenizer: Any, ids: Sequence[int], ours: Sequence[float], theirs: Sequence[float]) -> Iterator[Piece]:
    """The text of each token in its place, decoded with the one before it: some tokenizers join them with a space."""
    before = first = 0
    for end in range(1, len(ids) + 1):
        known, said = (tokenizer.decode(ids[before:to], skip_special_tokens=True) for to in (first, end))
        if len(said) > len(known) and (end == len(ids) or not said.endswith(UNFINISHED)):
            yield Piece(said[len(known) :], sum(ours[first:end]), sum(theirs[first:end]))
            before, first = first, end
