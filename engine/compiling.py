"""The blocks of a model as torch's own compiler makes them, and in words why they are not where they cannot be.

The first pass takes about a minute longer then; how much faster the others are depends on the device, and
`python -m benchmarks.attempts` measures it. Sums are rounded otherwise than without it. Knows nothing about passes,
losses or what is trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from engine import packing
from engine.anatomy import text_part

BACKEND = "inductor"
COMPILERS = ("c++", "g++", "clang++", "cl")


def hindrance(kind: str) -> str:
    """Why nothing can be compiled for this kind of device; empty where nothing hinders."""
    if kind == "cpu":
        found = any(map(shutil.which, COMPILERS))
        return "" if found else f"no C++ compiler was found ({', '.join(COMPILERS)})"
    if kind == "cuda":
        return "" if find_spec("triton") else "the package triton is not installed"
    return f"torch's compiler is not used on {kind}"


class CompiledBlocks:
    """The blocks of one model, compiled when they are first used."""

    def __init__(self, model: Any) -> None:
        self._blocks = {block: _compiled(block) for block in blocks(model)}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it is open, the model computes with them."""
        # Attention over packed rows has other sizes in every batch: compiled, each would be compiled anew.
        AttentionInterface.register(packing.NAME, torch.compiler.disable(packing.attend))  # type: ignore[no-untyped-call]
        for block, forward in self._blocks.items():
            block.forward = forward
        try:
            yield
        finally:
            for block in self._blocks:
                del block.forward  # what the class says shows again
            AttentionInterface.register(packing.NAME, packing.attend)


def blocks(model: Any) -> list[nn.Module]:
    """The blocks of the text part, in their order."""
    text = model.get_submodule(text_part(model))
    return list(next(module for module in text.modules() if isinstance(module, nn.ModuleList)))


def _compiled(block: nn.Module) -> Any:
    return torch.compile(block.forward, dynamic=True, backend=BACKEND)
