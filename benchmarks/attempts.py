"""What was tried to come nearer to the machine's peak, each against the step as it is, in turns, on the same batch.

    python -m benchmarks.attempts FOLDER [--rounds 4]

FOLDER holds the base model. Prints the median seconds of a step, the median ratio, and how far loss and gradients are
from those of the step as it is. Knows nothing about other programs: see `training.py`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.contestant import CPU, LENGTH, our_batches, run_settings
from benchmarks.data_sets import data_set
from engine import models, packing
from engine.data.render import Example, encode
from engine.methods import fit
from engine.methods.lora import LinearLike, _Beside
from engine.passes import Passes

SET, ROWS = "long-system", 16


@contextmanager
def as_it_is() -> Iterator[None]:
    """The step as it is."""
    yield


@contextmanager
def sum_in_the_product() -> Iterator[None]:
    """B A x added to W0 x by the product itself, not by two passes over the result."""

    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: LinearLike, scaling: float) -> Tensor:
        h: Tensor = base(x)
        h.view(-1, h.shape[-1]).addmm_(F.linear(x, a).flatten(0, -2), b.T, alpha=scaling)
        ctx.save_for_backward(x, a, b)
        ctx.base, ctx.scaling = base, scaling
        return h

    with mock.patch.object(_Beside, "forward", staticmethod(forward)):
        yield


@contextmanager
def masks_once() -> Iterator[None]:
    """Which tokens a row's tokens see, worked out once for all layers, as the numbers that the kernels add."""
    made: dict[tuple[int, int], Tensor | None] = {}
    seen = packing._seen

    def once(new: int, total: int, window: int | None, device: torch.device) -> Tensor | None:
        if (new, total) not in made:
            mask = seen(new, total, window, device)
            made[new, total] = None if mask is None else torch.zeros(mask.shape).masked_fill_(~mask, float("-inf"))
        return made[new, total]

    with mock.patch.object(packing, "_seen", once):
        yield


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "as it is": as_it_is,
    "sum in the product": sum_in_the_product,
    "masks once": masks_once,
    "compiled blocks": as_it_is,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    base, settings = models.load(given.folder, CPU), run_settings()
    rows = [encode(base.tokenizer, row, LENGTH) for row in data_set(SET, ROWS).train]
    batch = our_batches(rows, settings)[0]
    fitted = fit(base.model, settings)
    passes = {name: Passes(base, compiled=name == "compiled blocks") for name in ATTEMPTS}
    print(passes["compiled blocks"].told)
    seconds: dict[str, list[float]] = {name: [] for name in ATTEMPTS}
    results: dict[str, tuple[float, list[Tensor]]] = {}
    for _ in range(given.rounds + 1):
        for name, attempt in ATTEMPTS.items():
            with attempt():
                took, loss = _step(passes[name], batch)
            seconds[name].append(took)
            results[name] = loss, [p.grad.clone() for p in fitted.trained.values() if p.grad is not None]
            for parameter in fitted.trained.values():
                parameter.grad = None
    for name in ATTEMPTS:
        _say(name, seconds, results)


def _step(passes: Passes, batch: list[Example]) -> tuple[float, float]:
    began = time.perf_counter()
    loss = passes.learn(batch, sum(row.answer_tokens for row in batch))
    return time.perf_counter() - began, loss


def _say(name: str, seconds: dict[str, list[float]], results: dict[str, tuple[float, list[Tensor]]]) -> None:
    first, *mine = seconds[name]  # the first round warms up, and compiles
    ratio = statistics.median(a / b for a, b in zip(seconds["as it is"][1:], mine, strict=True))
    loss, gradients = results[name]
    wanted, others = results["as it is"]
    off = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, others, strict=True) if b.any())
    print(
        f"{name:20} {statistics.median(mine):6.2f} s a step, {ratio:.3f} x as fast; first step {first:.1f} s; "
        f"loss differs by {abs(loss - wanted):.0e}, gradients by {off:.0e} of their largest"
    )


if __name__ == "__main__":
    main()
