"""PEFT's `adapter_config.json`, out and in: what our settings are called there, and which of its words we understand.

A config from outside is data only. What is needed is taken out by name and type; what would change the computation and
is not understood is refused by name; the rest is left alone. No path or module it names is followed or imported, and a
pattern it brings is tried with a deadline.

Knows nothing about tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import regex

from engine.settings import LARGEST_RANK, RunSettings, continued

LORA, PROMPT_TUNING = "LORA", "PROMPT_TUNING"
LONGEST_PATTERN = 500  # characters
PATIENCE = 1.0  # seconds that all tries of one pattern may take

# These say where an adapter comes from, or matter in training only: without them it computes the same.
HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules",
    "inference_mode", "layers_pattern", "loftq_config", "lora_dropout", "lora_ga_config", "megatron_config",
    "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "monteclora_config",
    "arrow_config", "task_type", "peft_type", "fan_in_fan_out",
}  # fmt: skip
UNDERSTOOD = {
    "r", "lora_alpha", "target_modules", "bias", "use_rslora", "use_dora", "modules_to_save", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "init_lora_weights",
}  # fmt: skip
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq")  # starts after which the base is no longer the base


class ConfigError(ValueError):
    """A config that cannot be used. The message says why, in a sentence without a subject."""


@dataclass(frozen=True)
class LoraConfig:
    """What an adapter's config says that matters for what it computes."""

    rank: int
    alpha: float
    targets: list[str] | str | None
    rank_stabilised: bool
    dora: bool
    bias: str
    modules_to_save: list[str]
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    layers: list[int] | None
    tied: bool

    def rank_of(self, path: str) -> int:
        """The rank of the layer at `path`."""
        return int(_by_pattern(self.rank_pattern, path, self.rank))

    def scaling_of(self, path: str) -> float:
        """What B A of the layer at `path` is multiplied by."""
        alpha, rank = float(_by_pattern(self.alpha_pattern, path, self.alpha)), self.rank_of(path)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def selects(self, paths: Iterable[str], output: str) -> set[str] | None:
        """Those of `paths` (linear layers) that get an adapter by PEFT's rules; None where the config leaves it open.

        Args:
            output: the path of the output head, which "all-linear" leaves out.
        """
        if self.targets is None:
            return None
        found = {path for path in paths if self._is_target(path, output)}
        if self.layers is None:
            return found
        return {path for path in found if _layer_number(path) in self.layers}

    def _is_target(self, path: str, output: str) -> bool:
        if self.targets == "all-linear":
            return path != output
        if isinstance(self.targets, str):
            return matches(self.targets, path)
        return any(path == name or path.endswith(f".{name}") for name in self.targets or [])


def written(settings: RunSettings, base_name: str, targets: list[str], **facts: Any) -> dict[str, Any]:
    """The config of an adapter of ours, of the methods "lora" and "dora".

    A run that started from PiSSA is stored with twice the rank (see methods/pissa.py).
    """
    stored = continued(settings)
    return {
        "peft_type": LORA,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": stored.rank,
        "lora_alpha": stored.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": targets,
        "rank_pattern": stored.rank_pattern or {},
        "alpha_pattern": stored.alpha_pattern or {},
        "bias": settings.bias,
        "use_rslora": settings.rank_stabilised,
        "use_dora": settings.method == "dora",
        "init_lora_weights": True,
        "inference_mode": True,
        **facts,
    }


def read_lora(config: dict[str, Any]) -> LoraConfig:
    """What a LoRA config says.

    Raises:
        ConfigError: naming what is wrong with it, or what it asks for that is not understood.
    """
    odd = sorted(key for key, value in config.items() if value and key not in HARMLESS | UNDERSTOOD)
    if odd:
        raise ConfigError(f"uses {', '.join(odd)}, which LoRA Studio does not know")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGE_THE_BASE):
        raise ConfigError(
            f"was started with {start} and saved without conversion, so it fits a changed base only. "
            "Save it again in PEFT with path_initial_model_for_weight_conversion"
        )
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)  # PEFT's own defaults
    if not _is_rank(rank) or not _is_alpha(alpha):
        raise ConfigError(f"has rank {rank!r} and alpha {alpha!r}, which make no sense")
    return LoraConfig(
        rank=rank,
        alpha=float(alpha),
        targets=_targets(config.get("target_modules")),
        rank_stabilised=_flag(config, "use_rslora"),
        dora=_flag(config, "use_dora"),
        bias=_one_of(config, "bias", ("none", "all", "lora_only")),
        modules_to_save=_names(config, "modules_to_save"),
        rank_pattern=_pattern(config, "rank_pattern", _is_rank),
        alpha_pattern=_pattern(config, "alpha_pattern", _is_alpha),
        layers=_layers(config.get("layers_to_transform")),
        tied=_flag(config, "ensure_weight_tying"),
    )


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern from outside fits the whole of `path`.

    Raises:
        ConfigError: if it is no pattern, or one that takes for ever.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise ConfigError(f"has a pattern of {len(pattern)} characters, longer than {LONGEST_PATTERN}")
    try:
        return regex.fullmatch(pattern, path, timeout=PATIENCE) is not None
    except (regex.error, TimeoutError) as error:
        raise ConfigError(f"has a pattern that cannot be used: {pattern[:60]} ({error})") from None


def _by_pattern(patterns: dict[str, Any], path: str, otherwise: float) -> Any:
    """PEFT's rule: the first key that is the path or, as a pattern, an ending of it after a dot."""
    return next((value for key, value in patterns.items() if matches(rf"(.*\.)?({key})", path)), otherwise)


def _layer_number(path: str) -> int | None:
    return next((int(part) for part in path.split(".") if part.isdigit()), None)


def _is_rank(value: object) -> bool:
    return type(value) is int and 1 <= value <= 2 * LARGEST_RANK  # a PiSSA start doubles it


def _is_alpha(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(value) < 1e6  # type: ignore[arg-type]


def _flag(config: dict[str, Any], key: str) -> bool:
    return config.get(key) is True


def _one_of(config: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = config.get(key, choices[0])
    if value not in choices:
        raise ConfigError(f"has {key} {value!r}, which is none of {', '.join(choices)}")
    return str(value)


def _names(config: dict[str, Any], key: str) -> list[str]:
    value = config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"has {key} {str(value)[:60]!r}, which is no list of names")
    return value


def _targets(value: object) -> list[str] | str | None:
    if value is None or isinstance(value, str):
        return value
    return _names({"target_modules": value}, "target_modules")


def _pattern(config: dict[str, Any], key: str, fits: Any) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict) or not all(fits(number) for number in value.values()):
        raise ConfigError(f"has {key} {str(value)[:60]!r}, which makes no sense")
    return value


def _layers(value: object) -> list[int] | None:
    if value is None:
        return None
    given = value if isinstance(value, list) else [value]
    numbers = [number for number in given if type(number) is int]
    if len(numbers) != len(given):
        raise ConfigError(f"has layers_to_transform {str(value)[:60]!r}, which is no list of numbers")
    return numbers
