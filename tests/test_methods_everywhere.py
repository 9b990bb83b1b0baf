"""Every method on every architecture: what is counted and refused beforehand is what happens on the real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import adapter_files, models
from engine.data.render import Example
from engine.methods import fit
from engine.methods.attach import attached
from engine.misfits import misfits
from engine.settings import parse
from engine.sizing import count
from engine.train import summed_loss
from tests.architectures import ALL, make_architecture
from tests.workshop import one_thread

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 3},
    "lora, one block, biases of its layers": {"rank": 3, "layers": "1", "bias": "lora_only"},
    "lora, all biases": {"rank": 3, "bias": "all"},
    "pissa": {"rank": 3, "start": "pissa"},
    "dora": {"method": "dora", "rank": 3, "rank_stabilised": True},
    "bottleneck": {"method": "bottleneck", "bottleneck": 5},
    "prompt": {"method": "prompt", "prompt_tokens": 4},
    "bitfit": {"method": "bitfit"},
    "norms": {"method": "norms"},
    "blocks": {"method": "blocks", "blocks": 1},
    "full": {"method": "full"},
}


@pytest.fixture(scope="module", params=ALL)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[models.LoadedBase]:
    with one_thread():
        yield models.load(make_architecture(tmp_path_factory.mktemp("model"), request.param), CPU)


@pytest.fixture(scope="module")
def facts(base: models.LoadedBase) -> dict[str, Any]:
    return models.describe(base.path)


def _logits(base: models.LoadedBase) -> torch.Tensor:
    logits: torch.Tensor = base.model(input_ids=torch.arange(3, 40)[None]).logits
    return logits


@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_is_refused_beforehand_or_trains_what_was_counted_and_can_be_read_back(
    base: models.LoadedBase, facts: dict[str, Any], name: str, tmp_path: Path
) -> None:
    settings = parse(SETTINGS[name])
    if misfits(facts, settings, "It"):
        with pytest.raises(ValueError, match="Choose"):
            fit(base.model, settings)
        return
    before = _logits(base).detach()
    fitted = fit(base.model, settings)
    counted = count(facts, settings)
    assert counted.trained == sum(p.numel() for p in fitted.trained.values())
    assert counted.tensor_bytes == sum(4 * t.numel() for t in fitted.tensors().values())

    base.model.train()
    ids = list(range(3, 40))
    summed_loss(base, [Example(ids, [-100] * 10 + ids[10:], len(ids))]).backward()
    base.model.eval()
    with torch.no_grad():
        for parameter in fitted.trained.values():
            assert parameter.grad is not None
            parameter.add_(parameter.grad.sign(), alpha=0.01)
        learned, tensors = _logits(base), fitted.tensors()
    fitted.remove()
    assert torch.equal(_logits(base), before)
    assert float((learned - before).abs().max()) > 1e-3

    adapter_files.write(tmp_path, tensors, base_name="tiny", settings=settings, model=base.model)
    read = adapter_files.read(tmp_path)
    adapter_files.check_fits(read, base.model)
    with torch.no_grad(), attached(base.model, [read]):
        torch.testing.assert_close(_logits(base), learned, atol=2e-5, rtol=0)
    assert torch.equal(_logits(base), before)


@pytest.mark.parametrize("where", ["embedding", "head"])
def test_embeddings_and_heads_can_be_trained_in_full_and_ties_are_counted_once(
    base: models.LoadedBase, facts: dict[str, Any], where: str
) -> None:
    wanted = base.model.get_input_embeddings() if where == "embedding" else base.model.get_output_embeddings()
    name = next(path for path, module in base.model.named_modules() if module is wanted)
    settings = parse({"rank": 2, "train_in_full": [name]})
    assert misfits(facts, settings, "It") == []
    fitted = fit(base.model, settings)
    counted = count(facts, settings)
    assert counted.trained == sum(p.numel() for p in fitted.trained.values())
    assert counted.tensor_bytes == sum(4 * t.numel() for t in fitted.tensors().values())
    tied = base.model.get_input_embeddings().weight is base.model.get_output_embeddings().weight
    assert tied is facts["tied"]
    fitted.remove()
