"""What was tried to come nearer to the machine's peak, each against the step as it is, in turns, on the same batch.

    python -m benchmarks.attempts FOLDER [--set short-system] [--rounds 4] [--threads 2] [--memory]

FOLDER holds the base model. Prints the median seconds of a step, the median ratio, and how far loss and gradients are
from those of the step as it is. With --memory, what the C library does with the memory of large temporaries is tried
in its place: each way in processes of its own, also in turns. Knows nothing about other programs: see `training.py`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
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
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from benchmarks import processes
from benchmarks.contestant import CPU, LENGTH, our_batches, run_settings
from benchmarks.data_sets import TITLES, data_set
from benchmarks.machine import high_water, reset_high_water
from benchmarks.table import Options
from engine import models, packing
from engine.data.render import Example, encode
from engine.methods import fit
from engine.methods.fitted import Fitted
from engine.methods.lora import LinearLike, _Beside
from engine.passes import Passes

ROWS = 16
KEPT = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=2147483647"
HUGE = "glibc.malloc.hugetlb=1"
MEMORY = {"as it is": "", "kept between steps": KEPT, "in huge pages": HUGE, "kept, in huge pages": f"{KEPT}:{HUGE}"}


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
def merged_weight(kept: bool = True) -> Iterator[None]:
    """W = W0 + s B A made once a layer, so that h and the gradient of x are one product each. Of nn.Linear alone.

    `kept` until the way back, it takes as much memory as the base; else it is made again there.
    """
    made: dict[LinearLike, Tensor] = {}

    def weight(base: LinearLike, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        if base in made:
            return made[base]
        whole = torch.addmm(base.weight, b, a, alpha=scaling)
        if kept:
            made[base] = whole
        return whole

    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: LinearLike, scaling: float) -> Tensor:
        ctx.save_for_backward(x, a, b)
        ctx.base, ctx.scaling = base, scaling
        return F.linear(x, weight(base, a, b, scaling), base.bias)

    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, a, b = ctx.saved_tensors
        rows, out = x.flatten(0, -2), dh.flatten(0, -2)
        da = (out @ b).mul_(ctx.scaling).T @ rows
        db = (out.T @ (rows @ a.T)).mul_(ctx.scaling)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (out @ weight(ctx.base, a, b, ctx.scaling)).view(x.shape)
        return dx, da, db, None, None

    with mock.patch.multiple(_Beside, forward=staticmethod(forward), backward=staticmethod(backward)):
        yield


@contextmanager
def products_by_onednn() -> Iterator[None]:
    """x W0^T and dy W0 by oneDNN, which torch brings beside MKL, through an operator of torch that is not public."""
    product = torch.ops.mkldnn._linear_pointwise

    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: LinearLike, scaling: float) -> Tensor:
        h: Tensor = product(x, base.weight, base.bias, "none", [], "")
        h += F.linear(F.linear(x, a), b).mul_(scaling)
        ctx.save_for_backward(x, a, b)
        ctx.base, ctx.scaling = base, scaling
        return h

    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, a, b = ctx.saved_tensors
        rows, out = x.flatten(0, -2), dh.flatten(0, -2)
        inner = (out @ b).mul_(ctx.scaling)
        db = (out.T @ (rows @ a.T)).mul_(ctx.scaling)
        dx = None
        if ctx.needs_input_grad[0]:
            whole: Tensor = product(out, ctx.base.weight.T, None, "none", [], "")
            dx = whole.addmm_(inner, a).view(x.shape)
        return dx, inner.T @ rows, db, None, None

    with mock.patch.multiple(_Beside, forward=staticmethod(forward), backward=staticmethod(backward)):
        yield


class _Norm(torch.autograd.Function):
    """y = w x / rms(x) with a frozen w: five passes over the numbers on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        mean: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        scaled = dy * weight
        along = (scaled * x).sum(-1, keepdim=True).mul_(inverse**3).div_(-x.shape[-1])
        return scaled.mul_(inverse).addcmul_(x, along), None, None


@contextmanager
def norms_written_out() -> Iterator[None]:
    """The norms of a Llama with their gradient written out, in fewer passes over the numbers."""

    def forward(norm: Any, x: Tensor) -> Tensor:
        return _Norm.apply(x, norm.weight, norm.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]

    with mock.patch.object(LlamaRMSNorm, "forward", forward):
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
    "merged weight": merged_weight,
    "merged, made again": functools.partial(merged_weight, kept=False),
    "products by oneDNN": products_by_onednn,
    "norms written out": norms_written_out,
    "masks once": masks_once,
    "compiled blocks": as_it_is,
}


