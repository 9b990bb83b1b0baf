"""What the settings of a model (its config.json) say against it as a base model, read as data: nothing is built.

Settings can name code: in the model's own files, or on a hub. transformers is told never to run any, and a model that
asks for it is turned away here besides. Knows nothing about weights, tokenizers or places.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from engine import json_file


def problems_in(folder: Path, called: str) -> list[str]:
    """All that speaks against the model whose config.json lies in `folder`, a sentence each."""
    file = folder / "config.json"
    if not file.is_file():
        return [f"{called} has no config.json, so it is not a model in transformers' format."]
    try:
        return problems(json_file.parsed(file.read_bytes()), called)
    except (OSError, ValueError) as error:
        return [f"The config.json of {called} cannot be used: {error}."]


def problems(config: Mapping[str, Any], called: str) -> list[str]:
    """All that speaks against a model with this config.json, a sentence each; `called` is how it is named in them."""
    if "auto_map" in config:
        return [
            f"{called} needs its own Python code to run (auto_map in config.json). LoRA Studio never runs a model's "
            "code. Look for a version of it in transformers' own format."
        ]
    kind = config.get("model_type")
    found = [f"{called} asks for foreign code ({key} in config.json), which is never run." for key in _code(config)]
    if config.get("quantization_config"):
        found.append(
            f"{called} is stored quantised (quantization_config in config.json). Use its original weights: the setting "
            "Base precision quantises them here."
        )
    if not kind or not isinstance(kind, str):
        return [*found, f"{called} does not say what it is: config.json has no model_type."]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found.append(
            f"{called} is of type {kind}, which is no text model that transformers can train (a causal language model)."
        )
    return found


def _code(config: Mapping[str, Any]) -> Iterator[str]:
    """Keys, at any depth, by which settings have made transformers load code from elsewhere."""
    for key, value in config.items():
        if (key == "trust_remote_code" and value) or ("_implementation" in key and "/" in str(value)):
            yield key
        elif isinstance(value, Mapping):
            yield from _code(value)
