"""What the settings of a tokenizer (its tokenizer_config.json) say of it, read as data. Knows nothing else."""

from pathlib import Path

from engine import json_file

NAME = "tokenizer_config.json"


def problems_in(folder: Path, called: str) -> list[str]:
    """All that speaks against the tokenizer in `folder`, a sentence each; it may have no such settings at all."""
    if not (folder / NAME).is_file():
        return []
    settings = json_file.read_object(folder / NAME)
    if settings is None:
        return [f"{NAME} of {called} is not a JSON object."]
    if "auto_map" in settings:
        return [
            f"The tokenizer of {called} needs its own Python code to run (auto_map in {NAME}). "
            "LoRA Studio never runs a model's code."
        ]
    return []


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer in `folder` brings a chat template of its own."""
    settings = json_file.read_object(folder / NAME) or {}
    return "chat_template" in settings or (folder / "chat_template.jinja").is_file()
