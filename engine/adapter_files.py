"""Adapter folders: a config beside `adapter_model.safetensors`, written, read and checked.

Where PEFT has the method (LoRA, DoRA, soft prompt) the folder is PEFT's: what is written here opens in `peft` on the
same base model and computes the same, and what PEFT wrote is read. The other methods have a folder of our own, whose
`studio_adapter.json` says its format and version. What is read is data only; see `peft_files.py`.

Knows nothing about the library or about which base model is loaded; `check_fits` compares names and shapes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine import peft_files
from engine.anatomy import block_number
from engine.methods.additive import PROMPT
from engine.methods.inject import modules_called
from engine.methods.lora import LowRank, features
from engine.methods.low_rank import PREFIX
from engine.methods.whole import is_tied, with_twins
from engine.peft_files import ConfigError, LoraConfig
from engine.quantised import is_conv1d
from engine.settings import LOW_RANK, Method, RunSettings, titles

CONFIG = "adapter_config.json"
OWN_CONFIG = "studio_adapter.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
FORMAT, VERSION = "lora-studio-adapter", 1


class AdapterError(ValueError):
    """An adapter that cannot be used. The message says why, in a sentence."""


@dataclass(frozen=True)
class AdapterOnDisk:
    """An adapter as read, by what it does to a model. Every method fills one or two of these.

    Attributes:
        low_rank: updates beside linear layers, by the layer's path.
        whole: values that take the places of parameters of the base, by path.
        bottlenecks: tensors of `methods.additive.Bottleneck`, by `<layer>.<part>`.
        prompt: (k, H) embeddings that stand before every row.
        config: PEFT's config, where the folder is PEFT's LoRA.
        tied: whether a value of `whole` also goes where its parameter is shared, as between embedding and head.
    """

    path: Path
    method: Method
    low_rank: dict[str, LowRank] = field(default_factory=dict)
    whole: dict[str, Tensor] = field(default_factory=dict)
    bottlenecks: dict[str, Tensor] = field(default_factory=dict)
    prompt: Tensor | None = None
    config: LoraConfig | None = None
    tied: bool = True

    @property
    def by_rows(self) -> bool:
        """Whether it can answer as one row of a batch beside others: it leaves all parameters of the base alone."""
        return not self.whole and not self.bottlenecks and self.prompt is None


# --- writing ------------------------------------------------------------------------------------------------------


def write(folder: Path, tensors: dict[str, Tensor], *, base_name: str, settings: RunSettings, model: nn.Module) -> None:
    """Write an adapter into an existing folder.

    Args:
        tensors: from `Fitted.tensors`.
        base_name: what stands in the config as the base model's name.
        model: the base model, with nothing on it; tells which layers there are and how they keep their weights.
    """
    if settings.method in LOW_RANK:
        config = _low_rank_config(tensors, base_name, settings, model)
    elif settings.method == "prompt":
        config = _prompt_config(base_name, settings, model)
    else:
        config = {"format": FORMAT, "version": VERSION, "method": settings.method, "base_model": base_name}
    name = OWN_CONFIG if "format" in config else CONFIG
    (folder / name).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / CARD).write_text(_card(base_name, settings), "utf-8")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _low_rank_config(
    tensors: dict[str, Tensor], base_name: str, settings: RunSettings, model: nn.Module
) -> dict[str, Any]:
    paths = sorted({name.removeprefix(PREFIX).removesuffix(_A) for name in tensors if name.endswith(_A)})
    whole = with_twins(model, modules_called(model, settings.train_in_full)) if settings.train_in_full else []
    return peft_files.written(
        settings,
        base_name,
        _target_modules(paths, model),
        fan_in_fan_out=any(is_conv1d(model.get_submodule(path)) for path in paths),
        modules_to_save=whole or None,
        ensure_weight_tying=is_tied(model, whole),
    )


def _prompt_config(base_name: str, settings: RunSettings, model: nn.Module) -> dict[str, Any]:
    config: Any = model.config.get_text_config()  # type: ignore[operator, union-attr]
    return {
        "peft_type": peft_files.PROMPT_TUNING,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "num_virtual_tokens": settings.prompt_tokens,
        "token_dim": model.get_input_embeddings().weight.shape[1],  # type: ignore[operator]
        "num_transformer_submodules": 1,
        "num_attention_heads": config.num_attention_heads,
        "num_layers": config.num_hidden_layers,
        "prompt_tuning_init": "RANDOM",
        "inference_mode": True,
    }


def _target_modules(paths: list[str], model: nn.Module) -> list[str]:
    """Last names where they select exactly `paths` by PEFT's rule (a name or an ending of a path), else whole paths."""
    names = sorted({path.rpartition(".")[2] for path in paths})
    selected = {path for path, _ in model.named_modules() if path.rpartition(".")[2] in names}
    return names if selected == set(paths) else paths


