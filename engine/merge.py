"""Merging an adapter into its base: W' = W + s B A (arXiv 2106.09685, section 4.1), for good or for a while.

    LoRA    W' = W + s B A
    DoRA    W' = m (W + s B A) / ||W + s B A||        (arXiv 2402.09353, equation 5)
    values trained in full take the places of the base's

A soft prompt and bottleneck adapters are no change of any weight and cannot be merged. Sums are taken in fp32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from engine.adapter_files import AdapterError, AdapterOnDisk, check_fits
from engine.data.known_templates import end_mark
from engine.methods.dora import row_norms
from engine.methods.inject import Surgery, places_of
from engine.methods.lora import LinearLike, LowRank, weight_of
from engine.methods.whole import replace_whole
from engine.models import LoadedBase
from engine.quantised import is_quantised


def cannot_merge(method: str) -> str:
    """Why an adapter of `method` cannot be merged, in a sentence; empty where it can."""
    if method in ("prompt", "bottleneck"):
        return "An adapter of this method stands beside the weights, so it cannot be merged. Download it as it is."
    return ""


def merged_weight(layer: LinearLike, update: LowRank) -> Tensor:
    """W' of one layer: O x I, fp32, on the layer's device."""
    weight = weight_of(layer)
    on_device = LowRank(
        update.a.to(weight.device),
        update.b.to(weight.device),
        update.scaling,
        None if update.magnitude is None else update.magnitude.to(weight.device),
    )
    total = weight + update.scaling * (on_device.b @ on_device.a)
    if on_device.magnitude is None:
        return total
    return (on_device.magnitude / row_norms(layer, on_device))[:, None] * total


@contextmanager
def merged(model: nn.Module, adapter: AdapterOnDisk) -> Iterator[None]:
    """While it is open, the weights of `model` are W'; afterwards they are the very ones that were there before.

    Raises:
        AdapterError: if the adapter is for another base, or of a kind that cannot be merged.
        ValueError: if a layer to change is quantised: its weight has no room for W' (see `save_merged`).
    """
    _check(model, adapter)
    surgery = Surgery(model)
    try:
        for path, update in adapter.low_rank.items():
            layer: LinearLike = model.get_submodule(path)  # type: ignore[assignment]
            if is_quantised(layer):
                raise ValueError(f"The layer {path} is quantised and cannot hold the merged weight.")
            weight = _as_kept(layer, merged_weight(layer, update)).to(layer.weight.dtype)
            # A head tied to the embedding is cut loose: the update is the head's alone.
            surgery.swap(f"{path}.weight", nn.Parameter(weight, requires_grad=False), everywhere=False)
        replace_whole(surgery, adapter.whole, adapter.tied)
        yield
    finally:
        surgery.undo()


def save_merged(base: LoadedBase, adapter: AdapterOnDisk, folder: Path) -> str:
    """Write the merged model with its tokenizer as a base model folder of its own; returns its dtype in words.

    A quantised base is dequantised, merged and written in bf16; another one keeps its dtype.

    Raises:
        AdapterError: if the adapter is for another base, or of a kind that cannot be merged.
    """
    _check(base.model, adapter)
    quantised = base.precision != "full"
    dtype = torch.bfloat16 if quantised else base.model.dtype
    whole = _plain_copy(base.model, adapter, dtype)
    whole.generation_config = _ending(base, adapter)
    whole.save_pretrained(folder)
    base.tokenizer_of(adapter).save_pretrained(folder)
    return str(dtype).removeprefix("torch.")


def _ending(base: LoadedBase, adapter: AdapterOnDisk) -> Any:
    """The base's settings for answering; an answer also ends where the template ends it that the adapter was taught."""
    config = copy.deepcopy(base.model.generation_config)
    taught = end_mark(base.tokenizer_of(adapter)) if adapter.template else None
    given = config.eos_token_id
    known = given if isinstance(given, list) else [] if given is None else [given]
    if taught is not None and taught not in known:
        config.eos_token_id = [*known, taught]
    return config


def _check(model: nn.Module, adapter: AdapterOnDisk) -> None:
    if why := cannot_merge(adapter.method):
        raise AdapterError(why)
    check_fits(adapter, model)


def _plain_copy(model: Any, adapter: AdapterOnDisk, dtype: torch.dtype) -> Any:
    """A model of the same architecture that holds W' in `dtype`, in ordinary layers."""
    held = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    values: dict[str, Tensor] = {name: tensor.detach() for name, tensor in held}
    turned = _turned(model, adapter, dtype)
    for name, value in adapter.whole.items():
        for place in places_of(model, model.get_parameter(name)) if adapter.tied else [name]:
            values[place] = value
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.tie_word_embeddings = _still_tied(model, values | turned, dtype)
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
    plain.generation_config = model.generation_config
    for name, weight in turned.items():
        values[name] = _as_kept(plain.get_submodule(name.removesuffix(".weight")), weight)
    return _filled(plain, values, dtype)


def _turned(model: Any, adapter: AdapterOnDisk, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights that are O x I here, whatever way the layer keeps its own. Only one at a time is held in fp32."""
    turned = {}
    for path, module in model.named_modules():
        if path in adapter.low_rank:
            turned[f"{path}.weight"] = merged_weight(module, adapter.low_rank[path]).to("cpu", dtype)
        elif is_quantised(module):
            turned[f"{path}.weight"] = weight_of(module).to("cpu", dtype)
    return turned


def _filled(plain: Any, values: dict[str, Tensor], dtype: torch.dtype) -> Any:
    state = {}
    for name in plain.state_dict():
        value = values[name]
        state[name] = value.to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
    plain.load_state_dict(state, assign=True)
    plain.tie_weights()
    return plain


def _as_kept(layer: nn.Module, weight: Tensor) -> Tensor:
    """An O x I weight the way `layer` keeps it."""
    return weight.T.contiguous() if isinstance(layer, Conv1D) else weight


def _still_tied(model: Any, values: dict[str, Tensor], dtype: torch.dtype) -> bool:
    """Whether head and embedding, tied in the base, still hold the same numbers in `dtype`."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return False
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    names = {id(module): path for path, module in model.named_modules()}
    if head is None or id(head) not in names:
        return True
    first, second = (values.get(f"{names[id(one)]}.weight") for one in (head, embedding))
    if first is None or second is None:
        return True
    return torch.equal(first.to("cpu", dtype), second.to("cpu", dtype))
