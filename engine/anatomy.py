"""What a model is made of: every module that holds parameters, in the order of the model, as plain JSON.

Shapes only, so a model on torch's meta device will do. The blocks are looked for in the part that reads and writes
text: what a model has beside it, such as the tower that looks at pictures, is listed and stands in no block. Knows no
architecture by name, and nothing about adapters: what a method trains of all this is for `sizing.py` and `methods/`.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def text_part(model: nn.Module) -> str:
    """The path of the text model within one that has other parts, too; empty where all of it is text."""
    config: Any = getattr(model, "config", None)
    if config is None or config.get_text_config() is config:
        return ""
    decoder = model.get_decoder()  # type: ignore[operator]
    return next((path for path, module in model.named_modules() if module is decoder), "")


def text_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of the text model and its head by path, in the order of the model; a tied one once."""
    part = text_part(model)
    if not part:
        return dict(model.named_parameters())
    head = model.get_output_embeddings()  # type: ignore[operator]
    owners = [f"{path}." for path, module in model.named_modules() if path == part or module is head]
    return {path: p for path, p in model.named_parameters() if path.startswith(tuple(owners))}


def block_number(path: str, within: str = "") -> int | None:
    """The number of the block that `path` lies in; None outside of blocks or of the part `within`.

    A block is a member of a numbered list: `model.layers.0`, `transformer.h.0`.
    """
    if within and not path.startswith(f"{within}."):
        return None
    inside = path.removeprefix(within)
    return next((int(part) for part in inside.split(".") if part.isdigit()), None)


def modules(model: nn.Module) -> list[dict[str, Any]]:
    """Every module that owns parameters directly, in the order of the model.

    Returns:
        for each {"path", "kind", "block", "weight": shape or None, "bias": numbers, "others": {name: shape}}; besides,
        "tied": the path of the module before it whose weight it shares, and "aside": True where it reads no text.
    """
    part, owner = text_part(model), dict[int, str]()
    reads = {id(parameter) for parameter in text_parameters(model).values()}
    found = []
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if own:
            record = _record(module, own) | {"path": path, "block": block_number(path, part)}
            if "weight" in own and (first := owner.setdefault(id(own["weight"]), path)) != path:
                record["tied"] = first
            if not any(id(parameter) in reads for parameter in own.values()):
                record["aside"] = True
            found.append(record)
    return found


def facts(model: nn.Module) -> dict[str, Any]:
    """What `engine.sizing` wants to know of a base model, as plain JSON.

    "blocks" is their number, "embedding_width" the numbers a token has in the embedding, "tied" whether the head shares
    the embedding, "frozen_experts" the numbers in experts that are no layers of their own and so get no adapter.
    """
    listed = modules(model)
    numbers = {module["block"] for module in listed if module["block"] is not None}
    return {
        "modules": listed,
        "blocks": len(numbers),
        "embedding_width": _embedding_width(model),
        "tied": any("tied" in module for module in listed),
        "frozen_experts": sum(p.numel() for module in _experts(model) for p in module.parameters(recurse=False)),
    }


def _record(module: nn.Module, own: dict[str, nn.Parameter]) -> dict[str, Any]:
    weight, bias = own.get("weight"), own.get("bias")
    record: dict[str, Any] = {
        "kind": kind(module),
        "weight": _shape(weight) if weight is not None else None,
        "bias": bias.numel() if bias is not None else 0,
    }
    others = {name: _shape(p) for name, p in own.items() if name not in ("weight", "bias")}
    return record | ({"others": others} if others else {})


def kind(module: nn.Module) -> str:
    """linear, conv1d, embedding, norm or other. A norm is known by its class: all of them say so in their name."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "norm" if "norm" in type(module).__name__.lower() else "other"


def _experts(model: nn.Module) -> Iterator[nn.Module]:
    """Modules of the blocks that keep the weights of many experts in one tensor, and say so in their names."""
    part = text_part(model)
    for path, module in model.named_modules():
        called = f"{path} {type(module).__name__}".lower()
        if "expert" in called and kind(module) == "other" and block_number(path, part) is not None:
            yield module


def _embedding_width(model: nn.Module) -> int:
    width: int = model.get_input_embeddings().weight.shape[-1]  # type: ignore[operator]
    return width


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
