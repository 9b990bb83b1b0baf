"""From hidden states to the summed cross-entropy, a few positions at a time.

The logits of a batch are its largest tensor by far: positions times vocabulary. Here they are made, used and dropped in
pieces, and each piece leaves only its gradient. Knows nothing about rows or training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AT_ONCE = 1 << 23  # numbers; logits of one piece: 32 MB in fp32
PROBE = 4  # tokens


def decoder_and_head(model: Any) -> tuple[nn.Module, nn.Module] | None:
    """The part of a model that makes hidden states and the one that makes logits of them; None if that is not all.

    Some models do more to their logits (Gemma 2 bends large ones down, others scale them) or have hooks on the whole.
    So the two are asked: only if they answer as the model does, they are used in its place.
    """
    head, decoder = model.get_output_embeddings(), model.get_decoder()
    if head is None or decoder is None or decoder is model:
        return None
    ids = torch.arange(1, 1 + PROBE, device=head.weight.device)[None] % head.weight.shape[0]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            whole = model(input_ids=ids, use_cache=False).logits
            parts = head(decoder(input_ids=ids, use_cache=False).last_hidden_state)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None
    finally:
        model.train(training)
    same = parts.shape == whole.shape and torch.allclose(parts.float(), whole.float(), rtol=1e-5, atol=1e-5)
    return (decoder, head) if same else None


def summed_cross_entropy(hidden: Tensor, head: nn.Module, wanted: Tensor) -> Tensor:
    """Cross-entropy of `wanted` given `hidden`, summed; never holds all logits.

    Args:
        hidden: (n, D), the states that predict.
        head: D to V.
        wanted: (n,) int64, the tokens to predict.

    Returns:
        A scalar in fp32, with gradients to `hidden` and to what of the head is trained.
    """
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    return _Pieces.apply(hidden, wanted, head, *trained)  # type: ignore[no-any-return, no-untyped-call]


class _Pieces(torch.autograd.Function):
    """Makes the gradient of each piece along with its loss, so that the way back has only to scale it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, wanted: Tensor, head: nn.Module, *trained: Tensor) -> Tensor:
        learns = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grads = [torch.zeros_like(tensor) for tensor in (hidden, *trained)] if learns else []
        weight: Tensor = head.weight  # type: ignore[assignment]
        size = max(1, AT_ONCE // weight.shape[0])
        for start in range(0, len(wanted), size):
            piece = slice(start, start + size)
            states = hidden[piece].detach()
            if not learns:
                total += _loss(states, head, wanted[piece])
                continue
            with torch.enable_grad():
                states.requires_grad_()
                loss = _loss(states, head, wanted[piece])
                first, *others = torch.autograd.grad(loss, [states, *trained])
            total += loss.detach()
            grads[0][piece] = first
            _add(grads[1:], others)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        first, *others = (grad * weight.to(grad.dtype) for grad in ctx.saved_tensors)
        return first, None, None, *others


def _loss(states: Tensor, head: nn.Module, wanted: Tensor) -> Tensor:
    return F.cross_entropy(head(states).float(), wanted, reduction="sum")


def _add(to: Sequence[Tensor], more: Sequence[Tensor]) -> None:
    for one, other in zip(to, more, strict=True):
        one += other
