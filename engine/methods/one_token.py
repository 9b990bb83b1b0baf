"""Linear layers for one token a row: the products of answering, when all that is left to do is reading the weights.

    h^T = W x^T, for two rows of x at a time

A product of W with one or a few vectors takes as long as it takes to read W. In the order in which torch asks MKL for
it (x W^T) one vector keeps one core busy, and two to eight take two to seven times as long as one. Asked for as W x^T
with two columns, all cores read, at the speed of the memory; figures are in docs/decisions.md. It is always two
columns, a lone row stands in both: so a row gets the same bits whoever else is in the batch.

Nothing changes but the order in which products are summed up. Knows nothing about adapters or prompts.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.methods.inject import Surgery

MOST_ROWS = 8  # with more, the general product is faster


def quicken(surgery: Surgery) -> None:
    """Let all plain linear layers of a model compute in this way, where it pays: in fp32, on a CPU, by MKL."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return
    for layer in surgery.model.modules():
        if type(layer) is nn.Linear and _pays(layer.weight) and "forward" not in vars(layer):
            vars(layer)["forward"] = partial(linear, layer)
            surgery.then(_forgetting(layer))


def _pays(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()


def _forgetting(layer: nn.Linear) -> Callable[[], None]:
    return lambda: delattr(layer, "forward")


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """x: (N, 1, I) or (N, I), with at most MOST_ROWS rows, in pairs; all else as the layer does. To the same with O."""
    rows = x.numel() // layer.in_features
    if not 0 < rows <= MOST_ROWS or (x.dim() == 3 and x.shape[1] > 1) or x.dtype != torch.float32:
        return F.linear(x, layer.weight, layer.bias)
    even = x.reshape(rows, -1)
    if rows % 2:
        even = torch.cat((even, even[-1:]))
    products = [torch.mm(layer.weight, even[row : row + 2].t()).t() for row in range(0, rows, 2)]
    h = (torch.cat(products) if rows > 2 else products[0].contiguous())[:rows]
    h = h if layer.bias is None else h.add_(layer.bias)
    return h.view(*x.shape[:-1], -1)
