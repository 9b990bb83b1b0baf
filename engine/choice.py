"""Which of two letters a contestant would answer with: the odds of its next token, without drawing one.

The likelihood of the first token of a choice is how multiple choice is scored in Hendrycks et al. 2021 (arXiv
2009.03300); it asks nothing of a small model but a preference, where a free text would have to be understood. Knows
nothing about what the letters stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch

from engine.adapter import AdapterOnDisk
from engine.data.render import prompt_ids
from engine.data.template import Message
from engine.likelihood import logits_of
from engine.models import LoadedBase, max_length

LETTERS = ("A", "B")


class Marks(NamedTuple):
    """How a tokenizer writes the letters at the start of an answer: tokens both begin with, then one token each."""

    common: list[int]
    one: int
    other: int


@torch.inference_mode()
def odds(
    base: LoadedBase,
    contestants: Sequence[AdapterOnDisk | None],
    messages: Sequence[Sequence[Message]],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[float]:
    """log P("A") - log P("B") of the first token of contestant i's answer to `messages[i]`, in nats.

    Of fewer, if `should_stop`, asked before each prompt, said so.

    Raises:
        ValueError: a prompt leaves no room for an answer, or the tokenizer has no token for each letter.
    """
    marks, told = _marks(base.tokenizer), []
    for contestant, asked in zip(contestants, messages, strict=True):
        if should_stop():
            break
        ids = [*prompt_ids(base.tokenizer_of(contestant), asked), *marks.common]
        own = 0 if contestant is None or contestant.prompt is None else len(contestant.prompt)
        room = max_length(base.model.config) - own
        if len(ids) >= room:
            raise ValueError(f"Both answers in one prompt are {len(ids)} tokens; this base model takes {room}.")
        last = logits_of(base, contestant, ids, 1)[-1].float()
        told.append(float(last[marks.one] - last[marks.other]))  # the sum over all tokens is the same in both
    return told


def _marks(tokenizer: Any) -> Marks:
    one, other = (tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in LETTERS)
    common = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    if len(common) in (len(one), len(other)):
        raise ValueError("The tokenizer of this base model does not tell A from B, so it cannot judge.")
    return Marks(common, one[len(common)], other[len(common)])
