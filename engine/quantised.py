"""Bases kept in few bits: "QLoRA", Dettmers et al. 2023, arXiv 2305.14314, section 3. Quantised by bitsandbytes.

    NF4    4 bits a weight: blocks of 64 weights share a scale, the scales are quantised once more (section 3, eq. 5)
    int8   8 bits a weight: each row of W shares a scale (vector-wise: LLM.int8(), arXiv 2208.07339, section 2.1)

A layer computes h = x W^T + b with W rebuilt from its bits, in one dtype, in training and in answering alike. Nothing
is rounded but the weights, so that a token's answer depends neither on later tokens nor on other rows of the batch.

Its layers take the places of those of bitsandbytes, of which only the kernels are used. Where a CPU has bf16
instructions, its NF4 layer repacks itself with coarser scales the first time it answers, and from then on passes no
gradient back; its int8 layer rounds x as well, but on a CPU not while it trains.

bitsandbytes takes seconds to import and is imported only by what is called for a quantised base. Knows nothing about
adapters, nor which layers are to be quantised and what the hardware is good at.
"""

import contextlib
import copy
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

BLOCK = 64  # weights that share a scale in NF4
LEVELS = 127  # of int8 on either side of zero


class QuantisedLinear(nn.Linear, ABC):
    """A frozen linear layer with its weight W, O x I, in few bits. The bias stays a plain parameter.

    Args:
        layer: nn.Linear or Conv1D; its weight is read, its bias taken over.
        device: where W is kept.
        compute_dtype: what x and the rebuilt W are multiplied in; h comes back in x's own dtype.
    """

    def __init__(self, layer: nn.Module, device: str, compute_dtype: torch.dtype) -> None:
        outside, inside = _out_by_in(layer).shape
        super().__init__(inside, outside, bias=False, device="meta")
        self.bias: nn.Parameter | None = layer.bias  # type: ignore[assignment]
        self.compute_dtype = compute_dtype
        self.stood_as_conv1d = isinstance(layer, Conv1D)
        self.weight = nn.Parameter(self.quantise(_out_by_in(layer).to(device).contiguous()), requires_grad=False)

    @abstractmethod
    def quantise(self, weight: Tensor) -> Tensor:
        """The bits of W; what else is needed to rebuild it is noted beside them."""

    @abstractmethod
    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor:
        """x W^T; the backward pass rebuilds W once more instead of keeping it."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., O)."""
        h = self.product(x.to(self.compute_dtype)).to(x.dtype)
        return h if self.bias is None else h + self.bias.to(h.dtype)


class NF4Linear(QuantisedLinear):
    """W in NF4 with double quantisation: two weights a byte, packed as bitsandbytes packs them."""

    def quantise(self, weight: Tensor) -> Tensor:
        """The bits of W, and in `state` their scales and their mean."""
        from bitsandbytes.functional import quantize_4bit

        bits: Tensor
        bits, self.state = quantize_4bit(weight, blocksize=BLOCK, compress_statistics=True, quant_type="nf4")
        return bits

    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""
        from bitsandbytes.functional import dequantize_4bit

        state = copy.copy(self.state)
        state.dtype = dtype  # else W comes back rounded to the dtype it was quantised from
        rebuilt: Tensor = dequantize_4bit(self.weight.data, state)
        return rebuilt

    def product(self, x: Tensor) -> Tensor:
        """x W^T; the backward pass rebuilds W once more instead of keeping it."""
        from bitsandbytes.autograd._functions import matmul_4bit

        product: Tensor = matmul_4bit(x, self.weight, self.state)
        return product


class Int8Linear(QuantisedLinear):
    """W in int8, one scale a row."""

    def quantise(self, weight: Tensor) -> Tensor:
        """The bits of W, and in `scale`, (O,), the size of a step of each row."""
        from bitsandbytes.functional import int8_vectorwise_quant

        bits: Tensor
        bits, largest, _ = int8_vectorwise_quant(weight.half())
        self.scale: Tensor = largest * (1 / LEVELS)  # multiplied, as bitsandbytes does: the same to the bit
        return bits

    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""
        return self.weight.to(dtype).mul_(self.scale[:, None])  # multiplied in fp32, rounded once

    def product(self, x: Tensor) -> Tensor:
        """x W^T; the backward pass rebuilds W once more instead of keeping it."""
        product: Tensor = _Int8Product.apply(x, self)  # type: ignore[no-untyped-call]
        return product


