"""The low-rank layers against the formula, and whole models against PEFT."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine import models
from engine.adapter_files import AdapterOnDisk
from engine.data.render import Example
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.fitted import Fitted
from engine.methods.inject import linear_layers, targets
from engine.methods.lora import LoRALinear, LowRank, features
from engine.methods.rowwise import RowwiseLoRA
from engine.passes import summed_loss
from engine.settings import RunSettings
from tests.tiny import make_tiny_model

KINDS = ["llama", "gpt2"]


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> models.LoadedBase:
    folder = tmp_path_factory.getbasetemp() / f"tiny-{request.param}"
    if not folder.exists():
        make_tiny_model(folder, request.param)
    return models.load(folder, models.Device("cpu", "CPU", torch.float32, "a test"))


def _layer(kind: str) -> Any:
    torch.manual_seed(1)
    return nn.Linear(6, 10) if kind == "linear" else Conv1D(10, 6)


def _randomised(fitted: Fitted, seed: int = 3) -> Fitted:
    generator = torch.Generator().manual_seed(seed)
    for parameter in fitted.trained.values():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return fitted


def _ids(rows: int = 3, length: int = 17) -> torch.Tensor:
    return torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_a_layer_computes_the_formula_of_the_paper(kind: str) -> None:
    plain = _layer(kind)
    layer = LoRALinear(plain, 3, 12 / 3, 0.0, torch.Generator().manual_seed(0))
    layer.lora_B.data = torch.randn(10, 3)
    x = torch.randn(2, 5, 6)
    weight = plain.weight.T if kind == "conv1d" else plain.weight
    expected = x @ (weight + 12 / 3 * layer.lora_B @ layer.lora_A).T + plain.bias
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)


def test_dropout_falls_on_the_input_of_the_update_only_and_only_in_training() -> None:
    layer = LoRALinear(_layer("linear"), 3, 1.0, 0.5, torch.Generator().manual_seed(0))
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(layer(x), layer.base(x))  # B is zero, whatever is dropped
    layer.lora_B.data = torch.randn(10, 3)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_step_zero_equals_the_base_bit_for_bit(base: models.LoadedBase) -> None:
    before = base.model(_ids()).logits
    fitted = fit(base.model, RunSettings(dropout=0.1))
    assert torch.equal(base.model(_ids()).logits, before)
    _randomised(fitted)
    assert not torch.equal(base.model(_ids()).logits, before)
    fitted.remove()
    assert torch.equal(base.model(_ids()).logits, before)


def test_only_the_adapter_is_trained(base: models.LoadedBase) -> None:
    fitted = fit(base.model, RunSettings())
    trained = {id(p) for p in base.model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in fitted.trained.values()}


def test_every_linear_layer_of_the_blocks_is_a_target_and_the_head_is_not(base: models.LoadedBase) -> None:
    names = {path.rpartition(".")[2] for path in linear_layers(base.model)}
    llama = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert names == (llama if "q_proj" in names else {"c_attn", "c_proj", "c_fc"})
    assert len(linear_layers(base.model)) == (14 if "q_proj" in names else 8)


def test_an_unknown_target_module_is_refused_with_the_names_there_are(base: models.LoadedBase) -> None:
    with pytest.raises(ValueError, match=r"no layers called wrong.*It has: .*proj"):
        targets(base.model, ["wrong"])


def test_the_same_seed_starts_the_same_adapter(base: models.LoadedBase) -> None:
    starts = []
    for seed in (4, 4, 5):
        fitted = fit(base.model, RunSettings(seed=seed))
        starts.append(fitted.tensors())
        fitted.remove()
    first, again, other = starts
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def _as_peft(base: models.LoadedBase, settings: RunSettings) -> Any:
    """A second copy of the base with PEFT's LoRA, holding the same adapter as `base`."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    names = sorted({path.rpartition(".")[2] for path in targets(base.model, settings.target_modules)})
    paths = list(targets(base.model, settings.target_modules))
    fitted = _randomised(fit(base.model, settings))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.target_modules or names,
        fan_in_fan_out="c_attn" in names,
        task_type="CAUSAL_LM",
    )
    other = get_peft_model(models.load(base.path, base.device).model, config)
    told = set_peft_model_state_dict(other, fitted.tensors())
    assert not told.unexpected_keys
    assert sum("lora_A" in name for name, _ in other.named_parameters()) == len(paths)
    return other


@pytest.mark.parametrize("target", [None, "attention"])
def test_logits_and_gradients_are_those_of_peft(base: models.LoadedBase, target: str | None) -> None:
    attention = ["c_attn"] if "gpt2" in str(base.path) else ["q_proj", "v_proj"]
    settings = RunSettings(rank=5, alpha=15, target_modules=attention if target else None)
    other = _as_peft(base, settings)
    ids = _ids()
    torch.testing.assert_close(base.model(ids).logits, other(ids).logits, atol=1e-6, rtol=0)

    base.model(ids, labels=ids).loss.backward()
    other(ids, labels=ids).loss.backward()
    ours = {n: p.grad for n, p in base.model.named_parameters() if p.grad is not None}
    theirs = {
        n.removeprefix("base_model.model.").replace(".default.weight", ""): p.grad
        for n, p in other.named_parameters()
        if p.grad is not None
    }
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=0)


def test_a_summed_loss_is_the_cross_entropy_of_the_labelled_tokens(base: models.LoadedBase) -> None:
    rows = [Example([5, 6, 7, 8, 9], [-100, -100, 7, 8, 9], 5), Example([4, 11, 12], [-100, 11, 12], 3)]
    loss = summed_loss(base, rows)
    expected = torch.zeros(())
    for row in rows:
        likely = base.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        expected = expected - sum(likely[i - 1, t] for i, t in enumerate(row.labels) if t != -100)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=0)


def test_each_row_of_a_batch_is_answered_by_its_own_adapter(base: models.LoadedBase) -> None:
    adapters, alone = [], []
    ids = _ids(1)
    for rank, seed in ((2, 1), (7, 2)):
        settings = RunSettings(rank=rank, alpha=3 * rank)
        fitted = _randomised(fit(base.model, settings), seed)
        alone.append(base.model(ids).logits[0])
        layers = {n: m for n, m in base.model.named_modules() if isinstance(m, LoRALinear)}
        updates = {n: LowRank(m.lora_A.detach(), m.lora_B.detach(), m.scaling) for n, m in layers.items()}
        adapters.append(AdapterOnDisk(base.path, "lora", updates))
        fitted.remove()
    untouched = base.model(ids).logits[0]

    with attached(base.model, [None, *adapters]):
        together = base.model(ids.expand(3, -1)).logits
    torch.testing.assert_close(together[0], untouched, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together[2], alone[1], atol=1e-5, rtol=0)
    assert float((together[1] - together[2]).abs().max()) > 1e-3


def test_a_rowwise_layer_takes_rows_that_a_model_has_flattened() -> None:
    updates = [LowRank(torch.randn(3, 6), torch.randn(10, 3), 0.5) for _ in range(2)]
    layer = RowwiseLoRA(_layer("linear"), updates)
    x = torch.randn(2, 4, 6)
    torch.testing.assert_close(layer(x.reshape(8, 6)), layer(x).reshape(8, 10))


def test_features_are_told_the_right_way_round_for_both_kinds() -> None:
    assert features(_layer("linear")) == features(_layer("conv1d")) == (6, 10)
