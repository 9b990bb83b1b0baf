"""How rows go through a model to be learned from or measured: decided once for a model, with the reason.

Ways to do less than a padded batch asks for, each used only where it gives the same loss and gradients: rows as one
sequence without padding (`packing.py`), logits a piece at a time (`head.py`), states computed again on the way back
instead of kept (gradient checkpointing), and compiled blocks (`compiling.py`).
Otherwise rows are padded on the right, and need no mask: no real token of a causal model sees a later one, and padding
carries no label.

Knows nothing about optimizers, steps or what is trained.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import compiling, head, packing
from engine.compiling import CompiledBlocks
from engine.data.batches import collate, moved
from engine.data.render import IGNORED, Example
from engine.methods.lora import Wrapped
from engine.models import LoadedBase


class Passes:
    """The passes of one model, with whatever a method has put on it.

    Args:
        pack: whether rows may be packed; they are where a test vouches for it.
        light: whether states are computed again on the way back: less memory, about a third more work.
        compiled: whether to learn with compiled blocks, where nothing hinders it.
        measured: called after each part of the rows that are measured, since all of them may take long.
    """

    def __init__(
        self,
        base: LoadedBase,
        pack: bool = True,
        light: bool = False,
        compiled: bool = False,
        measured: Callable[[], None] = lambda: None,
    ) -> None:
        self.base = base
        self.parts = head.decoder_and_head(base.model)
        self.packed = pack and self.parts is not None and packing.can_pack(base.model)
        self.light = light and bool(getattr(base.model, "supports_gradient_checkpointing", False))
        self.share = not _drops(base.model)
        self._measured = measured
        self.hindered = compiling.hindrance(base.device.kind) if compiled else ""
        self.compiled = CompiledBlocks(base.model) if compiled and not self.hindered else None

    @property
    def told(self) -> str:
        """What was chosen and why, in sentences."""
        said = [self._told_of_rows()]
        if self.parts:
            said.append("Logits are made a piece at a time.")
        if self.light:
            said.append("States are computed again on the way back.")
        if self.compiled:
            said.append("Blocks are compiled, which takes about a minute at the first step.")
        if self.hindered:
            said.append(f"Blocks are not compiled: {self.hindered}.")
        return " ".join(said)

    def _told_of_rows(self) -> str:
        if not self.packed:
            kind = self.base.model.config.get_text_config().model_type
            return f"Rows are padded to the longest of a pass: packing is not proven for this model ({kind})."
        how = "Rows go through the model without padding"
        return f"{how}; what they begin with alike is computed once." if self.share else f"{how}."

    def learn(self, examples: Sequence[Example], answers: int) -> float:
        """Forward and backward: adds the gradient of the summed loss / `answers` to what is trained, and returns it."""
        self.base.model.train()
        with self._arranged(learning=True):
            part = self._loss(examples) / answers
            torch.autograd.backward(part)
        return part.item()

    @torch.no_grad()
    def measure(self, examples: Sequence[Example], rows_at_once: int) -> float | None:
        """Mean cross-entropy per answer token; None without rows."""
        if not examples:
            return None
        self.base.model.eval()
        ordered = sorted(examples, key=lambda e: len(e.ids))  # rows of like length together: less padding
        with self._arranged():
            total = sum(self._part(part) for part in chunks(ordered, rows_at_once))
        return total / sum(e.answer_tokens for e in examples)

    def _part(self, examples: Sequence[Example]) -> float:
        loss = self._loss(examples).item()
        self._measured()
        return loss

    @contextmanager
    def _arranged(self, learning: bool = False) -> Iterator[None]:
        """The model as the passes want it, and afterwards as it was."""
        model = self.base.model
        light = self.light and learning
        if light:
            _recompute(model, True)
        try:
            with ExitStack() as arranged:
                if self.packed:
                    arranged.enter_context(packing.packed_attention(model))
                if self.compiled and learning:
                    arranged.enter_context(self.compiled.in_place())
                yield
        finally:
            if light:
                _recompute(model, False)

    def _loss(self, examples: Sequence[Example]) -> Tensor:
        if self.parts is None:
            return summed_loss(self.base, examples)
        decoder, last = self.parts
        if not self.packed:
            ids, labels = _padded(self.base, examples)
            states = decoder(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]  # (B, T - 1, D)
            learned = labels[:, 1:] != IGNORED
            return head.summed_cross_entropy(states[learned], last, labels[:, 1:][learned])
        batch = packing.pack(examples, self.share).to(self.base.device.kind)
        packing.lay_out(batch)
        states = decoder(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).last_hidden_state[0]
        return head.summed_cross_entropy(states[batch.asked], last, batch.wanted)


def _recompute(model: Any, on: bool) -> None:
    """Let the blocks of `model` compute their states again on the way back, or keep them."""
    verb = "enable" if on else "disable"
    newer = getattr(model, f"activation_checkpointing_{verb}", None)  # until transformers 5.20 it was called otherwise
    change = newer or getattr(model, f"gradient_checkpointing_{verb}")
    # Both names take the options first; a checkpoint that re-enters would not see gradients of the adapters alone.
    change(*([{"use_reentrant": False}] if on else []))


def _drops(model: Any) -> bool:
    """Whether anything is dropped at random: differently for each row, so what they begin with is not alike then."""
    if any(isinstance(part, nn.Dropout) and part.p for part in model.modules()):
        return True
    if any(getattr(part, "dropout", 0) for part in model.modules() if isinstance(part, Wrapped)):
        return True
    config = model.config.get_text_config().to_dict()
    return any("drop" in name and isinstance(value, float) and value > 0 for name, value in config.items())


def summed_loss(base: LoadedBase, examples: Sequence[Example]) -> Tensor:
    """Cross-entropy summed over the answer tokens of right-padded rows, by the model as it stands. Scalar, fp32."""
    ids, labels = _padded(base, examples)
    first = int((labels[:, 1:] != IGNORED).any(0).int().argmax())  # no position before it predicts an answer token
    if "logits_to_keep" in inspect.signature(base.model.forward).parameters:
        logits = base.model(input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - first).logits
    else:
        logits = base.model(input_ids=ids, use_cache=False).logits[:, first:]  # (B, T - first, V)
    wanted = labels[:, first + 1 :]
    learned = wanted != IGNORED
    return F.cross_entropy(logits[:, :-1][learned].float(), wanted[learned], reduction="sum")


def validation_loss(
    base: LoadedBase, examples: Sequence[Example], rows_at_once: int, measured: Callable[[], None] = lambda: None
) -> float | None:
    """Mean cross-entropy per answer token of the model as it stands; None without rows. `measured` as of `Passes`."""
    return Passes(base, measured=measured).measure(examples, rows_at_once) if examples else None


def _padded(base: LoadedBase, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Ids and labels on the model's device, both (B, T)."""
    ids, labels = collate(examples, pad=base.tokenizer.pad_token_id or 0)
    return moved(ids, base.device.kind), moved(labels, base.device.kind)


def chunks(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """The rows in order, `size` at a time."""
    return (examples[i : i + size] for i in range(0, len(examples), size))
