"""PiSSA beside PEFT's own, which changes the base: the same sum in another order, so equal up to rounding.

That it is rounding and no more is shown in two ways: in fp64 all agree to 1e-10, and in fp32 the logits are no further
from those of fp64 than twice what rounding does to the base alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import adapter_files, models
from engine.adapter import AdapterOnDisk
from engine.merge import merged
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.fitted import Fitted
from engine.methods.inject import linear_layers
from engine.methods.lora import weight_of
from engine.methods.pissa import PiSSALinear
from engine.methods.stored import load_stored
from engine.settings import RunSettings, parse
from engine.shape import continued
from tests.tiny import make_tiny_model
from tests.workshop import shared_tiny_model

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
IDS = torch.randint(3, 300, (3, 17), generator=torch.Generator().manual_seed(5))
PLAIN = {"start": "pissa", "rank": 6, "alpha": 12}
STABLE = {"start": "pissa", "rank": 4, "alpha": 4, "rank_stabilised": True}

pytestmark = [
    pytest.mark.filterwarnings("ignore:PiSSA changes the base weights:UserWarning"),
    pytest.mark.usefixtures("one_thread_each"),
]


@dataclass
class Pair:
    """Our PiSSA and PEFT's on the same base, with the same A and B, some way off the start."""

    base: models.LoadedBase
    settings: RunSettings
    fitted: Fitted
    theirs: Any

    def layers(self) -> Iterator[tuple[str, PiSSALinear, Any]]:
        """(path, our layer, PEFT's layer)."""
        for path, layer in self.base.model.named_modules():
            if isinstance(layer, PiSSALinear):
                yield path, layer, self.theirs.get_submodule(f"base_model.model.{path}")


@pytest.fixture(params=[("llama", PLAIN), ("llama", STABLE), ("gpt2", PLAIN)], ids=["llama", "rslora", "gpt2"])
def pair(request: pytest.FixtureRequest) -> Pair:
    kind, values = request.param
    return _pair(shared_tiny_model(kind), kind, values)


def _pair(folder: Path, kind: str, values: dict[str, Any]) -> Pair:
    base, settings = models.load(folder, CPU), parse(values)
    theirs = _in_peft(base.model, settings, kind)
    pair = Pair(base, settings, fit(base.model, settings), theirs)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, ours, other in pair.layers():
            for mine, their in ((ours.lora_A, other.lora_A), (ours.lora_B, other.lora_B)):
                mine.copy_(their["default"].weight)  # PEFT's start: singular vectors are free in their sign
            ours.first_A.copy_(ours.lora_A)
            ours.first_B.copy_(ours.lora_B)
            for mine, their in ((ours.lora_A, other.lora_A), (ours.lora_B, other.lora_B)):
                mine.add_(0.03 * torch.randn(mine.shape, generator=generator))
                their["default"].weight.copy_(mine)
    return pair


def _in_peft(model: nn.Module, settings: RunSettings, kind: str) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        use_rslora=settings.rank_stabilised,
        target_modules=list(linear_layers(model)),
        init_lora_weights="pissa",
        fan_in_fan_out=kind == "gpt2",
    )
    return get_peft_model(copy.deepcopy(model), config).eval()


def _as_fp64(pair: Pair) -> None:
    """The same numbers in fp64. PEFT's base is built anew there, as PEFT rounded it to fp32."""
    pair.base.model.double()
    pair.theirs.double()
    for _, ours, other in pair.layers():
        taken = ours.scaling * ours.first_B @ ours.first_A
        weight = ours.base.weight
        with torch.no_grad():
            other.base_layer.weight.copy_(weight - (taken.T if other.fan_in_fan_out else taken))


def _learn(model: Any) -> Tensor:
    """The logits, after a step backwards."""
    logits: Tensor = model(IDS).logits
    loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    torch.autograd.backward(loss)
    return logits.detach()


def _same_gradients(pair: Pair, within: float) -> None:
    for _, ours, other in pair.layers():
        for mine, their in ((ours.lora_A, other.lora_A), (ours.lora_B, other.lora_B)):
            torch.testing.assert_close(mine.grad, their["default"].weight.grad, atol=within, rtol=0)


