"""Rows of one batch as one sequence without padding, what they begin with alike computed once.

    [ shared beginning | rest of row 1 | rest of row 2 | ... ]

Positions of every rest go on from the beginning, and each sees the beginning and itself: block by block, so that no
work is spent on pairs of rows. Loss and gradients are those of padded rows, up to rounding.

The blocks are an attention function of transformers' own registry, so only models that ask that registry can be
packed, and only those are named in `PACKED` for which a test compares with padded rows, longer than the window where
the model has one. Knows nothing about training, files or settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from engine.data.batches import moved
from engine.data.render import IGNORED, Example

NAME = "packed_rows"  # of the attention function in transformers' registry

# Architectures (config.model_type of the text model) that tests/test_packing.py holds against padded rows.
PACKED = {
    *("cohere", "gemma", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neox", "granite", "llama", "mistral", "mixtral"),
    *("olmo", "olmo2", "olmoe", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3"),
    "starcoder2",
}


@dataclass(frozen=True)
class Packed:
    """Rows as one sequence of S tokens.

    Attributes:
        ids: (1, S).
        positions: (1, S), of each token in its row.
        asked: (n,), where in the sequence a token is predicted that is learned.
        wanted: (n,), those tokens.
        shared: tokens all rows begin with, which stand in front once.
        own: tokens of each row after those.
    """

    ids: Tensor
    positions: Tensor
    asked: Tensor
    wanted: Tensor
    shared: int
    own: tuple[int, ...]

    def to(self, device: str) -> Packed:
        """The same on `device`."""
        ids, positions, asked, wanted = (moved(t, device) for t in (self.ids, self.positions, self.asked, self.wanted))
        return Packed(ids, positions, asked, wanted, self.shared, self.own)


def pack(examples: Sequence[Example], share: bool = True) -> Packed:
    """Lay out rows one after another; with `share`, what they begin with alike only once.

    Nothing learned is shared, and neither is the token that predicts the first learned one: where rows begin to differ
    in what they predict, each needs its own. What stands behind the token that predicts the last one is left out.

    Args:
        examples: rows with something to learn each.
    """
    learned = [[place for place in range(1, len(e.ids)) if e.labels[place] != IGNORED] for e in examples]
    shared = _alike(examples, min(places[0] - 1 for places in learned)) if share and len(examples) > 1 else 0
    ids, positions = examples[0].ids[:shared], list(range(shared))
    asked: list[int] = []
    wanted: list[int] = []
    for example, places in zip(examples, learned, strict=True):
        start = len(ids) - shared  # what is at place p of the row is at start + p of the sequence
        ids = ids + example.ids[shared : places[-1]]
        positions.extend(range(shared, places[-1]))
        asked.extend(start + place - 1 for place in places)
        wanted.extend(example.labels[place] for place in places)
    own = tuple(places[-1] - shared for places in learned)
    return Packed(_row(ids), _row(positions), torch.tensor(asked), torch.tensor(wanted), shared, own)


def _alike(examples: Sequence[Example], most: int) -> int:
    """How many tokens all rows begin with alike, `most` at most."""
    columns = zip(*(example.ids[:most] for example in examples), strict=True)
    return next((place for place, column in enumerate(columns) if len(set(column)) > 1), most)


def _row(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers)[None]


# The layout of the pass under way. One at a time: a process trains one model, in one thread.
_layout: tuple[int, tuple[int, ...]] | None = None


def lay_out(batch: Packed) -> None:
    """Let a model with `packed_attention` see its one sequence as these rows, forward and backward, until the next."""
    global _layout
    _layout = batch.shared, batch.own


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **further: Any,
) -> tuple[Tensor, None]:
    """Attention block by block, in the form transformers' registry asks for.

    Args:
        query: (1, H, S, d).
        key, value: (1, H or a part of it, S, d).

    Returns:
        (1, S, H, d), and no weights.

    Raises:
        ValueError: if the model wants something of its attention that is not known here.
    """
    strange = sorted(name for name in ("softcap", "s_aux", "position_bias") if further.get(name) is not None)
    if _layout is None or strange or query.shape[0] != 1:
        raise ValueError(f"This model's attention cannot be packed: {', '.join(strange) or 'no layout'}.")
    shared, own = _layout
    grouped = key.shape[1] != query.shape[1]
    if grouped and query.device.type != "cpu":  # the fast kernels of a GPU take a mask or shared heads, not both
        times = query.shape[1] // key.shape[1]
        key, value, grouped = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1), False
    sizes = [shared, *own]
    # Split, not sliced: the way back of a slice is a tensor of zeros as long as the sequence.
    queries, keys, values = (torch.split(whole, sizes, dim=2) for whole in (query, key, value))
    attention = partial(F.scaled_dot_product_attention, scale=scaling, dropout_p=dropout, enable_gqa=grouped)
    parts = []
    for place, (mine, its_keys, its_values) in enumerate(zip(queries, keys, values, strict=True)):
        if place and shared:
            its_keys = torch.cat([keys[0], its_keys], dim=2)
            its_values = torch.cat([values[0], its_values], dim=2)
        seen = _seen(mine.shape[2], its_keys.shape[2], sliding_window, query.device)
        parts.append(attention(mine, its_keys, its_values, attn_mask=seen, is_causal=seen is None))
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _seen(new: int, total: int, window: int | None, device: torch.device) -> Tensor | None:
    """(new, total): which of all tokens of a row each of its last `new` sees; None where that is those before it."""
    narrow = window is not None and total > window
    if new == total and not narrow:
        return None
    at = torch.arange(total - new, total, device=device)[:, None]
    other = torch.arange(total, device=device)
    seen = other <= at
    return seen & (other > at - window) if narrow else seen  # type: ignore[operator]


AttentionInterface.register(NAME, attend)


def can_pack(model: Any) -> bool:
    """Whether a test vouches for packing this architecture."""
    config = model.config.get_text_config()
    return config.model_type in PACKED and bool(getattr(model, "_supports_attention_backend", False))


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """While it is open, `model` takes packed rows, each batch after `lay_out`, and no others."""
    global _layout
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        _layout = None
