"""Adapter folders in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`.

What is written here opens in `peft` on the same base model and computes the same. What is read is data only: the few
values that are needed are taken out of the config by name and type, everything else in it is left alone, and no path
or module it names is followed.

Knows nothing about the library or about which base model is loaded; `fits` compares shapes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.methods.inject import PREFIX, linear_layers
from engine.methods.lora import features
from engine.settings import RunSettings

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
LARGEST_RANK = 512


class AdapterError(ValueError):
    """An adapter that cannot be used. The message says why, in a sentence."""


@dataclass(frozen=True)
class AdapterOnDisk:
    """An adapter as read: its matrices by layer path, A: (r, I) and B: (O, r), and the factor alpha / r."""

    path: Path
    matrices: dict[str, tuple[Tensor, Tensor]]
    scaling: float

    def scaled(self) -> dict[str, tuple[Tensor, Tensor]]:
        """{path: (A, (alpha / r) B)}, as a row of a comparison takes it."""
        return {path: (a, b * self.scaling) for path, (a, b) in self.matrices.items()}


def write(folder: Path, tensors: dict[str, Tensor], *, base_name: str, settings: RunSettings, model: nn.Module) -> None:
    """Write an adapter into an existing folder.

    Args:
        tensors: from `inject.adapter_tensors`, under PEFT's names.
        base_name: what stands in the config as the base model's name.
        model: the base model, wrapped or not; tells which layers there are and how they keep their weights.
    """
    paths = sorted({name.removeprefix(PREFIX).rsplit(".", 2)[0] for name in tensors})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": _target_modules(paths, model),
        "fan_in_fan_out": any(type(layer).__name__ == "Conv1D" for layer in _originals(model).values()),
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / CARD).write_text(_card(base_name, settings), "utf-8")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def read(folder: Path) -> AdapterOnDisk:
    """Read a LoRA adapter.

    Raises:
        AdapterError: if a file is missing or damaged, a number is not finite, or a feature is not supported.
    """
    config = _config(folder)
    rank, alpha = config["r"], config["lora_alpha"]
    tensors = _tensors(folder / WEIGHTS)
    matrices = {}
    for name in sorted(n for n in tensors if n.endswith(".lora_A.weight")):
        path = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        a, b = tensors.pop(name), tensors.pop(name.replace(".lora_A.", ".lora_B."), None)
        if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise AdapterError(f"The adapter in {folder} is damaged: layer {path} has no A and B of rank {rank}.")
        matrices[path] = (a.float(), b.float())
    if tensors or not matrices:
        odd = next(iter(tensors), "no LoRA matrices")
        raise AdapterError(f"The adapter in {folder} holds more than plain LoRA, or none of it: {odd}.")
    return AdapterOnDisk(folder, matrices, alpha / rank)


def check_fits(adapter: AdapterOnDisk, model: nn.Module) -> None:
    """Check that every layer of the adapter exists in `model` with the same shape.

    Raises:
        AdapterError: naming the first layer that does not fit.
    """
    layers = _originals(model)
    for path, (a, b) in adapter.matrices.items():
        if path not in layers:
            raise AdapterError(f"This adapter is for another base model: here is no layer {path}.")
        inside, outside = features(layers[path])  # type: ignore[arg-type]
        if (a.shape[1], b.shape[0]) != (inside, outside):
            raise AdapterError(
                f"This adapter is for another base model: layer {path} is {outside} x {inside} here, "
                f"the adapter expects {b.shape[0]} x {a.shape[1]}."
            )


def _originals(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of a model by the path they have without any wrapping."""
    return {path.removesuffix(".base"): layer for path, layer in linear_layers(model).items()}


def _target_modules(paths: list[str], model: nn.Module) -> list[str]:
    """Last names where they select exactly `paths` by PEFT's rule (a name or an ending of a path), else whole paths."""
    names = sorted({path.rpartition(".")[2] for path in paths})
    every = [path.removesuffix(".base") for path, module in model.named_modules() if path and module is not None]
    selected = {path for path in every if path.rpartition(".")[2] in names}
    return names if selected == set(paths) else paths


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{folder} holds no adapter: {CONFIG} is missing.") from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterError(f"The adapter in {folder} is not a LoRA adapter.")
    asked = [k for k in ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern") if config.get(k)]
    if config.get("bias", "none") != "none":
        asked.append("bias")
    if asked:
        raise AdapterError(f"The adapter in {folder} uses {', '.join(asked)}, which LoRA Studio does not read yet.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 1 <= rank <= LARGEST_RANK or not isinstance(alpha, int | float) or not alpha > 0:
        raise AdapterError(f"The adapter in {folder} has rank {rank!r} and alpha {alpha!r}, which make no sense.")
    return config


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file} cannot be read: {error}.") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise AdapterError(f"{file} is damaged: {broken[0]} holds values that are not finite numbers.")
    return tensors


def _card(base_name: str, settings: RunSettings) -> str:
    return (
        f"---\nlibrary_name: peft\ntags:\n- lora\n---\n\nA LoRA adapter for {base_name}, "
        f"rank {settings.rank}, alpha {settings.alpha:g}, made with LoRA Studio.\n\n"
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE"), "THIS FOLDER")\n```\n'
    )
