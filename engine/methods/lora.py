"""Low-rank adaptation of one linear layer: "LoRA", Hu et al. 2021, arXiv 2106.09685, section 4.1, equation 3.

    h = W0 x + (alpha / r) B A x        W0: O x I frozen,  A: r x I and B: O x r trained

Two layers share that formula. `LoRALinear` carries one adapter and is what training uses. `RowwiseLoRA` carries one
adapter for each row of the batch and is what a comparison uses: N contestants cost one pass over the frozen weights.

Knows nothing about models, files or settings: which layers are wrapped is for `inject.py`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

LinearLike = nn.Linear  # for the type checker; Conv1D is handled wherever this name stands


def features(layer: LinearLike) -> tuple[int, int]:
    """(I, O) of a linear layer. GPT-2's Conv1D keeps its weight as I x O, nn.Linear as O x I."""
    if isinstance(layer, Conv1D):
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.in_features, layer.out_features


class LoRALinear(nn.Module):
    """A frozen linear layer with one trainable low-rank update beside it.

    A starts Gaussian with variance 1 / I, so that A x has the size of x's entries whatever the width; B starts at zero,
    so that B A = 0 and step 0 equals the base model bit for bit. Both are kept in fp32 whatever the base's dtype.

    Args:
        base: nn.Linear or transformers' Conv1D; its parameters are frozen here.
        rank: r, at least 1.
        alpha: the update is multiplied by alpha / r.
        dropout: probability with which an entry of the update's input is dropped, in training only.
        generator: source of A's starting values, on the CPU; same seed, same start on every device.
    """

    def __init__(self, base: LinearLike, rank: int, alpha: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scaling = alpha / rank
        self.dropout = dropout
        inside, outside = features(base)
        device = base.weight.device
        start = torch.randn(rank, inside, generator=generator) * inside**-0.5
        self.lora_A = nn.Parameter(start.to(device))  # r x I
        self.lora_B = nn.Parameter(torch.zeros(outside, rank, device=device))  # O x r

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., O)."""
        h: Tensor = self.base(x)
        low = F.linear(F.dropout(x.to(self.lora_A.dtype), self.dropout, self.training), self.lora_A)  # (..., r)
        return h + (F.linear(low, self.lora_B) * self.scaling).to(h.dtype)


class RowwiseLoRA(nn.Module):
    """A frozen linear layer in which row n of the batch is answered with adapter n.

    Args:
        base: the frozen layer.
        downs: A of each contestant, stacked: (N, r, I). Smaller ranks are padded with zeros, which changes nothing.
        ups: (alpha / r) B of each contestant, stacked: (N, O, r). The base model's row is zero.
    """

    def __init__(self, base: LinearLike, downs: Tensor, ups: Tensor) -> None:
        super().__init__()
        self.base = base
        self.downs = downs.mT.contiguous()  # (N, I, r)
        self.ups = ups.mT.contiguous()  # (N, r, O)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, I), or (N * T, I) where a model flattens its rows, to the same with O."""
        h: Tensor = self.base(x)
        rows = x.reshape(self.downs.shape[0], -1, x.shape[-1]).to(self.downs.dtype)  # (N, T, I)
        update = torch.bmm(torch.bmm(rows, self.downs), self.ups)  # (N, T, O)
        return h + update.reshape(h.shape).to(h.dtype)
