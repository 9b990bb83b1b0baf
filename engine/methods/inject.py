"""Finding the layers of a model that get an adapter, wrapping them, and taking the adapter's tensors out again.

Small free functions over any transformers model. Names are PEFT's, so that a saved adapter opens elsewhere.
Knows nothing about files, training or data.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine.methods.lora import LinearLike, LoRALinear, RowwiseLoRA, features
from engine.settings import RunSettings

PREFIX = "base_model.model."  # what PEFT puts before the path of every layer


def linear_layers(model: nn.Module) -> dict[str, LinearLike]:
    """Every linear layer of the blocks by its path, in the order of the model.

    A block is a member of a numbered list (`model.layers.0`, `transformer.h.0`); what stands outside of one, such as
    the output head and projections of embeddings, is not a target.
    """
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and any(part.isdigit() for part in path.split("."))
    }


def targets(model: nn.Module, target_modules: list[str] | None) -> dict[str, LinearLike]:
    """The layers `target_modules` names, by last name or whole path; all linear layers of the blocks for None.

    Raises:
        ValueError: if a name fits no layer; the sentence lists the names that would.
    """
    layers = linear_layers(model)
    if not target_modules:
        return layers
    names = {path.rpartition(".")[2] for path in layers}
    unknown = [name for name in target_modules if name not in names and name not in layers]
    if unknown:
        raise ValueError(
            f"This base model has no layers called {', '.join(unknown)}. It has: {', '.join(sorted(names))}."
        )
    wanted = set(target_modules)
    return {p: layer for p, layer in layers.items() if p in wanted or p.rpartition(".")[2] in wanted}


def inject(model: nn.Module, settings: RunSettings) -> list[str]:
    """Freeze `model`, wrap its target layers with LoRA, and return their paths.

    Raises:
        ValueError: from `targets`.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(settings.seed)
    chosen = targets(model, settings.target_modules)
    for path, layer in chosen.items():
        wrapped = LoRALinear(layer, settings.rank, settings.alpha, settings.dropout, generator)
        _replace(model, path, wrapped)
    return list(chosen)


def remove(model: nn.Module) -> None:
    """Put every wrapped layer back as it was. Safe to call twice."""
    for path, layer in list(model.named_modules()):
        if isinstance(layer, LoRALinear | RowwiseLoRA):
            _replace(model, path, layer.base)


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """A and B of every wrapped layer: what the optimizer trains."""
    return [p for _, layer in _wrapped(model) for p in (layer.lora_A, layer.lora_B)]


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the adapter on the CPU, under PEFT's names."""
    tensors = {}
    for path, layer in _wrapped(model):
        for name in ("lora_A", "lora_B"):
            tensors[f"{PREFIX}{path}.{name}.weight"] = getattr(layer, name).detach().to("cpu", copy=True).contiguous()
    return tensors


def load_adapter_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` (PEFT's names) into the wrapped layers.

    Raises:
        KeyError: if a layer's tensor is missing.
        RuntimeError: if a shape differs.
    """
    with torch.no_grad():
        for path, layer in _wrapped(model):
            layer.lora_A.copy_(tensors[f"{PREFIX}{path}.lora_A.weight"])
            layer.lora_B.copy_(tensors[f"{PREFIX}{path}.lora_B.weight"])


def inject_rows(model: nn.Module, contestants: list[Mapping[str, tuple[Tensor, Tensor]]]) -> None:
    """Wrap `model` so that row n of every batch is answered by contestant n.

    Args:
        contestants: for each row the adapter as {path: (A, (alpha / r) B)}; empty for the base model.
    """
    layers = linear_layers(model)
    for path in {path for contestant in contestants for path in contestant}:
        layer = layers[path]
        inside, outside = features(layer)
        rank = max(c[path][0].shape[0] for c in contestants if path in c)
        downs = torch.zeros(len(contestants), rank, inside, device=layer.weight.device)
        ups = torch.zeros(len(contestants), outside, rank, device=layer.weight.device)
        for row, contestant in enumerate(contestants):
            if path in contestant:
                a, b = contestant[path]
                downs[row, : a.shape[0]] = a
                ups[row, :, : b.shape[1]] = b
        _replace(model, path, RowwiseLoRA(layer, downs, ups))


def _wrapped(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    return ((path, layer) for path, layer in model.named_modules() if isinstance(layer, LoRALinear))


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)
