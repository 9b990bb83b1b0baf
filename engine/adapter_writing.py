"""Adapter folders, written: a config and a few words beside `adapter_model.safetensors`.

Where PEFT has the method (LoRA, DoRA, soft prompt) the folder is PEFT's: what is written here opens in `peft` on the
same base model and computes the same. The other methods have a folder of our own, whose `studio_adapter.json` says its
format and version. Reading is in `adapter_files.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from engine import peft_files
from engine.adapter import AdapterOnDisk
from engine.methods.inject import modules_called
from engine.methods.low_rank import PREFIX
from engine.methods.whole import is_tied, with_twins
from engine.paths import last_name
from engine.quantised import is_conv1d
from engine.settings import LOW_RANK, Method, RunSettings, titles

CONFIG = "adapter_config.json"
OWN_CONFIG = "studio_adapter.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
TEMPLATE = "chat_template.jinja"  # as other tools have it beside an adapter
FORMAT, VERSION = "lora-studio-adapter", 1
A = ".lora_A.weight"  # how the name of a layer's first matrix ends
Named = dict[str, Tensor]


def write(
    folder: Path,
    tensors: Named,
    *,
    base_name: str,
    settings: RunSettings,
    model: nn.Module,
    template: str | None = None,
) -> None:
    """Write an adapter into an existing folder.

    Args:
        tensors: from `Fitted.tensors`.
        base_name: what stands in the config as the base model's name.
        model: the base model, with nothing on it; tells which layers there are and how they keep their weights.
        template: the chat template that it was trained with, where that is not the base model's own.
    """
    if settings.method in LOW_RANK:
        config = _low_rank_config(tensors, base_name, settings, model)
    elif settings.method == "prompt":
        config = _prompt_config(base_name, settings.prompt_tokens, model)
    else:
        config = _own_config(base_name, settings.method)
    _write(folder, config, _card(base_name, settings.method, settings.rank, settings.alpha), tensors)
    _write_template(folder, template)


def write_again(folder: Path, adapter: AdapterOnDisk, tensors: Named, *, base_name: str, model: nn.Module) -> None:
    """Write an adapter that was read from elsewhere and fits `model`, with a config and words of our own.

    Args:
        tensors: those of its file; they stay as they are.
    """
    config = _own_config(base_name, adapter.method)
    rank, alpha = 0, 0.0
    if adapter.config is not None:
        rank, alpha = adapter.config.rank, adapter.config.alpha
        paths = sorted(adapter.low_rank)
        config = peft_files.rewritten(
            adapter.config,
            base_name,
            paths,
            target_modules=_target_modules(paths, model),
            fan_in_fan_out=_keeps_turned(paths, model),
        )
    elif adapter.prompt is not None:
        config = _prompt_config(base_name, adapter.prompt.shape[0], model)
    _write(folder, config, _card(base_name, adapter.method, rank, alpha), tensors)
    _write_template(folder, adapter.template)


def _write(folder: Path, config: dict[str, Any], card: str, tensors: Named) -> None:
    name = OWN_CONFIG if "format" in config else CONFIG
    (folder / name).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / CARD).write_text(card, "utf-8")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _write_template(folder: Path, template: str | None) -> None:
    if template is not None:
        (folder / TEMPLATE).write_text(template, "utf-8")


def _own_config(base_name: str, method: Method) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "method": method, "base_model": base_name}


def _low_rank_config(tensors: Named, base_name: str, settings: RunSettings, model: nn.Module) -> dict[str, Any]:
    paths = sorted({name.removeprefix(PREFIX).removesuffix(A) for name in tensors if name.endswith(A)})
    whole = with_twins(model, modules_called(model, settings.train_in_full)) if settings.train_in_full else []
    return peft_files.written(
        settings,
        base_name,
        _target_modules(paths, model),
        fan_in_fan_out=_keeps_turned(paths, model),
        modules_to_save=whole or None,
        ensure_weight_tying=is_tied(model, whole),
    )


def _prompt_config(base_name: str, length: int, model: nn.Module) -> dict[str, Any]:
    config: Any = model.config.get_text_config()  # type: ignore[operator, union-attr]
    return {
        "peft_type": peft_files.PROMPT_TUNING,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "num_virtual_tokens": length,
        "token_dim": model.get_input_embeddings().weight.shape[1],  # type: ignore[operator]
        "num_transformer_submodules": 1,
        "num_attention_heads": getattr(config, "num_attention_heads", None),  # a model may do without attention
        "num_layers": config.num_hidden_layers,
        "prompt_tuning_init": "RANDOM",
        "inference_mode": True,
    }


def _target_modules(paths: list[str], model: nn.Module) -> list[str]:
    """Last names where they select exactly `paths` by PEFT's rule (a name or an ending of a path), else whole paths."""
    names = sorted({last_name(path) for path in paths})
    selected = {path for path, _ in model.named_modules() if last_name(path) in names}
    return names if selected == set(paths) else paths


def _keeps_turned(paths: list[str], model: nn.Module) -> bool:
    """Whether one of these layers keeps its weight as I x O, which PEFT calls fan_in_fan_out."""
    return any(is_conv1d(model.get_submodule(path)) for path in paths)


def _card(base_name: str, method: Method, rank: int, alpha: float) -> str:
    title = titles("method")[method]
    size = f", rank {rank}, alpha {alpha:g}" if method in LOW_RANK else ""
    if method not in (*LOW_RANK, "prompt"):
        return f"A fine-tune of {base_name} ({title}), made with LoRA Studio, which also opens it.\n"
    return (
        f"---\nlibrary_name: peft\ntags:\n- lora\n---\n\nAn adapter for {base_name} ({title}{size}), "
        "made with LoRA Studio.\n\n"
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE"), "THIS FOLDER")\n```\n'
    )
