"""Bases kept in few bits: "QLoRA", Dettmers et al. 2023, arXiv 2305.14314, section 3. Made by bitsandbytes.

    NF4    4 bits a weight: blocks of 64 weights share a scale, the scales are quantised once more (section 3, eq. 5)
    int8   8 bits a weight: each row of W shares a scale (vector-wise: LLM.int8(), arXiv 2208.07339, section 2.1)

A layer computes h = x W^T + b with W rebuilt from its bits, in one dtype, in training and in answering alike. Nothing
is rounded but the weights, so that a token's answer depends neither on later tokens nor on other rows of the batch.

Only linear layers are quantised: embeddings, norms and experts kept in one 3-D tensor stay as they are. bitsandbytes
takes seconds to import and is imported only by what is called for a quantised base. Knows nothing about adapters, nor
which layers are to be quantised and what the hardware is good at.
"""

import contextlib
import copy
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

LEVELS = 127  # of int8 on either side of zero


class QuantisedLinear(nn.Linear):
    """A frozen linear layer with its weight W, O x I, in few bits. The bias stays a plain parameter.

    Args:
        layer: the layer as bitsandbytes made it; its tensors are taken over.
        compute_dtype: what x and the rebuilt W are multiplied in; h comes back in x's own dtype.
    """

    def __init__(self, layer: Any, compute_dtype: torch.dtype) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.compute_dtype = compute_dtype
        self.source_cls = layer.source_cls  # nn.Linear, or GPT-2's Conv1D, whose weight was turned round

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., O)."""
        h = self.product(x.to(self.compute_dtype)).to(x.dtype)
        return h if self.bias is None else h + self.bias.to(h.dtype)

    def product(self, x: Tensor) -> Tensor:
        """x W^T, without the bias."""
        raise NotImplementedError

    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""
        raise NotImplementedError


class NF4Linear(QuantisedLinear):
    """W in NF4. Not bitsandbytes' own layer: where a CPU has bf16 instructions, that one repacks its weight with
    coarser scales the first time it answers, and from then on passes no gradient back."""

    weight: Any

    def __init__(self, layer: Any, compute_dtype: torch.dtype) -> None:
        super().__init__(layer, compute_dtype)
        self.weight.module = None  # it knows the layer it came with, which is let go

    def product(self, x: Tensor) -> Tensor:
        """x W^T; the backward pass rebuilds W once more instead of keeping it."""
        from bitsandbytes.autograd._functions import matmul_4bit

        product: Tensor = matmul_4bit(x, self.weight, self.weight.quant_state)
        return product

    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""
        from bitsandbytes.functional import dequantize_4bit

        state = copy.copy(self.weight.quant_state)
        state.dtype = dtype  # else W comes back rounded to the dtype it was quantised from
        rebuilt: Tensor = dequantize_4bit(self.weight.data, state)
        return rebuilt


class Int8Linear(QuantisedLinear):
    """W in int8, and x not: bitsandbytes' own layer rounds x too when it answers, but on a CPU not when it trains."""

    def __init__(self, layer: Any, compute_dtype: torch.dtype) -> None:
        super().__init__(layer, compute_dtype)
        scale = layer.weight.SCB * (1 / LEVELS)  # multiplied, as bitsandbytes does: the same to the bit
        self.weight = nn.Parameter(layer.weight.data, requires_grad=False)  # int8, O x I
        self.register_buffer("scale", scale)  # fp32, O
        self.scale: Tensor

    def product(self, x: Tensor) -> Tensor:
        """x W^T; the backward pass rebuilds W once more instead of keeping it."""
        product: Tensor = _Int8Product.apply(x, self)  # type: ignore[no-untyped-call]
        return product

    def rebuilt(self, dtype: torch.dtype) -> Tensor:
        """W from its bits, O x I."""
        return self.weight.to(dtype).mul_(self.scale[:, None])  # multiplied in fp32, rounded once


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


def is_conv1d(layer: nn.Module) -> bool:
    """Whether the full base keeps this layer's weight as I x O, as GPT-2 does. Quantised, it is O x I like any."""
    kind = layer.source_cls if isinstance(layer, QuantisedLinear) else type(layer)
    return issubclass(kind, Conv1D)


def dequantised(layer: nn.Module) -> Tensor:
    """The weight a linear layer computes with, as O x I in fp32; of nn.Linear and Conv1D a copy of what they hold."""
    if isinstance(layer, QuantisedLinear):
        return layer.rebuilt(torch.float32)
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    return (weight.T if isinstance(layer, Conv1D) else weight).to(torch.float32, copy=True).contiguous()


def load(
    path: Path, precision: str, kept: list[str], *, device: str, dtype: torch.dtype, compute_dtype: torch.dtype
) -> nn.Module:
    """Load the model in `path` with its linear layers quantised, each as soon as it is read.

    Args:
        precision: "nf4" or "int8".
        kept: paths of the linear layers that stay as they are.
        device: cuda or cpu.
        dtype: of all that is not quantised, and of what flows between the layers.
        compute_dtype: of the products of the quantised layers.

    Raises:
        ImportError: if bitsandbytes is not there.
        OSError, ValueError, KeyError, RuntimeError, SafetensorError: if the files cannot be read.
    """
    import_bitsandbytes()
    model: nn.Module = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=dtype,
        quantization_config=_config(precision, compute_dtype, kept),
        device_map={"": device},
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    _take_over(model, NF4Linear if precision == "nf4" else Int8Linear, compute_dtype)
    if device == "cpu":
        _let_go_of_the_file(model)
    return model


def import_bitsandbytes() -> None:
    """Import it with its own kernels only.

    On CPUs with bf16 instructions it would fetch and run native code from a model hub while it is imported, and say so
    in the log where it cannot. Nothing here is fetched or run without being asked for.
    """
    with _without("kernels"), _silent(logging.getLogger("bitsandbytes.backends.cpu.ops")):
        import bitsandbytes  # noqa: F401


def _config(precision: str, compute_dtype: torch.dtype, kept: list[str]) -> Any:
    exactly = [re.escape(path) + "$" for path in kept]  # they are read as patterns, and as endings of paths
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0, llm_int8_skip_modules=exactly)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
        llm_int8_skip_modules=exactly,
    )


def _take_over(model: nn.Module, kind: type[QuantisedLinear], compute_dtype: torch.dtype) -> None:
    for path, layer in list(model.named_modules()):
        if type(layer).__module__.startswith("bitsandbytes."):
            model.set_submodule(path, kind(layer, compute_dtype))


def _let_go_of_the_file(model: nn.Module) -> None:
    """Copy what was not quantised: it is a view of the mapped file, which would stay in memory as a whole with it."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.clone()


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
