"""Rows that answer together: each prompt is read alone, as it is, and then one token of every row at a time.

    row 1   . . . . p p p a a a        "." is masked, p a prompt, a an answer so far
    row 2   p p p p p p p a a a

What is kept of a prompt (keys and values; a state, where a model keeps one) is set beside that of the others on the
left, so that distances are what they are alone; positions count from each row's own beginning. Rows of prompts of one
length need no mask, and compute what they always did. Rows come and go between two tokens.

Which architectures take it is known by their names in MIXING: those that a test holds against rows alone. Knows nothing
about adapters, sampling or text.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Architectures (config.model_type of the text model) that tests/test_architectures.py holds against rows alone.
MIXING = {
    *("bloom", "cohere", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox"),
    *("gptj", "granite", "llama", "mistral", "mixtral", "mpt", "olmo", "olmo2", "olmoe", "opt", "persimmon", "phi"),
    *("phi3", "phimoe", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2"),
}


def can_mix(model: Any) -> bool:
    """Whether a test vouches for rows with prompts of different lengths."""
    return model.config.get_text_config().model_type in MIXING


class UnderWay:
    """The rows that answer now, in the order in which they came."""

    def __init__(self, model: Any) -> None:
        self._model = model
        known = inspect.signature(model.forward).parameters
        # The option that spares a model the logits of the prompt, where it has it.
        self._options = {"use_cache": True, **({"logits_to_keep": 1} if "logits_to_keep" in known else {})}
        self._takes_positions = "position_ids" in known
        self._device = model.get_input_embeddings().weight.device
        self._cache: Any = None
        self._ids: Tensor | None = None  # all of the rows, where a model keeps nothing of them
        self._lengths: list[int] = []  # positions behind each row

    def join(self, prompt: Sequence[int], count: int) -> Tensor:
        """`count` rows that begin with `prompt` join those that are there. The logits of what comes next: (count, V).

        Where the model is not `can_mix`, all rows that are there have to have come with this prompt.
        """
        ids = torch.tensor([list(prompt)] * count, device=self._device)
        out = self._model(input_ids=ids, **self._options)
        cache = getattr(out, "past_key_values", None)
        if cache is None:  # this model keeps no such cache, and reads all of it again
            self._ids = ids
        self._set_beside(cache, len(prompt), count)
        logits: Tensor = out.logits[:, -1]
        return logits

    def _set_beside(self, cache: Any, length: int, count: int) -> None:
        if self._lengths:
            length = cache.get_seq_length()  # with a soft prompt in front it is more than was given
            width = max(*self._lengths, length)
            for mine, new in zip(self._cache.layers, cache.layers, strict=True):
                _merge(mine, new, width)
        else:
            self._cache = cache
            length = cache.get_seq_length() if cache is not None and can_mix(self._model) else length
        self._lengths += [length] * count

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Give each row its next token; the logits of what comes after it: (N, V)."""
        new = torch.tensor(tokens, device=self._device)[:, None]  # (N, 1)
        if self._ids is not None:
            self._ids = torch.cat([self._ids, new], dim=1)
            out = self._model(input_ids=self._ids, **self._options)
        else:
            out = self._model(input_ids=new, past_key_values=self._cache, **self._options, **self._places())
        self._lengths = [length + 1 for length in self._lengths]
        logits: Tensor = out.logits[:, -1]
        return logits

    def _places(self) -> dict[str, Tensor]:
        """Where the next tokens stand and what they see, where that is not the same for all."""
        width = max(self._lengths)
        if min(self._lengths) == width:
            return {}
        behind = torch.tensor(self._lengths, device=self._device)[:, None]  # (N, 1)
        seen = torch.arange(width + 1, device=self._device) >= width - behind  # (N, width + 1)
        return {"attention_mask": seen.long(), **({"position_ids": behind} if self._takes_positions else {})}

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on, in this order."""
        if len(rows) == len(self._lengths):
            return
        if not rows:
            self._cache, self._ids, self._lengths = None, None, []
            return
        at = torch.tensor(rows, device=self._device)
        if self._ids is not None:
            self._ids = self._ids[at]
        else:
            self._cache.reorder_cache(at)
        width = max(self._lengths)
        self._lengths = [self._lengths[row] for row in rows]
        if cut := width - max(self._lengths):
            for layer in self._cache.layers:
                _narrow(layer, cut)


def _merge(mine: Any, new: Any, width: int) -> None:
    """Set the rows of one layer's keys and values below those of another, all `width` positions long at most."""
    kept = max(mine.keys.shape[2], new.keys.shape[2])
    for name in ("keys", "values"):
        parts = [F.pad(part, (0, 0, kept - part.shape[2], 0)) for part in (getattr(mine, name), getattr(new, name))]
        setattr(mine, name, torch.cat(parts))
    if hasattr(mine, "cumulative_length"):  # of a sliding window, which forgets what is behind it
        mine.cumulative_length = width


def _narrow(layer: Any, cut: int) -> None:
    """Take `cut` positions away on the left, which no row has any more."""
    sliding = hasattr(layer, "cumulative_length")
    if sliding:
        layer.cumulative_length -= cut
        cut = max(0, layer.keys.shape[2] - min(layer.cumulative_length, layer.sliding_window - 1))
    layer.keys, layer.values = layer.keys[:, :, cut:], layer.values[:, :, cut:]
