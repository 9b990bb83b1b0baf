"""The methods "lora" and "dora" on a whole model: which layers are wrapped, how, and what is trained beside them.

Names are PEFT's (`base_model.model.<path>.lora_A.weight`), so that a saved adapter opens elsewhere. The formulas are in
`lora.py`, `dora.py` and `pissa.py`.
"""

from __future__ import annotations

import torch
from torch import nn

from engine.anatomy import text_parameters
from engine.methods.dora import DoRALinear
from engine.methods.fitted import Fitted, Named
from engine.methods.inject import Surgery, modules_called, places_of, targets
from engine.methods.lora import LoRALinear
from engine.methods.pissa import PiSSALinear
from engine.methods.whole import parameters_of, train_whole
from engine.paths import last_name
from engine.settings import RunSettings

PREFIX = "base_model.model."  # what PEFT puts before the path of every layer


def fit_low_rank(model: nn.Module, settings: RunSettings) -> Fitted:
    """Freeze `model` and wrap its target layers.

    Raises:
        ValueError: if a target, a block or a module to train in full does not exist, or a rank is too large for PiSSA.
    """
    chosen = targets(model, settings.target_modules, settings.layers)
    _check_patterns(settings, chosen)
    beside = _beside(model, settings, list(chosen))
    twins = {path: places_of(model, model.get_parameter(path)) for path in beside}
    # PEFT wants a tied parameter under each of its names.
    also = {_name(path, chosen): [_name(twin, chosen) for twin in twins[path] if twin != path] for path in beside}
    with Surgery(model) as surgery:
        trained = {_name(path, chosen): p for path, p in train_whole(surgery, beside).items()}
        wrapped = _wrap(surgery, chosen, settings)
        for path, layer in wrapped.items():
            trained.update({f"{PREFIX}{path}.{name}": p for name, p in layer.trained().items()})
        return Fitted(surgery, trained, lambda tensors: _stored(tensors, wrapped, also))


def _wrap(surgery: Surgery, chosen: dict[str, nn.Linear], settings: RunSettings) -> dict[str, LoRALinear]:
    generator = torch.Generator().manual_seed(settings.seed)
    kind = _kind(settings)
    wrapped: dict[str, LoRALinear] = {}
    for path, layer in chosen.items():
        rank, alpha = settings.shape_of(path)
        wrapped[path] = kind(layer, rank, settings.scaling(rank, alpha), settings.dropout, generator)
        surgery.replace(path, wrapped[path])
    return wrapped


def _kind(settings: RunSettings) -> type[LoRALinear]:
    if settings.method == "dora":
        return DoRALinear
    return PiSSALinear if settings.start == "pissa" else LoRALinear


def _check_patterns(settings: RunSettings, chosen: dict[str, nn.Linear]) -> None:
    known = {*chosen, *map(last_name, chosen)}
    given = {**(settings.rank_pattern or {}), **(settings.alpha_pattern or {})}
    unknown = sorted(name for name in given if name not in known)
    if unknown:
        names = ", ".join(sorted(set(map(last_name, chosen))))
        raise ValueError(
            f"Rank or alpha is given for {', '.join(unknown)}, which gets no adapter. These layers do: {names}."
        )


def _beside(model: nn.Module, settings: RunSettings, chosen: list[str]) -> list[str]:
    """The parameters of the base that are trained beside A and B."""
    paths: list[str] = []
    if settings.train_in_full:
        modules = modules_called(model, settings.train_in_full)
        both = [path for path in modules if path in chosen]
        if both:
            raise ValueError(f"{both[0]} cannot be trained in full and get an adapter as well. Leave it out of one.")
        paths += parameters_of(model, modules)
    if settings.bias == "all":
        paths += [path for path in text_parameters(model) if "bias" in last_name(path)]
    if settings.bias == "lora_only":
        paths += [f"{path}.bias" for path in chosen if getattr(model.get_submodule(path), "bias", None) is not None]
    return list(dict.fromkeys(paths))


def _name(path: str, chosen: dict[str, nn.Linear]) -> str:
    """A parameter's name in PEFT's file: that of a wrapped layer stands under `base_layer`."""
    layer, _, last = path.rpartition(".")
    return f"{PREFIX}{layer}.base_layer.{last}" if layer in chosen else f"{PREFIX}{path}"


def base_path(name: str) -> str:
    """The path in the base of what has `name` in PEFT's file: `_name` the other way round."""
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _stored(tensors: Named, wrapped: dict[str, LoRALinear], also: dict[str, list[str]]) -> Named:
    """What the file holds: PiSSA as the LoRA it equals, tied parameters under all their names."""
    stored = dict(tensors)
    for path, layer in wrapped.items():
        if isinstance(layer, PiSSALinear):
            a, b = (f"{PREFIX}{path}.{name}.weight" for name in ("lora_A", "lora_B"))
            stored[a], stored[b] = (t.detach().cpu().contiguous() for t in layer.as_lora())
    for name, others in also.items():
        if name in tensors:
            stored.update({other: tensors[name].clone() for other in others})
    return stored
