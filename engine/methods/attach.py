"""Putting trained adapters on a base model to answer with, and taking them off again.

Low-rank adapters answer together, one a row of the batch, the base among them. Whatever changes or adds parameters
answers alone. Knows nothing about files or prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor, nn

from engine.methods.additive import attach_bottlenecks, attach_prompt
from engine.methods.inject import Surgery
from engine.methods.lora import LinearLike, LowRank
from engine.methods.rowwise import RowwiseLoRA
from engine.methods.whole import replace_whole


class Effect(Protocol):
    """What an adapter does to a model; `adapter_files.AdapterOnDisk` is one."""

    @property
    def low_rank(self) -> Mapping[str, LowRank]: ...
    @property
    def whole(self) -> Mapping[str, Tensor]: ...
    @property
    def tied(self) -> bool: ...
    @property
    def bottlenecks(self) -> dict[str, Tensor]: ...
    @property
    def prompt(self) -> Tensor | None: ...
    @property
    def by_rows(self) -> bool: ...


def groups(contestants: Sequence[Effect | None]) -> list[list[int]]:
    """The places of contestants that can answer together: all that go by rows, then each of the others by itself."""
    together = [place for place, one in enumerate(contestants) if one is None or one.by_rows]
    alone: dict[int, list[int]] = {}
    for place, one in enumerate(contestants):
        if one is not None and not one.by_rows:
            alone.setdefault(id(one), []).append(place)
    return ([together] if together else []) + list(alone.values())


class Attached:
    """Contestants on a model: at first one a row, in their order."""

    def __init__(self, by_rows: Sequence[RowwiseLoRA]) -> None:
        self._by_rows = by_rows

    def seat(self, rows: Sequence[int]) -> None:
        """From now on row n of every batch is answered by contestant `rows[n]`. One may have several rows, or none."""
        for layer in self._by_rows:
            layer.seat(rows)


@contextmanager
def attached(model: nn.Module, contestants: Sequence[Effect | None]) -> Iterator[Attached]:
    """While it is open, row n of every batch is answered by contestant n; None is the base.

    Raises:
        ValueError: if several contestants cannot answer together; ask `groups` first.
    """
    surgery = Surgery(model)
    try:
        if any(one and not one.by_rows for one in contestants):
            if len(contestants) > 1:
                raise ValueError("These contestants cannot answer in one batch.")
            _put_beside(surgery, contestants[0])
        yield Attached(_by_rows(surgery, contestants))
    finally:
        surgery.undo()


def _by_rows(surgery: Surgery, contestants: Sequence[Effect | None]) -> list[RowwiseLoRA]:
    paths = dict.fromkeys(path for one in contestants if one for path in one.low_rank)
    put = []
    for path in paths:
        layer: LinearLike = surgery.model.get_submodule(path)  # type: ignore[assignment]
        put.append(RowwiseLoRA(layer, [one.low_rank.get(path) if one else None for one in contestants]))
        surgery.replace(path, put[-1])
    return put


def _put_beside(surgery: Surgery, one: Effect | None) -> None:
    if one is None:
        return
    replace_whole(surgery, one.whole, one.tied)
    if one.bottlenecks:
        attach_bottlenecks(surgery, one.bottlenecks)
    if one.prompt is not None:
        attach_prompt(surgery, one.prompt)
