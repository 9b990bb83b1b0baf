"""An adapter as numbers: what it does to a model, whatever method made it.

Knows nothing about files (`adapter_files.py`) or whether it fits a certain model (`adapter_fit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from engine.methods.lora import LowRank
from engine.peft_rules import LoraConfig
from engine.settings import Method


class AdapterError(ValueError):
    """An adapter that cannot be used. The message says why, in a sentence."""


@dataclass(frozen=True)
class AdapterOnDisk:
    """An adapter as read, by what it does to a model. Every method fills one or two of these.

    Attributes:
        low_rank: updates beside linear layers, by the layer's path.
        whole: values that take the places of parameters of the base, by path.
        bottlenecks: tensors of `methods.additive.Bottleneck`, by `<layer>.<part>`.
        prompt: (k, H) embeddings that stand before every row.
        config: PEFT's config, where the folder is PEFT's LoRA.
        template: the chat template that it was trained with, where that is not the base model's own.
        tied: whether a value of `whole` also goes where its parameter is shared, as between embedding and head.
    """

    path: Path
    method: Method
    low_rank: dict[str, LowRank] = field(default_factory=dict)
    whole: dict[str, Tensor] = field(default_factory=dict)
    bottlenecks: dict[str, Tensor] = field(default_factory=dict)
    prompt: Tensor | None = None
    config: LoraConfig | None = None
    tied: bool = True
    template: str | None = None

    @property
    def by_rows(self) -> bool:
        """Whether it can answer as one row of a batch beside others: it leaves all parameters of the base alone."""
        return not self.whole and not self.bottlenecks and self.prompt is None

    @property
    def size_bytes(self) -> int:
        """What its tensors take in memory."""
        low_rank = [part for one in self.low_rank.values() for part in (one.a, one.b, one.magnitude)]
        held = [*low_rank, *self.whole.values(), *self.bottlenecks.values(), self.prompt]
        return sum(tensor.nbytes for tensor in held if tensor is not None)

    def at(self, strength: float) -> AdapterOnDisk:
        """The same adapter with its update multiplied by `strength`.

        Raises:
            AdapterError: it is not low-rank alone, or a DoRA, whose update is no single product.
        """
        if strength == 1:
            return self
        if not self.by_rows or any(update.magnitude is not None for update in self.low_rank.values()):
            raise AdapterError("Only low-rank adapters without more can answer at another strength than 1.")
        louder = {path: replace(one, scaling=strength * one.scaling) for path, one in self.low_rank.items()}
        return replace(self, low_rank=louder)
