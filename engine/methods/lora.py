"""Low-rank adaptation of one linear layer: "LoRA", Hu et al. 2021, arXiv 2106.09685, section 4.1, equation 3.

    h = W0 x + s B A x        W0: O x I frozen,  A: r x I and B: O x r trained,  s = alpha / r

With s = alpha / sqrt(r) it is rsLoRA (Kalajdzievski 2023, arXiv 2312.03732, theorem 3.2): the scale is the caller's.
Two variants of the layer stand beside it: `dora.py` and `pissa.py`.

Knows nothing about models, files or settings: which layers are wrapped, and with which rank, is for `low_rank.py`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

LinearLike = nn.Linear  # for the type checker; Conv1D is handled wherever this name stands


@dataclass(frozen=True)
class LowRank:
    """A low-rank update as numbers: A (r, I), B (O, r), the factor of B A, and DoRA's magnitude (O,) if any."""

    a: Tensor
    b: Tensor
    scaling: float
    magnitude: Tensor | None = None


def features(layer: LinearLike) -> tuple[int, int]:
    """(I, O) of a linear layer. GPT-2's Conv1D keeps its weight as I x O, nn.Linear as O x I."""
    if isinstance(layer, Conv1D):
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.in_features, layer.out_features


def weight_of(layer: LinearLike) -> Tensor:
    """The weight of a linear layer as O x I in fp32, whatever way the layer keeps it."""
    from engine import quantised

    if quantised.is_quantised(layer):
        return quantised.dequantised(layer)
    weight = layer.weight.detach()
    return (weight.T if isinstance(layer, Conv1D) else weight).float()


class Wrapped(nn.Module):
    """A layer around a linear one. Some models read a layer's weight for its dtype or device: they find the base's."""

    base: LinearLike

    @property
    def weight(self) -> Tensor:
        """The frozen weight, as the base keeps it."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The base's bias, if it has one."""
        return self.base.bias


class _Beside(torch.autograd.Function):
    """h = W0 x + b + s B A x beside a frozen layer, with the gradients written out.

    What is kept for the way back is x alone, which neighbours share; A x, r wide, is computed again. Sums are made in
    place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: LinearLike, scaling: float) -> Tensor:
        h: Tensor = base(x)
        low = F.linear(x.to(a.dtype), a)  # (..., r)
        h += F.linear(low, b).mul_(scaling).to(h.dtype)  # rounded as the plain sum is
        ctx.save_for_backward(x, a, b)
        ctx.base, ctx.scaling = base, scaling
        return h

    @staticmethod
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, a, b = ctx.saved_tensors
        rows = x.flatten(0, -2).to(a.dtype)  # (n, I)
        out = dh.flatten(0, -2)  # (n, O)
        high = out.to(b.dtype)
        inner = (high @ b).mul_(ctx.scaling)  # (n, r)
        da = inner.T @ rows
        db = (high.T @ (rows @ a.T)).mul_(ctx.scaling)
        dx = None
        if ctx.needs_input_grad[0]:
            weight = ctx.base.weight if isinstance(ctx.base, Conv1D) else ctx.base.weight.T  # I x O
            dx = out @ weight.T
            if dx.dtype == a.dtype:
                dx.addmm_(inner, a)
            else:
                dx += (inner @ a).to(dx.dtype)
            dx = dx.view(x.shape)
        return dx, da, db, None, None


class LoRALinear(Wrapped):
    """A frozen linear layer with one trainable low-rank update beside it.

    A starts Gaussian with variance 1 / I, so that A x has the size of x's entries whatever the width; B starts at zero,
    so that B A = 0 and step 0 equals the base model bit for bit. Both are kept in fp32 whatever the base's dtype.

    Args:
        base: nn.Linear, a quantised one, or transformers' Conv1D; frozen by the caller.
        rank: r, at least 1.
        scaling: s, what the update is multiplied by.
        dropout: probability with which an entry of the update's input is dropped, in training only.
        generator: source of A's starting values, on the CPU; same seed, same start on every device.
    """

    def __init__(self, base: LinearLike, rank: int, scaling: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scaling = scaling
        self.dropout = dropout
        inside, outside = features(base)
        device = base.weight.device
        start = torch.randn(rank, inside, generator=generator) * inside**-0.5
        self.lora_A = nn.Parameter(start.to(device))  # r x I
        self.lora_B = nn.Parameter(torch.zeros(outside, rank, device=device))  # O x r

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., O)."""
        if self._in_one_go():
            return _Beside.apply(x, self.lora_A, self.lora_B, self.base, self.scaling)  # type: ignore[no-any-return, no-untyped-call]
        h: Tensor = self.base(x)
        return h + self.update(self.dropped(x)).to(h.dtype)

    def _in_one_go(self) -> bool:
        """Whether this is the plain case: h as in the paper, and nothing but A and B learns."""
        plain = type(self) is LoRALinear and type(self.base) in (nn.Linear, Conv1D)
        learns = any(p.requires_grad for p in self.base.parameters(recurse=False))
        return plain and not learns and not (self.dropout and self.training)

    def dropped(self, x: Tensor) -> Tensor:
        """The update's input, in the adapter's dtype."""
        return F.dropout(x.to(self.lora_A.dtype), self.dropout, self.training)

    def update(self, x: Tensor) -> Tensor:
        """s B A x: (..., I) to (..., O)."""
        return F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters of the adapter by the end of their name in PEFT's files."""
        return {"lora_A.weight": self.lora_A, "lora_B.weight": self.lora_B}
