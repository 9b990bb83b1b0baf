"""The arithmetic of sizes against a real model and a real file."""

from pathlib import Path

import pytest

from engine import adapter_files, models, sizing
from engine.methods.inject import adapter_parameters, adapter_tensors, inject
from engine.settings import RunSettings
from tests.tiny import make_tiny_model


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("rank", [1, 16])
def test_trained_numbers_and_file_size_are_those_of_the_real_adapter(tmp_path: Path, kind: str, rank: int) -> None:
    folder = make_tiny_model(tmp_path / "model", kind)
    layers = models.describe(folder)["layers"]
    target = [layers[0]["name"]]
    for chosen in (None, target):
        base = models.load(folder)
        settings = RunSettings(rank=rank, target_modules=chosen)
        inject(base.model, settings)
        counted = sum(p.numel() for p in adapter_parameters(base.model))
        assert sizing.trained_numbers(layers, rank, chosen) == counted
        out = tmp_path / f"adapter-{chosen}"
        out.mkdir()
        tensors = adapter_tensors(base.model)
        adapter_files.write(out, tensors, base_name="tiny", settings=settings, model=base.model)
        real = (out / adapter_files.WEIGHTS).stat().st_size
        assert sizing.adapter_bytes(layers, rank, chosen) == pytest.approx(real, rel=0.25 if rank == 1 else 0.02)