class Steps:
    """Forward and backward of one batch of a set, again and again."""

    def __init__(self, folder: Path, name: str) -> None:
        self.base, settings = models.load(folder, CPU), run_settings()
        rows = [encode(self.base.tokenizer, row, LENGTH) for row in data_set(name, ROWS).train]
        self.batch: list[Example] = our_batches(rows, settings)[0]
        self.fitted: Fitted = fit(self.base.model, settings)
        _spread(self.fitted)

    def take(self, passes: Passes) -> tuple[float, float, list[Tensor]]:
        """Seconds, loss and gradients of a step."""
        began = time.perf_counter()
        loss = passes.learn(self.batch, sum(row.answer_tokens for row in self.batch))
        took = time.perf_counter() - began
        gradients = [p.grad for p in self.fitted.trained.values() if p.grad is not None]
        for parameter in self.fitted.trained.values():
            parameter.grad = None
        return took, loss, gradients


def _spread(fitted: Fitted) -> None:
    """Give B numbers, as after some steps: with the zeros of the start nothing would be seen of an error in B A."""
    draw = torch.Generator().manual_seed(0)
    for name, parameter in fitted.trained.items():
        if name.endswith("lora_B.weight"):
            parameter.data = torch.randn(parameter.shape, generator=draw) * 1e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", choices=list(TITLES), default="long-system")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=list(ATTEMPTS), help="an attempt; may be given again")
    parser.add_argument("--memory", action="store_true", help="try what the C library does with memory instead")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # one of the processes of --memory
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.alone:
        print(json.dumps(_alone(given)))
    elif given.memory:
        _try_memory(given)
    else:
        _try_steps(given)


def _try_steps(given: argparse.Namespace) -> None:
    steps, names = Steps(given.folder, given.set), ["as it is", *(given.only or list(ATTEMPTS)[1:])]
    passes = {name: Passes(steps.base, compiled=name == "compiled blocks") for name in names}
    print(passes[names[-1]].told)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    results: dict[str, tuple[float, list[Tensor]]] = {}
    for _ in range(given.rounds + 1):
        for name in names:
            with ATTEMPTS[name]():
                took, loss, gradients = steps.take(passes[name])
            seconds[name].append(took)
            results[name] = loss, gradients
    for name in names:
        _say(name, seconds, results)


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


# --- memory, each way in a process of its own -------------------------------------------------------------------------


def _try_memory(given: argparse.Namespace) -> None:
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in MEMORY}
    words = [str(given.folder), "--set", given.set, "--rounds", str(given.rounds), "--alone"]
    for _ in range(2):
        for name, tunables in MEMORY.items():
            with mock.patch.dict(os.environ, {"GLIBC_TUNABLES": tunables}):
                said = processes.run("benchmarks.attempts", words, Options(given.folder, threads=given.threads))
            told[name].append(json.loads(said))
    for name, figures in told.items():
        _say_memory(name, figures, told["as it is"])


def _say_memory(name: str, figures: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    seconds, first, faults, most = (
        statistics.median(one[key] for one in figures) for key in ("seconds", "first", "faults", "memory")
    )
    ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(others, figures, strict=True))
    print(
        f"{name:20} {seconds:6.2f} s a step, {ratio:.3f} x as fast; first step {first:.2f} s; {faults:,.0f} pages "
        f"taken anew a step; {most / 1e6:,.0f} MB above the weights at most"
    )


def _alone(given: argparse.Namespace) -> dict[str, float]:
    """Medians of the steps after the first; on Linux alone, where it means something."""
    import resource

    steps = Steps(given.folder, given.set)
    passes, before = Passes(steps.base), reset_high_water() or 0
    seconds, faults = [], []
    for _ in range(given.rounds + 1):
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        seconds.append(steps.take(passes)[0])
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - taken)
    return {
        "first": seconds[0],
        "seconds": statistics.median(seconds[1:]),
        "faults": statistics.median(faults[1:]),
        "memory": (high_water() or 0) - before,
    }


if __name__ == "__main__":
    main()
