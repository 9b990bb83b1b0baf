"""One linear layer, N adapters: row n of the batch is answered with adapter n, the base among them.

This is what a comparison uses: the frozen weights are read once for all rows. The formulas are those of `lora.py` and
`dora.py`. Two ways lead there. On a CPU each row's update is computed from the adapter's own tensors: nothing is copied
to put an adapter on, and the products have the same shape whoever else is in the batch, so up to MOST_ROWS rows get
the same bits alone and in company. On a GPU, where every call costs more than its arithmetic, all A and all B are
stacked and three calls do all rows.

Knows nothing about models or files.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.methods.dora import row_norms, without_bias
from engine.methods.lora import LinearLike, LowRank, Wrapped, features
from engine.methods.one_token import MOST_ROWS


class RowwiseLoRA(Wrapped):
    """A frozen linear layer with one low-rank update for each row of the batch.

    Args:
        base: the frozen layer.
        updates: one a row, until `seat` says otherwise; None leaves the row to the base. Ranks may differ.
        stacked: which of the two ways; the one for the layer's device if None.
    """

    def __init__(self, base: LinearLike, updates: Sequence[LowRank | None], stacked: bool | None = None) -> None:
        super().__init__()
        self.base = base
        rows = [_row(base, update) if update else None for update in updates]
        if stacked if stacked is not None else base.weight.device.type != "cpu":
            self._all: _Stacked | _Apart = _stack(base, rows)
        else:
            self._all = _Apart(rows)
        self._beside = self._all

    def seat(self, rows: Sequence[int]) -> None:
        """From now on row n of the batch gets update number `rows[n]`."""
        self._beside = self._all if list(rows) == list(range(self._all.count)) else self._all.only(rows)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, I), or (N * T, I) where a model flattens its rows, to the same with O."""
        h: Tensor = self.base(x).contiguous()  # this layer's own: what is added below is seen by nobody else
        count = self._beside.count
        self._beside.add_to(h.view(count, -1, h.shape[-1]), x.reshape(count, -1, x.shape[-1]), self.base)
        return h


@dataclass(frozen=True)
class _Row:
    """One update in fp32 beside the layer: A (r, I), B (O, r), the factor s, and m / ||W0 + s B A|| (O,) of a DoRA."""

    a: Tensor
    b: Tensor
    factor: float
    scale: Tensor | None

    def add_to(self, h: Tensor, x: Tensor, base: LinearLike) -> None:
        """h (T, O), which is W0 x + bias, gets the update of x (T, I) added, in place."""
        x = x if x.dtype == self.a.dtype else x.to(self.a.dtype)
        if self.scale is not None:
            h += ((self.scale - 1) * without_bias(base, h) + self.scale * self._update(x)).to(h.dtype)
        elif h.dtype != self.a.dtype:
            h += self._update(x).to(h.dtype)
        elif x.shape[0] == 1:  # two products of a matrix and a vector take half the time of the general ones
            h[0].addmv_(self.b, torch.mv(self.a, x[0]), alpha=self.factor)
        else:
            h.addmm_(x @ self.a.T, self.b.T, alpha=self.factor)

    def _update(self, x: Tensor) -> Tensor:
        return (x @ self.a.T) @ self.b.T * self.factor


@dataclass(frozen=True)
class _Apart:
    """Each row's update by itself; of a crowd, that of all rows with the same update at once."""

    rows: Sequence[_Row | None]

    @property
    def count(self) -> int:
        return len(self.rows)

    def only(self, rows: Sequence[int]) -> _Apart:
        return _Apart([self.rows[row] for row in rows])

    def add_to(self, h: Tensor, x: Tensor, base: LinearLike) -> None:
        """h: (N, T, O), x: (N, T, I)."""
        if len(self.rows) > MOST_ROWS and x.shape[1] == 1:
            for update, places in self._alike:
                part = h[places, 0]
                update.add_to(part, x[places, 0], base)
                h[places, 0] = part
            return
        for n, row in enumerate(self.rows):
            if row:
                row.add_to(h[n], x[n], base)

    @functools.cached_property
    def _alike(self) -> list[tuple[_Row, Tensor]]:
        """Each update once, with the rows that it is for."""
        places: dict[int, list[int]] = {}
        for n, row in enumerate(self.rows):
            if row:
                places.setdefault(id(row), []).append(n)
        by_id = {id(row): row for row in self.rows if row}
        return [(by_id[key], torch.tensor(found)) for key, found in places.items()]


@dataclass(frozen=True)
class _Stacked:
    """All updates at once. Smaller ranks are padded with zeros, which changes nothing; so is the base's row."""

    downs: Tensor  # (N, I, r)
    ups: Tensor  # (N, r, O)
    factors: Tensor  # (N, 1, 1)
    scales: Tensor | None  # (N, 1, O), where one of them is a DoRA

    @property
    def count(self) -> int:
        return len(self.downs)

    def only(self, rows: Sequence[int]) -> _Stacked:
        at = list(rows)
        scales = None if self.scales is None else self.scales[at]
        return _Stacked(self.downs[at], self.ups[at], self.factors[at], scales)

    def add_to(self, h: Tensor, x: Tensor, base: LinearLike) -> None:
        """h: (N, T, O), x: (N, T, I)."""
        update = torch.bmm(torch.bmm(x.to(self.downs.dtype), self.downs), self.ups) * self.factors  # (N, T, O)
        if self.scales is not None:
            update = (self.scales - 1) * without_bias(base, h) + self.scales * update
        h += update.to(h.dtype)


def _stack(base: LinearLike, rows: Sequence[_Row | None]) -> _Stacked:
    inside, outside = features(base)
    device = base.weight.device
    rank = max(row.a.shape[0] for row in rows if row)
    downs, ups = (torch.zeros(len(rows), *size, device=device) for size in ((inside, rank), (rank, outside)))
    factors = torch.tensor([row.factor if row else 0.0 for row in rows], device=device)[:, None, None]
    scales = torch.ones(len(rows), 1, outside, device=device)
    for n, row in enumerate(rows):
        if row:
            downs[n, :, : row.a.shape[0]] = row.a.T
            ups[n, : row.a.shape[0]] = row.b.T
            scales[n] = 1.0 if row.scale is None else row.scale
    return _Stacked(downs, ups, factors, scales if any(row and row.scale is not None for row in rows) else None)


def _row(base: LinearLike, update: LowRank) -> _Row:
    device = base.weight.device
    a, b = _on(update.a, device), _on(update.b, device)
    if update.magnitude is None:
        return _Row(a, b, update.scaling, None)
    magnitude = _on(update.magnitude, device)
    return _Row(a, b, update.scaling, magnitude / row_norms(base, LowRank(a, b, update.scaling, magnitude)))


def _on(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, torch.float32)
