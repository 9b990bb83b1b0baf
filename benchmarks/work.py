"""How many operations of matrix products training a batch needs, and how a step's time is parted.

Only useful operations count: no padding, no logits where nothing is learned, a beginning that all rows of a batch share
once, and nothing that is computed a second time to save memory. Knows nothing about how the work is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from engine.data.render import IGNORED, Example
from engine.methods.inject import linear_layers


@dataclass(frozen=True)
class Size:
    """What of a model the number of operations depends on.

    Attributes:
        base: weights of the frozen linear layers of the blocks.
        first: those of them that see the first block's input, whose gradient nobody needs.
        adapter: trained numbers of A and B.
        head: weights of the output head.
        attention: heads times their width, summed over the blocks.
    """

    base: int
    first: int
    adapter: int
    head: int
    attention: int


def size_of(model: Any, trained: int) -> Size:
    """The size of a Llama-like model with `trained` numbers of LoRA on it. Call it before the layers are wrapped."""
    layers = linear_layers(model)
    config = model.config.get_text_config()
    entry = (".layers.0.self_attn.q_proj", ".layers.0.self_attn.k_proj", ".layers.0.self_attn.v_proj")
    return Size(
        base=sum(layer.weight.numel() for layer in layers.values()),
        first=sum(layer.weight.numel() for path, layer in layers.items() if path.endswith(entry)),
        adapter=trained,
        head=model.get_output_embeddings().weight.numel(),
        attention=config.num_hidden_layers * config.num_attention_heads * config.head_dim,
    )


def shared_prefix(batch: Sequence[Example]) -> int:
    """Tokens that all rows begin with, short of the first that is learned."""
    first = min(next(i for i, label in enumerate(row.labels) if label != IGNORED) for row in batch)
    same = 0
    while same < first and len({row.ids[same] for row in batch}) == 1:
        same += 1
    return same


def operations(batch: Sequence[Example], size: Size) -> int:
    """Useful operations of one optimizer step on `batch`: forward 2 a weight and token, as many for the gradient of
    the input, and for A and B as many again for their own. Attention: two products forward, four backward."""
    prefix = shared_prefix(batch) if len(batch) > 1 else 0
    tokens = prefix + sum(len(row.ids) - prefix for row in batch)
    seen = prefix * (prefix + 1) // 2 + sum(_pairs(len(row.ids)) - _pairs(prefix) for row in batch)
    answers = sum(row.answer_tokens for row in batch)
    layers = tokens * (4 * size.base - 2 * size.first + 6 * size.adapter)
    return layers + 12 * size.attention * seen + 4 * size.head * answers


def _pairs(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


class Parted:
    """Parts time into forward with backward, and all the rest.

    Forward begins when tokens are embedded and ends with the backward pass after it, so the loss counts with it.
    """

    def __init__(self) -> None:
        self.computing = 0.0
        self._began: float | None = None

    def began(self, *_: Any) -> None:
        """Tokens are embedded, to be learned from."""
        if self._began is None and torch.is_grad_enabled():
            self._began = time.perf_counter()

    def ended(self) -> None:
        """A backward pass is over."""
        if self._began is not None:
            self.computing += time.perf_counter() - self._began
            self._began = None

    @contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Watch a transformers model while the context lasts."""
        handle = model.get_input_embeddings().register_forward_pre_hook(self.began)
        plain = torch.autograd.backward
        torch.autograd.backward = self._told(plain)
        try:
            yield
        finally:
            torch.autograd.backward = plain
            handle.remove()

    def _told(self, plain: Callable[..., None]) -> Callable[..., None]:
        def backward(*given: Any, **named: Any) -> None:
            plain(*given, **named)
            self.ended()

        return backward
