"""Adapter folders: a config beside `adapter_model.safetensors`, read, checked and taken over from elsewhere.

What is read is data only (see `peft_files.py`), our own and other people's alike; what is written is in
`adapter_writing.py`. This module is the one door to both.

Knows nothing about the library or about which base model is loaded; `adapter_fit.py` compares names and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from engine import json_file, peft_files
from engine.adapter import AdapterError, AdapterOnDisk
from engine.adapter_fit import check_fits, shape_settings
from engine.adapter_writing import CONFIG, FORMAT, OWN_CONFIG, TEMPLATE, VERSION, WEIGHTS, A, Named, write, write_again
from engine.data import known_templates
from engine.methods.additive import PROMPT
from engine.methods.lora import LowRank
from engine.methods.low_rank import PREFIX, base_path
from engine.peft_rules import ConfigError, LoraConfig, short
from engine.settings import IN_THE_BASE, Method

__all__ = [
    "CONFIG",
    "OWN_CONFIG",
    "WEIGHTS",
    "AdapterError",
    "AdapterOnDisk",
    "check_fits",
    "foreseen",
    "read",
    "shape_settings",
    "take_over",
    "write",
]

OWN_METHODS: tuple[Method, ...] = ("bottleneck", *IN_THE_BASE)
LARGEST_CONFIG = 1_000_000  # bytes
LONGEST_PATH = 300  # characters of a tensor's name
LOUDEST = 1e6  # the largest absolute value that is believed
_B, _MAGNITUDE = ".lora_B.weight", ".lora_magnitude_vector"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read(folder: Path) -> AdapterOnDisk:
    """Read an adapter of any method.

    Raises:
        AdapterError: if a file is missing or damaged, a number is not finite, or it asks for what is not understood.
    """
    return _read(folder)[0]


def _read(folder: Path) -> tuple[AdapterOnDisk, Named]:
    """The adapter, and the tensors of its file as they are."""
    name = OWN_CONFIG if (folder / OWN_CONFIG).is_file() else CONFIG
    config, tensors = _json(folder / name), _tensors(folder / WEIGHTS)
    try:
        return replace(_understood(folder, config, tensors), template=_template(folder)), tensors
    except ConfigError as error:
        raise AdapterError(f"The adapter in {folder} {error}.") from None


def _template(folder: Path) -> str | None:
    """The chat template beside an adapter, if it is one that is known here: none from elsewhere is ever filled in."""
    file = folder / TEMPLATE
    if not file.is_file() or file.stat().st_size > LARGEST_CONFIG:
        return None
    text = file.read_text("utf-8", "replace")
    return text if text in known_templates.TEXTS else None


def take_over(source: Path, target: Path, *, base_name: str, model: nn.Module) -> AdapterOnDisk:
    """Write the adapter in the folder `source`, which may come from anywhere, into `target` in our own words.

    Args:
        base_name: what stands in the config as the base model's name.
        model: the base model, with nothing on it; on torch's meta device will do.

    Raises:
        AdapterError: as `read` and `check_fits`; nothing is written then.
    """
    adapter, tensors = _read(source)
    check_fits(adapter, model)
    write_again(target, adapter, tensors, base_name=base_name, model=model)
    return adapter


def foreseen(config: dict[str, Any], facts: Mapping[str, tuple[str, list[int]]]) -> AdapterOnDisk:
    """The adapter that files with this config and these tensors would hold, on torch's meta device: shapes only.

    Args:
        facts: of each tensor what stands in the head of its file: dtype (as safetensors calls it) and shape.

    Raises:
        AdapterError: as `read`.
    """
    odd = sorted(name for name, (dtype, _) in facts.items() if dtype not in DTYPES)
    if odd:
        raise AdapterError(f"This adapter holds {_called(odd[0])} as {short(facts[odd[0]][0])}, which no adapter does.")
    tensors = {name: torch.empty(shape, dtype=DTYPES[dtype], device="meta") for name, (dtype, shape) in facts.items()}
    try:
        return _understood(Path(), config, tensors)
    except ConfigError as error:
        raise AdapterError(f"This adapter {error}.") from None


def _understood(folder: Path, config: dict[str, Any], tensors: Named) -> AdapterOnDisk:
    if "format" in config:
        return _own(folder, config, tensors)
    kind, task = config.get("peft_type"), config.get("task_type")
    if any(_is_of_image(name) for name in tensors):
        raise ConfigError(
            f"is for a model that makes pictures ({short(next(iter(tensors)))}); here are text models only"
        )
    if task not in (None, "CAUSAL_LM"):
        raise ConfigError(f"is for the task {short(task)}; LoRA Studio has causal language models only (CAUSAL_LM)")
    if kind == peft_files.PROMPT_TUNING:
        return _prompt(folder, config, tensors)
    if kind != peft_files.LORA:
        raise ConfigError(f"is of PEFT's type {short(kind)}; LoRA Studio reads LORA and PROMPT_TUNING")
    return _low_rank(folder, peft_files.read_lora(config), tensors)


def _is_of_image(name: str) -> bool:
    return name.startswith(("unet.", "lora_unet_", "text_encoder", "lora_te", "diffusion_model.")) or any(
        part in name for part in (".transformer_blocks.", ".down_blocks.", ".up_blocks.")
    )


def _low_rank(folder: Path, config: LoraConfig, tensors: Named) -> AdapterOnDisk:
    left, low_rank = dict(tensors), {}
    for name in sorted(name for name in left if name.startswith(PREFIX) and name.endswith(A)):
        path = name.removeprefix(PREFIX).removesuffix(A)
        if len(path) > LONGEST_PATH:
            raise ConfigError(f"names a layer {short(path)}, longer than {LONGEST_PATH} characters")
        a, b = left.pop(name), left.pop(name.removesuffix(A) + _B, None)
        rank = config.rank_of(path)
        if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise ConfigError(f"is damaged: layer {_called(path)} has no A and B of rank {rank}")
        magnitude = left.pop(name.removesuffix(A) + _MAGNITUDE, None)
        if config.dora != (magnitude is not None):
            raise ConfigError(f"is damaged: layer {_called(path)} has {'no' if config.dora else 'a'} magnitude")
        magnitude = None if magnitude is None else magnitude.float()
        low_rank[path] = LowRank(a.float(), b.float(), config.scaling_of(path), magnitude)
    whole = {base_path(name): left.pop(name) for name in list(left) if _is_of_base(name)}
    if left or not low_rank:
        raise ConfigError(_left_over(list(left)))
    return AdapterOnDisk(folder, "dora" if config.dora else "lora", low_rank, whole, config=config, tied=config.tied)


def _called(name: str) -> str:
    """A name from outside as it may stand in a sentence."""
    return name if len(name) <= LONGEST_PATH and name.isprintable() else short(name)


def _is_of_base(name: str) -> bool:
    """Whether a tensor is a value of the base's own; which of them there should be is known beside a model only."""
    return name.startswith(PREFIX) and "lora_" not in name and len(name) <= LONGEST_PATH


