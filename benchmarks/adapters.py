"""Adapters to measure with: as a run leaves them, without the run.

Knows nothing about what is measured.
"""

from __future__ import annotations

from pathlib import Path

import torch

from engine import adapter_files, models
from engine.methods import fit
from engine.settings import RunSettings

RANK = 16


def made(base: models.LoadedBase, folder: Path, seed: int) -> Path:
    """An adapter as a run leaves it, with a B that is not zero: random, so that every adapter answers otherwise."""
    settings = RunSettings(rank=RANK, alpha=2 * RANK, seed=seed)
    fitted = fit(base.model, settings)
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        name: 0.01 * torch.randn(tensor.shape, generator=draw) if "lora_B" in name else tensor
        for name, tensor in fitted.tensors().items()
    }
    fitted.remove()
    folder.mkdir()
    adapter_files.write(folder, tensors, base_name="starter", settings=settings, model=base.model)
    return folder
