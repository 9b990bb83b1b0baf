"""The machine a measurement was taken on: its name for the table, its memory and its peak in matrix products.

Knows nothing about models or what is measured.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil
import torch
from torch import Tensor
from torch.nn import functional as F

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "gradio", "SQLAlchemy")
PROBE_SECONDS = 0.12


def described(threads: int) -> str:
    """One sentence: processor, memory, system, threads and versions."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    return (
        f"{_processor()}, {os.cpu_count()} cores ({torch.backends.cpu.get_cpu_capability()}), {memory:.0f} GiB of "
        f"memory, {platform.system()}; {threads} threads; Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text("utf-8").splitlines() if facts.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def reset_high_water() -> int | None:
    """Forget the process's high-water mark of memory and return what it holds now, in bytes. None off Linux."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return None
    clear.write_text("5")
    return _status("VmRSS")


def high_water() -> int | None:
    """The most bytes the process held since `reset_high_water`. None off Linux."""
    return _status("VmHWM")


def own_bytes() -> int | None:
    """Bytes that only this process holds; pages of mapped files, which the system may drop, are not counted.

    What is free but kept by the allocator, which varies from run to run, is given back first. None off Linux.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    return _status("RssAnon")


def _status(what: str) -> int | None:
    file = Path("/proc/self/status")
    lines = file.read_text("ascii").splitlines() if file.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{what}:")]
    return int(found[0]) * 1024 if found else None


class Peak:
    """How fast this machine multiplies fp32 matrices of given shapes, asked again and again between other work."""

    def __init__(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """`shapes`: (rows, I, O) of each product."""
        self._pairs = [(torch.randn(n, i), torch.randn(o, i)) for n, i, o in shapes]
        self._rates: list[list[float]] = [[] for _ in shapes]

    def probe(self) -> None:
        """Multiply for a fraction of a second and note the rates."""
        for (x, weight), rates in zip(self._pairs, self._rates, strict=True):
            rates.append(_rate(x, weight))

    @property
    def flops(self) -> float:
        """Operations a second: of the best shape, the median of its probes."""
        return max(statistics.median(rates) for rates in self._rates)


@torch.no_grad()
def _rate(x: Tensor, weight: Tensor) -> float:
    F.linear(x, weight)
    times, began = 0, time.perf_counter()
    while time.perf_counter() - began < PROBE_SECONDS:
        F.linear(x, weight)
        times += 1
    return times * 2 * x.shape[0] * weight.numel() / (time.perf_counter() - began)
