"""Weight-decomposed low-rank adaptation: "DoRA", Liu et al. 2024, arXiv 2402.09353, equation 5.

    W' = m * (W0 + s B A) / ||W0 + s B A||        m: (O,) trained, the norm taken of each row of W (O x I)

Magnitude m and direction are learned apart. As the paper does (section 4.3, equation 11), the norm is held constant
in the backward pass. m starts as the norm of W0's rows, so that step 0 is the base model up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.methods.lora import LinearLike, LoRALinear, LowRank, weight_of


class DoRALinear(LoRALinear):
    """A LoRA layer whose rows have a length of their own. Arguments are `LoRALinear`'s."""

    def __init__(self, base: LinearLike, rank: int, scaling: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__(base, rank, scaling, dropout, generator)
        self.magnitude = nn.Parameter(weight_of(base).norm(dim=1))  # (O,)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., O)."""
        h: Tensor = self.base(x)
        low = self.dropped(x)
        plain = h if not (self.training and self.dropout) else self.base(low.to(x.dtype))
        scale = self.magnitude / row_norms(self.base, self.numbers()).detach()  # (O,)
        return h + ((scale - 1) * without_bias(self.base, plain) + scale * self.update(low)).to(h.dtype)

    def numbers(self) -> LowRank:
        """The update as it stands, without its history of gradients."""
        return LowRank(self.lora_A.detach(), self.lora_B.detach(), self.scaling, self.magnitude.detach())

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters of the adapter by the end of their name in PEFT's files."""
        return {**super().trained(), "lora_magnitude_vector": self.magnitude}


def row_norms(base: LinearLike, update: LowRank) -> Tensor:
    """||W0 + s B A|| of each row: (O,)."""
    norms: Tensor = (weight_of(base) + update.scaling * (update.b @ update.a)).norm(dim=1)
    return norms


def without_bias(base: LinearLike, h: Tensor) -> Tensor:
    """W0 x from W0 x + bias."""
    plain: Tensor = h if base.bias is None else h - base.bias
    return plain
