"""One token from logits. Knows nothing about models, prompts or text."""

import torch
from torch import Tensor

FIRST = 256  # tokens that are put in order before all are; nearly every draw falls among them


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
