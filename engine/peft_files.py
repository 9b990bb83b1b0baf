"""PEFT's `adapter_config.json`, out and in: what our settings are called there, and which of its words we understand.

A config from outside is data only. What is needed is taken out by name and type; what would change the computation and
is not understood is refused by name; the rest is left alone. No path or module it names is followed or imported.

Knows nothing about tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.paths import last_name
from engine.peft_rules import ALL_LINEAR, PLAIN, ConfigError, LoraConfig, short
from engine.settings import LARGEST_RANK, RunSettings
from engine.shape import continued

LORA, PROMPT_TUNING = "LORA", "PROMPT_TUNING"
MOST_LISTED = 2000  # names or patterns in one setting

# These say where an adapter comes from, or matter in training only: without them it computes the same.
HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "fan_in_fan_out", "inference_mode",
    "loftq_config", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core", "peft_type", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "task_type",
}  # fmt: skip
UNDERSTOOD = {
    "r", "lora_alpha", "target_modules", "bias", "use_rslora", "use_dora", "modules_to_save", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "layers_pattern", "exclude_modules", "ensure_weight_tying",
    "init_lora_weights",
}  # fmt: skip
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # starts after which the base is no longer the base


def written(settings: RunSettings, base_name: str, targets: list[str], **facts: Any) -> dict[str, Any]:
    """The config of an adapter of ours, of the methods "lora" and "dora".

    A run that started from PiSSA is stored with twice the rank (see methods/pissa.py).
    """
    stored = continued(settings)
    return _config(
        base_name,
        targets,
        r=stored.rank,
        lora_alpha=stored.alpha,
        lora_dropout=settings.dropout,
        rank_pattern=_paths_first(stored.rank_pattern or {}),
        alpha_pattern=_paths_first(stored.alpha_pattern or {}),
        bias=settings.bias,
        use_rslora=settings.rank_stabilised,
        use_dora=settings.method == "dora",
        **facts,
    )


def rewritten(config: LoraConfig, base_name: str, paths: Iterable[str], **facts: Any) -> dict[str, Any]:
    """The config of an adapter from outside, in our own words: nothing of the file it came in but what was understood.

    Args:
        paths: the layers that have an adapter; a pattern in `config` becomes the rank and alpha of each.
        facts: what else stands in it, "target_modules" among them.
    """
    layers = list(paths)
    return _config(
        base_name,
        **facts,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        rank_pattern=by_name({path: config.rank_of(path) for path in layers}, config.rank),
        alpha_pattern=by_name({path: config.alpha_of(path) for path in layers}, config.alpha),
        bias=config.bias,
        use_rslora=config.rank_stabilised,
        use_dora=config.dora,
        modules_to_save=config.modules_to_save or None,
        ensure_weight_tying=config.tied,
    )


def by_name(values: Mapping[str, Any], common: float) -> dict[str, Any]:
    """What differs from `common`: by the last name of a layer where all of that name agree, else by the whole path."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(last_name(path) for path in values):
        same_name = {path: value for path, value in values.items() if last_name(path) == name}
        one_value = len(set(same_name.values())) == 1
        short_form = {name: next(iter(same_name.values()))} if one_value else same_name
        found.update({key: value for key, value in short_form.items() if value != common})
    return _paths_first(found)


def _paths_first(patterns: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT takes the first key that fits, so that a whole path has to stand before the name it ends in."""
    return dict(sorted(patterns.items(), key=lambda item: -item[0].count(".")))


def _config(base_name: str, target_modules: list[str], **settings: Any) -> dict[str, Any]:
    return {
        "peft_type": LORA,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "target_modules": target_modules,
        "init_lora_weights": True,
        "inference_mode": True,
        **settings,
    }


def read_lora(config: dict[str, Any]) -> LoraConfig:
    """What a LoRA config says.

    Raises:
        ConfigError: naming what is wrong with it, or what it asks for that is not understood.
    """
    odd = sorted(key for key, value in config.items() if value and key not in HARMLESS | UNDERSTOOD)
    if odd:
        named = ", ".join(key if PLAIN.fullmatch(key) else short(key) for key in odd[:5])
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise ConfigError(f"uses {named[:300]}{more}, which LoRA Studio does not know")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGE_THE_BASE):
        raise ConfigError(
            f"was started with {short(start)} and saved without conversion, so it fits a changed base only. "
            "Save it again in PEFT with path_initial_model_for_weight_conversion"
        )
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)  # PEFT's own defaults
    if not _is_rank(rank) or not _is_alpha(alpha):
        raise ConfigError(f"has rank {short(rank)} and alpha {short(alpha)}, which make no sense")
    return LoraConfig(
        rank=rank,
        alpha=float(alpha),
        targets=_selection(config, "target_modules"),
        excluded=_selection(config, "exclude_modules") or frozenset(),
        rank_stabilised=_flag(config, "use_rslora"),
        dora=_flag(config, "use_dora"),
        bias=_one_of(config, "bias", ("none", "all", "lora_only")),
        modules_to_save=_names(config, "modules_to_save", PLAIN),
        rank_pattern=_pattern(config, "rank_pattern", _is_rank),
        alpha_pattern=_pattern(config, "alpha_pattern", _is_alpha),
        layers=_layers(config.get("layers_to_transform")),
        block_lists=_names({"layers_pattern": _listed(config.get("layers_pattern"))}, "layers_pattern"),
        dropout=_dropout(config.get("lora_dropout")),
        tied=_flag(config, "ensure_weight_tying"),
    )


def _is_rank(value: object) -> bool:
    return type(value) is int and 1 <= value <= 2 * LARGEST_RANK  # a PiSSA start doubles it


def _is_alpha(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def _flag(config: dict[str, Any], key: str) -> bool:
    """Strict: PEFT goes by what Python takes as true, 1 and "no" alike, which may not be what was meant."""
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"has {key} {short(value)}, which is neither true nor false")
    return bool(value)


def _one_of(config: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = config.get(key, choices[0])
    if value not in choices:
        raise ConfigError(f"has {key} {short(value)}, which is none of {', '.join(choices)}")
    return str(value)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) and value else value


def _names(config: dict[str, Any], key: str, form: re.Pattern[str] | None = None) -> list[str]:
    value = config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"has {key} {short(value)}, which is no list of names")
    if len(value) > MOST_LISTED:
        raise ConfigError(f"has {len(value)} names in {key}; {MOST_LISTED} are the most")
    if form and (wrong := [name for name in value if not form.fullmatch(name)]):
        raise ConfigError(f"has {key} {short(wrong[0])}, which is no name of a module")
    return value


def _selection(config: dict[str, Any], key: str) -> frozenset[str] | str | None:
    value = config.get(key)
    if value is None or isinstance(value, str):
        return value if value is None or value.lower() != ALL_LINEAR else ALL_LINEAR
    return frozenset(_names(config, key))


def _pattern(config: dict[str, Any], key: str, fits: Callable[[object], bool]) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict) or not all(fits(number) for number in value.values()):
        raise ConfigError(f"has {key} {short(value)}, which makes no sense")
    if len(value) > MOST_LISTED:
        raise ConfigError(f"has {len(value)} entries in {key}; {MOST_LISTED} are the most")
    return value


def _layers(value: object) -> list[int] | None:
    given = value if isinstance(value, list) else [] if value is None else [value]
    numbers = [number for number in given if type(number) is int]
    if len(numbers) != len(given):
        raise ConfigError(f"has layers_to_transform {short(value)}, which is no list of numbers")
    return numbers or None


def _dropout(value: object) -> float:
    """For a run that goes on from it; what it computes does not hang on it."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 else 0.0
