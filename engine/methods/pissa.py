"""Principal singular values and vectors as the start: "PiSSA", Meng et al. 2024, arXiv 2404.02948, section 3.

    W0 = U S V^T;    A0 = sqrt(S_r) V_r^T,  B0 = U_r sqrt(S_r)  of the r largest;    h = (W0 - B0 A0) x + B A x

The paper changes the base to W0 - B0 A0. Here W0 stays untouched, so that an adapter switched off is the base, and

    h = W0 x + (B A - B0 A0) x = W0 x + (B (A - A0) + (B - B0) A0) x

is computed as it stands on the right: sums of small products, exactly zero at step 0. The two on the left are as large
as W0 and would cancel to what is left of their rounding. What is stored is the equivalent LoRA of rank 2r,
[B, B - B0] [A - A0; A0].

With a scale s, A0 and B0 are divided by sqrt(s), so that s B0 A0 is the paper's product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.methods.lora import LinearLike, LoRALinear, weight_of


class PiSSALinear(LoRALinear):
    """A LoRA layer that starts from the largest directions of its base. Arguments are `LoRALinear`'s."""

    first_A: Tensor
    first_B: Tensor

    def __init__(self, base: LinearLike, rank: int, scaling: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__(base, rank, scaling, dropout, generator)
        a, b = principal(weight_of(base), rank)
        self.lora_A = nn.Parameter(a / scaling**0.5)
        self.lora_B = nn.Parameter(b / scaling**0.5)
        self.register_buffer("first_A", self.lora_A.detach().clone(), persistent=False)
        self.register_buffer("first_B", self.lora_B.detach().clone(), persistent=False)

    def update(self, x: Tensor) -> Tensor:
        """s (B A - B0 A0) x: (..., I) to (..., O)."""
        moved = F.linear(F.linear(x, self.lora_A - self.first_A), self.lora_B)
        turned = F.linear(F.linear(x, self.first_A), self.lora_B - self.first_B)
        return (moved + turned) * self.scaling

    def as_lora(self) -> tuple[Tensor, Tensor]:
        """The equivalent A (2r, I) and B (O, 2r) beside an untouched base, with the same scale s."""
        a = torch.cat([self.lora_A - self.first_A, self.first_A])
        return a, torch.cat([self.lora_B, self.lora_B - self.first_B], dim=1)


def principal(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(A0, B0) of the `rank` largest singular values of `weight` (O x I); a rank above what it has is an error.

    Raises:
        ValueError: if `rank` exceeds the smaller side of the weight.
    """
    if rank > min(weight.shape):
        o, i = weight.shape
        raise ValueError(
            f"PiSSA takes the {rank} largest directions of each layer, but one of {o} x {i} has only {min(o, i)}. "
            "Choose a smaller rank, or a random start."
        )
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    return (root[:, None] * vt[:rank]).contiguous(), (u[:, :rank] * root).contiguous()
