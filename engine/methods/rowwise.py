"""One linear layer, N adapters: row n of the batch is answered with adapter n, the base among them.

This is what a comparison uses: N contestants cost one pass over the frozen weights. The formulas are those of
`lora.py` and `dora.py`. Knows nothing about models or files.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.methods.dora import row_norms, without_bias
from engine.methods.lora import LinearLike, LowRank, Wrapped, features


class RowwiseLoRA(Wrapped):
    """A frozen linear layer with one low-rank update for each row of the batch.

    Args:
        base: the frozen layer.
        updates: one a row; None leaves the row to the base. Smaller ranks are padded with zeros, which changes nothing.
    """

    def __init__(self, base: LinearLike, updates: Sequence[LowRank | None]) -> None:
        super().__init__()
        self.base = base
        inside, outside = features(base)
        device = base.weight.device
        rank = max(update.a.shape[0] for update in updates if update)
        self.downs = torch.zeros(len(updates), inside, rank, device=device)  # (N, I, r)
        self.ups = torch.zeros(len(updates), rank, outside, device=device)  # (N, r, O)
        self.factors = torch.zeros(len(updates), 1, 1, device=device)  # s of each
        self.scales: Tensor | None = None  # (N, 1, O), where one of them is a DoRA
        if any(update is not None and update.magnitude is not None for update in updates):
            self.scales = torch.ones(len(updates), 1, outside, device=device)
        for row, update in enumerate(updates):
            if update:
                a, b = _on(update.a, device), _on(update.b, device)
                self._put(row, LowRank(a, b, update.scaling, update.magnitude))

    def _put(self, row: int, update: LowRank) -> None:
        self.downs[row, :, : update.a.shape[0]] = update.a.T
        self.ups[row, : update.b.shape[1]] = update.b.T
        self.factors[row] = update.scaling
        if update.magnitude is not None and self.scales is not None:
            self.scales[row] = _on(update.magnitude, self.downs.device) / row_norms(self.base, update)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, I), or (N * T, I) where a model flattens its rows, to the same with O."""
        h: Tensor = self.base(x)
        rows = x.reshape(self.downs.shape[0], -1, x.shape[-1]).to(self.downs.dtype)  # (N, T, I)
        update = torch.bmm(torch.bmm(rows, self.downs), self.ups) * self.factors  # (N, T, O)
        if self.scales is not None:
            plain = without_bias(self.base, h).reshape(update.shape)
            update = (self.scales - 1) * plain + self.scales * update
        return h + update.reshape(h.shape).to(h.dtype)


def _on(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, torch.float32)