def _card(base_name: str, settings: RunSettings) -> str:
    title = titles("method")[settings.method]
    size = f", rank {settings.rank}, alpha {settings.alpha:g}" if settings.method in LOW_RANK else ""
    if settings.method not in (*LOW_RANK, "prompt"):
        return f"A fine-tune of {base_name} ({title}), made with LoRA Studio, which also opens it.\n"
    return (
        f"---\nlibrary_name: peft\ntags:\n- lora\n---\n\nAn adapter for {base_name} ({title}{size}), "
        "made with LoRA Studio.\n\n"
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE"), "THIS FOLDER")\n```\n'
    )


# --- reading ------------------------------------------------------------------------------------------------------

_A, _B, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"


def read(folder: Path) -> AdapterOnDisk:
    """Read an adapter of any method.

    Raises:
        AdapterError: if a file is missing or damaged, a number is not finite, or it asks for what is not understood.
    """
    try:
        if (folder / OWN_CONFIG).is_file():
            return _own(folder, _json(folder / OWN_CONFIG))
        return _peft(folder, _json(folder / CONFIG))
    except ConfigError as error:
        raise AdapterError(f"The adapter in {folder} {error}.") from None


def _peft(folder: Path, config: dict[str, Any]) -> AdapterOnDisk:
    kind, task = config.get("peft_type"), config.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise ConfigError(f"is for the task {task!r}; LoRA Studio has causal language models only (CAUSAL_LM)")
    if kind == peft_files.PROMPT_TUNING:
        return _prompt(folder, config)
    if kind != peft_files.LORA:
        raise ConfigError(f"is of PEFT's type {kind!r}; LoRA Studio reads LORA and PROMPT_TUNING")
    return _low_rank(folder, peft_files.read_lora(config))


def _low_rank(folder: Path, config: LoraConfig) -> AdapterOnDisk:
    left = _tensors(folder / WEIGHTS)
    low_rank = {}
    for name in sorted(name for name in left if name.endswith(_A)):
        path = name.removeprefix(PREFIX).removesuffix(_A)
        a, b = left.pop(name), left.pop(name.removesuffix(_A) + _B, None)
        rank = config.rank_of(path)
        if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise ConfigError(f"is damaged: layer {path} has no A and B of rank {rank}")
        magnitude = left.pop(name.removesuffix(_A) + _MAGNITUDE, None)
        if config.dora != (magnitude is not None):
            raise ConfigError(f"is damaged: layer {path} has {'no' if config.dora else 'a'} magnitude")
        low_rank[path] = LowRank(a.float(), b.float(), config.scaling_of(path), magnitude)
    whole = {_base_path(name): left.pop(name) for name in list(left) if _is_whole(_base_path(name), config)}
    if config.tied:  # the shared value is there under each of its names
        twins = [name for name, value in left.items() if any(torch.equal(value, other) for other in whole.values())]
        whole.update({_base_path(name): left.pop(name) for name in twins})
    if left or not low_rank:
        raise ConfigError(f"holds more than plain LoRA, or none of it: {next(iter(left), 'no LoRA matrices')}")
    return AdapterOnDisk(folder, "dora" if config.dora else "lora", low_rank, whole, config=config, tied=config.tied)