def _left_over(names: list[str]) -> str:
    if not names:
        return "holds no LoRA matrices (no tensor is called base_model.model.<layer>.lora_A.weight)"
    more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    if any("lora_embedding" in name for name in names):
        return f"adapts an embedding ({_called(names[0])}{more}), which LoRA Studio does not do"
    return f"holds more than plain LoRA: {_called(names[0])}{more}"


def _prompt(folder: Path, config: dict[str, Any], tensors: Named) -> AdapterOnDisk:
    prompt, length = tensors.get(PROMPT), config.get("num_virtual_tokens")
    if config.get("num_transformer_submodules") not in (None, 1):
        raise ConfigError("has prompts for several parts of a model; causal language models have one part")
    if prompt is None or len(tensors) != 1 or prompt.ndim != 2 or type(length) is not int or len(prompt) != length:
        raise ConfigError("is damaged: it holds no prompt of the length its config gives")
    return AdapterOnDisk(folder, "prompt", prompt=prompt.float())


def _own(folder: Path, config: dict[str, Any], tensors: Named) -> AdapterOnDisk:
    if config.get("format") != FORMAT or config.get("version") != VERSION:
        given = f"{short(config.get('format'))}, version {short(config.get('version'))}"
        raise ConfigError(f"is in the format {given}; this LoRA Studio reads {FORMAT!r}, version {VERSION}")
    method = next((known for known in OWN_METHODS if known == config.get("method")), None)
    if method is None:
        raise ConfigError(f"was made by the method {short(config.get('method'))}, which LoRA Studio does not know")
    if not tensors:
        raise ConfigError("is empty: its file holds no tensors")
    if method == "bottleneck":
        return AdapterOnDisk(folder, "bottleneck", bottlenecks=tensors)
    return AdapterOnDisk(folder, method, whole=tensors)


def _json(file: Path) -> dict[str, Any]:
    try:
        return read_config(file.read_bytes())
    except FileNotFoundError:
        raise AdapterError(f"{file.parent} holds no adapter: {file.name} is missing.") from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file} cannot be read: {error}.") from error


def read_config(content: bytes) -> dict[str, Any]:
    """The config in a file's content. ValueError, in a few words, if it holds anything but one JSON object."""
    if len(content) > LARGEST_CONFIG:
        raise ValueError(f"it has {len(content):,} bytes, and a config has at most {LARGEST_CONFIG:,}")
    return json_file.parsed(content)


def _tensors(file: Path) -> Named:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file} cannot be read: {error}.") from error
    for name, tensor in tensors.items():
        _check_numbers(file, name, tensor)
    return tensors


def _check_numbers(file: Path, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in DTYPES.values():
        raise AdapterError(f"{file} holds {_called(name)} as {tensor.dtype}, which no adapter does.")
    if not tensor.numel():
        return
    low, high = (float(end) for end in tensor.aminmax())  # one reading of it; what is no number comes through
    if not (math.isfinite(low) and math.isfinite(high)):
        raise AdapterError(f"{file} is damaged: {_called(name)} holds values that are not finite numbers.")
    if (loudest := max(-low, high)) > LOUDEST:
        raise AdapterError(
            f"{file} is damaged: {_called(name)} holds a value of {loudest:.3g}, larger than training ever leaves."
        )
