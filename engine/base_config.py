"""The settings of a model (its config.json): what speaks against it, and what transformers is given of them.

Settings can name code, in the model's own files or on a hub. None is ever run: transformers is told so, and gets the
settings without the names. A model of a kind that transformers does not know is turned away, for it cannot work without
its code. Knows nothing about weights or tokenizers.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from engine import json_file

CONFIG = "config.json"
# Settings that lead elsewhere: to code, to another file of settings or of weights.
LEADING_AWAY = ("auto_map", "trust_remote_code", "custom_pipelines", "configuration_files", "transformers_weights")


def read(folder: Path) -> Any:
    """transformers' own settings object for the model in `folder`, without anything that leads elsewhere.

    Raises:
        OSError, ValueError: there is no config.json that can be read, or it is of no kind that transformers knows.
    """
    kept = plain(json_file.parsed((folder / CONFIG).read_bytes()))
    with TemporaryDirectory() as place:  # from a file, so that transformers' own rules for reading one hold
        Path(place, CONFIG).write_text(json.dumps(kept), encoding="utf-8")
        config = AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    config.name_or_path = str(folder)
    return config


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the keys that lead elsewhere or choose an implementation, at any depth."""
    return {key: _plain(value) for key, value in config.items() if _kept(key)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain(value)
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _kept(key: str) -> bool:
    return key not in LEADING_AWAY and not key.endswith(("_implementation", "_implementation_internal"))


def brings_code(folder: Path) -> bool:
    """Whether the config.json in `folder` names code that comes with the model. It is not used."""
    return "auto_map" in (json_file.read_object(folder / CONFIG) or {})


def problems_in(folder: Path, called: str) -> list[str]:
    """All that speaks against the model whose config.json lies in `folder`, a sentence each."""
    file = folder / CONFIG
    if not file.is_file():
        return [f"{called} has no config.json, so it is not a model in transformers' format."]
    try:
        return problems(json_file.parsed(file.read_bytes()), called)
    except (OSError, ValueError) as error:
        return [f"The config.json of {called} cannot be used: {error}."]


def problems(config: Mapping[str, Any], called: str) -> list[str]:
    """All that speaks against a model with this config.json, a sentence each; `called` is how it is named in them."""
    kind = config.get("model_type")
    if "auto_map" in config and not (isinstance(kind, str) and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        return [
            f"{called} needs its own Python code to run (auto_map in config.json). LoRA Studio never runs a model's "
            "code. Look for a version of it in transformers' own format."
        ]
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