class _Int8Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Int8Linear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.rebuilt(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.layer.rebuilt(gradient.dtype), None


def is_quantised(layer: nn.Module) -> bool:
    """Whether the layer keeps its weight in few bits."""
    return isinstance(layer, QuantisedLinear)


KINDS: dict[str, type[QuantisedLinear]] = {"nf4": NF4Linear, "int8": Int8Linear}


def quantise(
    model: nn.Module, layers: Mapping[str, nn.Module], precision: str, device: str, compute_dtype: torch.dtype
) -> None:
    """Put layers in few bits in the places of `layers`, one by one; each full weight can go before the next is read.

    Args:
        layers: by their path. One that is more than a linear map stays as it is.
        precision: "nf4" or "int8". For NF4 the inputs of every layer have to be a multiple of 64.
        device: where the bits are kept, cuda or cpu; the rest of the model is the caller's.
        compute_dtype: what the layers multiply in.
    """
    for path, layer in layers.items():
        if _is_linear_map(layer):
            model.set_submodule(path, KINDS[precision](layer, device, compute_dtype))


def stored_dtype(folder: Path) -> torch.dtype:
    """What the weights in `folder` are stored in. Read as that, they are mapped and take no memory of their own."""
    with safe_open(min(folder.glob("*.safetensors")), framework="pt") as opened:
        name = opened.get_slice(next(iter(opened.keys()))).get_dtype()
    return {"BF16": torch.bfloat16, "F16": torch.float16}.get(name, torch.float32)


def settle_rest(model: nn.Module, stored: torch.dtype, device: str, dtype: torch.dtype) -> None:
    """Bring to its device and dtype what was not quantised. Copied in any case: a view would keep the whole file."""
    for parameter in model.parameters():
        wanted = dtype if parameter.dtype == stored else parameter.dtype  # bits, and what is always kept in fp32
        parameter.data = parameter.data.to(device, wanted, copy=parameter.is_floating_point())
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def is_conv1d(layer: nn.Module) -> bool:
    """Whether the full base keeps this layer's weight as I x O, as GPT-2 does. Quantised, it is O x I like any."""
    return layer.stood_as_conv1d if isinstance(layer, QuantisedLinear) else isinstance(layer, Conv1D)


def dequantised(layer: nn.Module) -> Tensor:
    """The weight a linear layer computes with, as O x I in fp32; of nn.Linear and Conv1D a copy of what they hold."""
    if isinstance(layer, QuantisedLinear):
        return layer.rebuilt(torch.float32)
    return _out_by_in(layer).to(torch.float32, copy=True).contiguous()


def import_bitsandbytes() -> None:
    """Import it with its own kernels only.

    On CPUs with bf16 instructions it would fetch and run native code from a model hub while it is imported, and say so
    in the log where it cannot. Nothing here is fetched or run without being asked for.

    Raises:
        ImportError: if it is not installed.
    """
    with _without("kernels"), _silent(logging.getLogger("bitsandbytes.backends.cpu.ops")):
        import bitsandbytes  # noqa: F401


def _out_by_in(layer: nn.Module) -> Tensor:
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    return weight.T if isinstance(layer, Conv1D) else weight


@torch.no_grad()
def _is_linear_map(layer: nn.Module) -> bool:
    """Whether the layer computes x W^T + b and no more: seen from what it does, where it is a class of its own."""
    if type(layer) in (nn.Linear, Conv1D):
        return True
    weight = _out_by_in(layer)
    x = torch.randn(1, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight.dtype)
    expected = F.linear(x, weight, layer.bias)  # type: ignore[arg-type]
    found = layer(x)
    return isinstance(found, Tensor) and torch.allclose(found, expected, rtol=1e-2, atol=1e-2)


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Let `import module` fail inside, whether it is installed or not."""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if before is not None:
            sys.modules[module] = before


@contextlib.contextmanager
def _silent(log: logging.Logger) -> Iterator[None]:
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