def _stored(pair: Pair, folder: Path) -> AdapterOnDisk:
    """What a run leaves, read again; the base is as it was."""
    tensors = pair.fitted.tensors()
    pair.fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=pair.settings, model=pair.base.model)
    return adapter_files.read(folder)


@pytest.mark.parametrize("values", [PLAIN, STABLE], ids=["alpha / r", "alpha / sqrt r"])
def test_in_fp32_logits_are_pefts_on_a_model_with_the_usual_spread_of_weights(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """The other models here have weights seven times as wide, so that two layers have something to learn with."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = make_tiny_model(tmp_path / "narrow")
    config = LlamaConfig.from_pretrained(folder)
    config.initializer_range = 0.02
    torch.manual_seed(7)
    LlamaForCausalLM(config).save_pretrained(folder)
    pair = _pair(folder, "llama", values)
    torch.testing.assert_close(_learn(pair.base.model), _learn(pair.theirs), atol=1e-6, rtol=0)
    _same_gradients(pair, 1e-5)


def test_in_fp64_logits_and_gradients_are_pefts(pair: Pair) -> None:
    _as_fp64(pair)
    ours, theirs = _learn(pair.base.model), _learn(pair.theirs)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    _same_gradients(pair, 1e-10)


def test_in_fp32_gradients_are_pefts_and_logits_as_near_the_exact_ones_as_those_of_the_base(pair: Pair) -> None:
    plain = models.load(pair.base.path, CPU).model
    with torch.no_grad():
        base = plain(IDS).logits
        rounding = float((base - plain.double()(IDS).logits).abs().max())
    ours = _learn(pair.base.model)
    _learn(pair.theirs)
    _same_gradients(pair, 1e-5)
    _as_fp64(pair)
    with torch.no_grad():
        assert float((ours - pair.base.model(IDS).logits).abs().max()) < 2 * rounding
    assert rounding < 2e-6 * float(base.abs().max())


def test_what_is_stored_is_in_peft_what_it_is_in_a_run_that_goes_on_from_it(pair: Pair, tmp_path: Path) -> None:
    from peft import PeftModel

    adapter = _stored(pair, tmp_path)
    theirs = PeftModel.from_pretrained(models.load(pair.base.path, CPU).model, tmp_path).eval()
    with torch.no_grad(), attached(pair.base.model, [adapter]):
        logits = theirs(IDS).logits
        bound = 2e-6 * float(logits.abs().max())
        torch.testing.assert_close(pair.base.model(IDS).logits, logits, atol=bound, rtol=0)
    fitted = fit(pair.base.model, continued(pair.settings))
    load_stored(fitted, adapter)
    with torch.no_grad():
        exact = theirs.double()(IDS).logits
        torch.testing.assert_close(pair.base.model.double()(IDS).logits, exact, atol=1e-10, rtol=0)


def test_what_is_stored_loses_little_when_it_is_rounded_to_bf16(pair: Pair) -> None:
    """As servers of adapters do. [B, -B0] [A; A0] would lose more than the whole update after a short run."""
    with torch.no_grad():
        for _, layer, _ in pair.layers():
            layer.lora_A.copy_(layer.first_A + 0.01 * (layer.lora_A - layer.first_A))
            layer.lora_B.copy_(layer.first_B + 0.01 * (layer.lora_B - layer.first_B))
            a, b = layer.as_lora()
            exact = layer.lora_B.double() @ layer.lora_A.double() - layer.first_B.double() @ layer.first_A.double()
            assert float((b.bfloat16().double() @ a.bfloat16().double() - exact).norm() / exact.norm()) < 0.01


def test_merged_matrices_are_those_that_peft_merges_into_the_base_it_has_changed(pair: Pair, tmp_path: Path) -> None:
    paths = [path for path, _, _ in pair.layers()]
    adapter, theirs = _stored(pair, tmp_path), pair.theirs.merge_and_unload()
    with merged(pair.base.model, adapter):
        for path in paths:
            ours = weight_of(pair.base.model.get_submodule(path))
            torch.testing.assert_close(ours, weight_of(theirs.get_submodule(path)), atol=1e-6, rtol=0)
