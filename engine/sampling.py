"""How an answer is drawn, and one token from logits. Knows nothing about models, prompts or text."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FIRST = 256  # tokens that are put in order before all are; nearly every draw falls among them


class Narrowing(NamedTuple):
    """What may be drawn, beside top p. The defaults narrow nothing.

    Attributes:
        top_k: only so many of the likeliest tokens; 0 for all.
        min_p: only tokens at least so likely, as a share of the likeliest (arXiv 2407.01082, section 3).
        repetition_penalty: what the logits of tokens that stand already are divided by, negative ones multiplied
            (CTRL, arXiv 1909.05858, section 4.1; as in transformers, the prompt's tokens count).
    """

    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


class Sampling(NamedTuple):
    """How one answer is drawn: the same values draw the same answer from the same model.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_p: tokens are drawn from the smallest set that holds this probability (arXiv 1904.09751, section 3.1).
        narrowing: what may be drawn beside that; it goes before top p.
        stop: texts before which an answer ends.
    """

    seed: int = 0
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 200
    narrowing: Narrowing = Narrowing()
    stop: tuple[str, ...] = ()


def narrowed(logits: Tensor, temperature: float, seen: Sequence[int], by: Narrowing) -> Tensor:
    """Logits (V,) with what may not be drawn at minus infinity, and `seen` tokens made less likely."""
    if by == Narrowing():
        return logits
    logits = logits.clone()
    if by.repetition_penalty != 1 and seen:
        at = torch.tensor(sorted(set(seen)))
        logits[at] = torch.where(logits[at] < 0, logits[at] * by.repetition_penalty, logits[at] / by.repetition_penalty)
    if 0 < by.top_k < len(logits):
        logits[logits < logits.topk(by.top_k).values[-1]] = -math.inf
    if by.min_p > 0:
        logits[logits < logits.max() + temperature * math.log(by.min_p)] = -math.inf
    return logits


def sample(logits: Tensor, temperature: float, top_p: float, draw: torch.Generator) -> int:
    """One token from logits (V,). One number is drawn whatever the settings, so streams of draws stay in step.

    Tokens stand in the order of their likelihood, so equal draws from like distributions give like tokens.

    Args:
        temperature: 0 takes the likeliest token.
        top_p: tokens are drawn from the smallest set that holds this probability (arXiv 1904.09751, section 3.1).
    """
    point = float(torch.rand((), generator=draw))
    if temperature == 0:
        return int(logits.argmax())
    likely = (logits / temperature).softmax(0)
    found = _among(*likely.topk(min(FIRST, len(likely))), top_p, point, float(likely.sum()))
    if found is None:
        found = _among(*likely.sort(descending=True), top_p, point, None)
    assert found is not None
    return found


def _among(likely: Tensor, order: Tensor, top_p: float, point: float, in_all: float | None) -> int | None:
    """The token at `point` of the kept ones, of which `likely` are the first; None if they do not tell.

    Args:
        likely, order: (k,), probabilities from the highest on and their tokens.
        in_all: what all probabilities come to; None if `likely` are all.
    """
    below = likely.cumsum(0)
    kept = int((below < top_p).sum()) + 1  # the token that crosses the line is kept too
    if kept <= len(below):
        total = float(below[kept - 1])
    elif in_all is None:
        kept, total = len(below), float(below[-1])
    elif top_p >= 1 and point * in_all < float(below[-1]):
        kept, total = len(below), in_all
    else:
        return None
    return int(order[min(int((below[:kept] < point * total).sum()), kept - 1)])