def _base_path(name: str) -> str:
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _is_whole(path: str, config: LoraConfig) -> bool:
    module, _, last = path.rpartition(".")
    if config.bias != "none" and "bias" in last:
        return True
    return any(module == saved or module.endswith(f".{saved}") for saved in config.modules_to_save)


def _prompt(folder: Path, config: dict[str, Any]) -> AdapterOnDisk:
    tensors = _tensors(folder / WEIGHTS)
    prompt = tensors.get(PROMPT)
    if prompt is None or len(tensors) != 1 or prompt.ndim != 2 or prompt.shape[0] != config.get("num_virtual_tokens"):
        raise ConfigError("is damaged: it holds no prompt of the length its config gives")
    return AdapterOnDisk(folder, "prompt", prompt=prompt.float())


def _own(folder: Path, config: dict[str, Any]) -> AdapterOnDisk:
    if config.get("format") != FORMAT or config.get("version") != VERSION:
        given = f"{config.get('format')!r}, version {config.get('version')!r}"
        raise ConfigError(f"is in the format {given}; this LoRA Studio reads {FORMAT!r}, version {VERSION}")
    method = next((known for known in get_args(Method) if known == config.get("method")), None)
    if method is None:
        raise ConfigError(f"was made by the method {config.get('method')!r}, which LoRA Studio does not know")
    tensors = _tensors(folder / WEIGHTS)
    if method == "bottleneck":
        return AdapterOnDisk(folder, "bottleneck", bottlenecks=tensors)
    return AdapterOnDisk(folder, method, whole=tensors)


def _json(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{file.parent} holds no adapter: {file.name} is missing.") from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{file} should hold one JSON object.")
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


# --- fitting ------------------------------------------------------------------------------------------------------


def check_fits(adapter: AdapterOnDisk, model: nn.Module) -> None:
    """Check that `adapter` is for `model`, which has nothing on it: names, shapes, and nothing missing.

    Raises:
        AdapterError: naming the first thing that does not fit.
    """
    modules = dict(model.named_modules())
    for path, update in adapter.low_rank.items():
        _check_layer(path, update, modules.get(path))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for path, value in adapter.whole.items():
        _check_shape(path, value.shape, getattr(parameters.get(path), "shape", None))
    for name, value in adapter.bottlenecks.items():
        _check_bottleneck(name, value, modules.get(name.rpartition(".")[0]))
    if adapter.prompt is not None:
        width = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
        _check_shape("prompt", adapter.prompt.shape[1:], (width,))
    _check_whole_set(adapter, model, modules)


def _check_layer(path: str, update: LowRank, layer: nn.Module | None) -> None:
    if not isinstance(layer, nn.Linear | Conv1D):
        raise AdapterError(f"This adapter is for another base model: here is no layer {path}.")
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
            f"This adapter is for another base model: {path} {found} here, the adapter expects {tuple(given)}."
        )


def _check_bottleneck(name: str, value: Tensor, layer: nn.Module | None) -> None:
    if not isinstance(layer, nn.Linear | Conv1D):
        raise AdapterError(f"This adapter is for another base model: here is no layer {name.rpartition('.')[0]}.")
    width = features(layer)[1]
    side = {"down": value.shape[-1], "up": value.shape[0], "up_bias": value.shape[0]}.get(
        name.rpartition(".")[2], width
    )
    _check_shape(name, (side,), (width,))


def _check_whole_set(adapter: AdapterOnDisk, model: nn.Module, modules: dict[str, nn.Module]) -> None:
    """PEFT says which layers have an adapter; one that should and has none was lost on the way."""
    if adapter.config is None:
        return
    linear = [path for path, module in modules.items() if isinstance(module, nn.Linear | Conv1D)]
    head = model.get_output_embeddings()  # type: ignore[operator]
    output = next((path for path, module in modules.items() if module is head), "")
    expected = adapter.config.selects(linear, output)
    missing = sorted((expected or set()) - set(adapter.low_rank), key=lambda path: (block_number(path) or 0, path))
    if missing:
        raise AdapterError(
            f"This adapter is not whole, or for another base model: its config names {missing[0]}"
            f"{f' and {len(missing) - 1} more layers' if len(missing) > 1 else ''}, for which it holds nothing."
        )
