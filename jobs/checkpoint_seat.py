"""A checkpoint of a run as a contestant: what the run had trained at that step, as an adapter in memory.

It goes the way of every adapter: put on the base, taken off, written in the format of its method and read back, in a
folder that is gone at once; so it is checked as strictly. Knows nothing about which checkpoints there are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.adapter import AdapterOnDisk
    from engine.models import LoadedBase
    from engine.settings import RunSettings


def settings_of(folder: Path) -> RunSettings:
    """The settings of the run that wrote the checkpoint.

    Raises:
        CheckpointError: it is gone or damaged.
    """
    from engine import checkpoint
    from engine.checkpoint import CheckpointError
    from engine.settings import SettingsError, parse

    if not folder.is_dir():
        raise CheckpointError(
            "A checkpoint that was chosen is gone: its run has written newer ones, or has ended. Choose again, "
            "and pin what is to stay."
        )
    try:
        return parse(checkpoint.read_run(folder).get("settings", {}))
    except SettingsError as error:
        raise CheckpointError(f"The checkpoint is of a run this version does not understand: {error}") from error


def as_adapter(base: LoadedBase, folder: Path) -> AdapterOnDisk:
    """What a checkpoint had trained, for this base model.

    Raises:
        CheckpointError, AdapterError, ValueError: it is gone, damaged, or of another base.
    """
    from engine import adapter_files, checkpoint
    from engine.data import known_templates
    from engine.methods import fit
    from engine.tokenizer_config import has_chat_template

    settings = settings_of(folder)
    template = known_templates.travelling(settings.chat_template, has_chat_template(base.path))
    fitted = fit(base.model, settings)
    try:
        fitted.load(checkpoint.read_trained(folder))
        tensors = fitted.tensors()
    finally:
        fitted.remove()
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as passing:
        adapter_files.write(
            Path(passing), tensors, base_name="", settings=settings, model=base.model, template=template
        )
        return adapter_files.read(Path(passing))
