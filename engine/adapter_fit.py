"""Whether an adapter is for a model, and with which settings a run could make one of its shape.

A model on torch's meta device will do: only names and shapes count. Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine.adapter import AdapterError, AdapterOnDisk
from engine.anatomy import block_number, text_parameters
from engine.methods.additive import embedding_of, sublayer_outputs
from engine.methods.inject import linear_layers
from engine.methods.lora import LowRank, features
from engine.methods.selective import CHOICES
from engine.paths import last_name
from engine.peft_files import by_name
from engine.peft_rules import ConfigError, LoraConfig, short
from engine.settings import RunSettings

PARTS = ("down", "down_bias", "up", "up_bias")


def check_fits(adapter: AdapterOnDisk, model: nn.Module) -> None:
    """Check that `adapter` is for `model`, which has nothing on it: names, shapes, nothing missing, nothing left over.

    Raises:
        AdapterError: naming the first thing that does not fit.
    """
    modules = dict(model.named_modules())
    for path, update in adapter.low_rank.items():
        _check_layer(path, update, modules.get(path))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for path, value in adapter.whole.items():
        _check_shape(path, value.shape, getattr(parameters.get(path), "shape", None))
    if adapter.bottlenecks:
        _check_bottlenecks(adapter, model)
    if adapter.prompt is not None:
        _check_shape("prompt", adapter.prompt.shape[1:], embedding_of(model).weight.shape[1:])
    _check_layers(adapter, model, modules)
    _check_whole(adapter, model, parameters)


def _check_layer(path: str, update: LowRank, layer: nn.Module | None) -> None:
    if not isinstance(layer, nn.Linear | Conv1D):
        raise AdapterError(f"This adapter is for another base model: here is no layer {_called(path)}.")
    inside, outside = features(layer)
    expected = update.b.shape[0], update.a.shape[1]
    if expected != (outside, inside) or (update.magnitude is not None and update.magnitude.shape != (outside,)):
        raise AdapterError(
            f"This adapter is for another base model: layer {path} is {outside} x {inside} here, "
            f"the adapter expects {expected[0]} x {expected[1]}."
        )


def _check_shape(path: str, given: Any, here: Any) -> None:
    if here is None or tuple(given) != tuple(here):
        found = f"has the shape {tuple(here)}" if here is not None else "does not exist"
        raise AdapterError(
            f"This adapter is for another base model: {_called(path)} {found} here, the adapter expects {tuple(given)}."
        )


def _check_bottlenecks(adapter: AdapterOnDisk, model: nn.Module) -> None:
    places, given = sublayer_outputs(model), adapter.bottlenecks
    _check_names(given, {f"{path}.{part}" for path in places for part in PARTS}, "the base model's blocks")
    for path, layer in places.items():
        width, small = features(layer)[1], _width(f"{path}.down", given[f"{path}.down"])
        for part, shape in zip(PARTS, ((small, width), (small,), (width, small), (width,)), strict=True):
            _check_shape(f"{path}.{part}", given[f"{path}.{part}"].shape, shape)


def _width(name: str, down: Tensor) -> int:
    if down.ndim != 2 or not down.numel():
        raise AdapterError(f"This adapter is damaged: {name} has the shape {tuple(down.shape)}, which is no matrix.")
    return down.shape[0]


def _check_layers(adapter: AdapterOnDisk, model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """PEFT says which layers have an adapter; one that should and has none was lost on the way."""
    if adapter.config is None:
        return
    linear = [path for path, module in modules.items() if isinstance(module, nn.Linear | Conv1D)]
    head = model.get_output_embeddings()  # type: ignore[operator]
    output = next((path for path, module in modules.items() if module is head), "")
    try:
        expected = adapter.config.selects(linear, output)
    except ConfigError as error:
        raise AdapterError(f"This adapter {error}.") from None
    if expected is not None:
        _check_names(adapter.low_rank, expected, "its config")


def _check_whole(adapter: AdapterOnDisk, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    if adapter.config is not None:
        needed, allowed = _beside(adapter, adapter.config, model, parameters)
    elif adapter.method in CHOICES:
        needed = allowed = set(
            CHOICES[adapter.method](model, RunSettings.model_validate(shape_settings(adapter, model)))
        )
    else:
        return
    given = set(adapter.whole)
    if adapter.tied:  # one parameter may go by any of its names
        given, needed, allowed = (_once(paths, parameters) for paths in (given, needed, allowed))
    _check_names(given, needed & allowed, "its config", allowed)


def _beside(
    adapter: AdapterOnDisk, config: LoraConfig, model: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> tuple[set[str], set[str]]:
    """The parameters of the base that an adapter with this config must hold, and those it may hold."""
    needed = {path for path in parameters if config.saves(path)}
    allowed = set(needed)
    if config.bias == "all":
        needed |= {path for path in text_parameters(model) if path.endswith(".bias")}
        allowed |= needed | {path for path in parameters if "bias" in last_name(path)}
    if config.bias == "lora_only":
        needed |= {f"{path}.bias" for path in adapter.low_rank if f"{path}.bias" in parameters}
        allowed |= needed
    # PEFT can be told to save embedding and head as they are, without a word in the config.
    head = model.get_output_embeddings()  # type: ignore[operator]
    ends = [module.weight for module in (embedding_of(model), head) if module is not None]
    allowed |= {path for path, parameter in parameters.items() if any(parameter is end for end in ends)}
    return needed, allowed


def _once(paths: Iterable[str], parameters: Mapping[str, nn.Parameter]) -> set[str]:
    """The same parameters, each by the first of its names."""
    first: dict[int, str] = {}
    for path, parameter in parameters.items():
        first.setdefault(id(parameter), path)
    return {first[id(parameters[path])] for path in paths}


def _check_names(given: Collection[str], needed: Collection[str], by: str, allowed: Collection[str] = ()) -> None:
    missing = sorted(set(needed) - set(given), key=lambda path: (block_number(path) or 0, path))
    if missing:
        raise AdapterError(
            f"This adapter is not whole, or for another base model: {by} names {_listed(missing)}, "
            "for which it holds nothing."
        )
    over = sorted(set(given) - set(needed) - set(allowed))
    if over:
        raise AdapterError(
            f"This adapter holds {_listed(over)} beyond what {by} names. Its files do not belong together."
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{_called(names[0])}{more}"


def _called(path: str) -> str:
    """A name from outside as it may stand in a sentence."""
    return path if len(path) < 200 and path.isprintable() else short(path)


# --- the settings of its shape --------------------------------------------------------------------------------------


def shape_settings(adapter: AdapterOnDisk, model: nn.Module) -> dict[str, Any]:
    """The settings with which a run on `model` makes an adapter of this shape, so that it can go on from this one.

    `engine.settings.parse` takes them, unless a rank or an alpha lies beyond what a run may have; then it says so.
    """
    if adapter.config is not None:
        return _low_rank_settings(adapter, adapter.config, model)
    if adapter.prompt is not None:
        return {"method": "prompt", "prompt_tokens": adapter.prompt.shape[0]}
    if adapter.bottlenecks:
        down = next(value for name, value in adapter.bottlenecks.items() if name.endswith(".down"))
        return {"method": "bottleneck", "bottleneck": down.shape[0]}
    if adapter.method == "blocks":
        return {"method": "blocks", "blocks": len({block_number(path) for path in adapter.whole})}
    return {"method": adapter.method}


def _low_rank_settings(adapter: AdapterOnDisk, config: LoraConfig, model: nn.Module) -> dict[str, Any]:
    paths = list(adapter.low_rank)
    names, blocks = _chosen(paths, linear_layers(model))
    whole = {path.rpartition(".")[0] for path in adapter.whole if config.saves(path)}
    return {
        "method": adapter.method,
        "rank": config.rank,
        "alpha": config.alpha,
        "target_modules": names,
        "layers": blocks,
        "rank_stabilised": config.rank_stabilised,
        "rank_pattern": by_name({path: config.rank_of(path) for path in paths}, config.rank) or None,
        "alpha_pattern": by_name({path: config.alpha_of(path) for path in paths}, config.alpha) or None,
        "train_in_full": _shortest(whole, dict(model.named_modules())) or None,
        "bias": config.bias,
    }


def _chosen(paths: list[str], layers: Collection[str]) -> tuple[list[str] | None, list[int] | None]:
    """Target modules and blocks that select exactly `paths`: names if they can, whole paths if not, None for all."""
    wanted = set(paths)
    if wanted == set(layers):
        return None, None
    names = {last_name(path) for path in paths}
    by_names = {path for path in layers if last_name(path) in names}
    if by_names == wanted:
        return sorted(names), None
    blocks = {number for path in paths if (number := block_number(path)) is not None}
    if {path for path in by_names if block_number(path) in blocks} == wanted:
        return sorted(names), sorted(blocks)
    return sorted(paths), None


def _shortest(paths: Collection[str], modules: Mapping[str, nn.Module]) -> list[str]:
    """The last names of modules where they mean no other module with parameters, else the paths."""
    names = {last_name(path) for path in paths}
    owners = {path for path, module in modules.items() if any(True for _ in module.parameters(recurse=False))}
    meant = {path for path in owners if last_name(path) in names}
    return sorted(names if meant == set(paths) else paths)
