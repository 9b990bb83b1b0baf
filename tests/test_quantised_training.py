"""Training and answering on quantised bases: as peft does it, and the bits stay."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine import adapter_files, generate, models
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.fitted import Fitted
from engine.models import Device, LoadedBase
from engine.train import StepReport, prepare, train
from tests.test_quantised import (
    BF16,
    FP32,
    KINDS,
    PRECISIONS,
    SETTINGS,
    gradients,
    layers_of,
    load,
    put_on,
    some_ids,
    with_lora,
)
from tests.tiny import tiny_rows
from tests.workshop import shared_tiny_model


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_peft_on_the_same_base(kind: str, precision: str) -> None:
    ours = load(kind, precision)
    trained = with_lora(ours)
    theirs = peft_qlora(shared_tiny_model(kind), precision, trained, ours.model)
    ids = some_ids()
    torch.testing.assert_close(ours.model(ids).logits, theirs(ids).logits, atol=1e-6, rtol=1e-6)
    expected = gradients(theirs, {n.replace(".default.", "."): p for n, p in theirs.named_parameters()})
    found = gradients(ours.model, trained)
    assert found.keys() == trained.keys()
    for name, gradient in found.items():
        assert gradient.any()
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5)


def peft_qlora(folder: Path, precision: str, adapter: dict[str, nn.Parameter], model: nn.Module) -> Any:
    """PEFT on transformers' own quantised model, as a QLoRA recipe has it, with the same adapter; dropout off."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    eight = {"load_in_8bit": True, "llm_int8_threshold": 0.0}
    wanted = BitsAndBytesConfig(**(four if precision == "nf4" else eight), llm_int8_skip_modules=["lm_head"])
    base = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=wanted, device_map={"": "cpu"}
    )
    names = sorted({name.split(".")[-3] for name in adapter})
    peft = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=names, task_type="CAUSAL_LM"))
    set_peft_model_state_dict(peft, {name: p.detach() for name, p in adapter.items()})
    peft.train()  # bitsandbytes rounds more than the weights when it is not training
    for module in peft.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return peft


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_still_flow_after_the_model_has_answered(precision: str) -> None:
    fresh, used = load("llama", precision), load("llama", precision)
    expected = gradients(fresh.model.train(), with_lora(fresh))
    trained = with_lora(used)
    with torch.no_grad():
        used.model.eval()(some_ids())
    found = gradients(used.model.train(), trained)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_loss_falls_and_the_bits_do_not_move(precision: str, device: Device) -> None:
    base, fitted, reports = trained_on(precision, device)
    first, last = reports[0].validation_loss, reports[-1].validation_loss
    assert first is not None
    assert last is not None
    assert last < 0.7 * first
    fitted.remove()
    for path, layer in layers_of(load("llama", precision, device).model).items():
        assert torch.equal(base.model.get_submodule(path).weight, layer.weight)


def published(kind: str, precision: str, folder: Path) -> LoadedBase:
    """Write the adapter of `put_on` as a run on this base does, and give the base back as it was."""
    base = load(kind, precision)
    fitted = put_on(base)
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=SETTINGS, model=base.model)
    return base


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_adapter_is_an_ordinary_one_that_opens_in_peft_on_the_full_base(
    kind: str, precision: str, tmp_path: Path
) -> None:
    from peft import PeftModel

    published(kind, precision, tmp_path)
    full, theirs = (models.load(shared_tiny_model(kind), FP32) for _ in range(2))
    theirs.model = PeftModel.from_pretrained(theirs.model, tmp_path)  # a warning would be an error here
    with attached(full.model, [adapter_files.read(tmp_path)]):
        ours = full.model(some_ids(1)).logits
    torch.testing.assert_close(theirs.model.eval()(some_ids(1)).logits, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_base_and_adapter_answer_side_by_side_as_they_do_alone(precision: str, tmp_path: Path) -> None:
    base = published("llama", precision, tmp_path)
    adapter = adapter_files.read(tmp_path)
    asked = [{"role": "user", "content": "Question 1: what is bread?"}]

    def texts(*contestants: adapter_files.AdapterOnDisk | None) -> list[str]:
        return list(generate.compare(base, contestants, asked, max_tokens=8))[-1].texts

    together = texts(None, adapter)
    assert together == [*texts(None), *texts(adapter)]
    assert together[0] != together[1]


def trained_on(precision: str, device: Device = FP32) -> tuple[LoadedBase, Fitted, list[StepReport]]:
    base = load("llama", precision, device)
    prepared = prepare(base.tokenizer, tiny_rows(48), SETTINGS, 256)
    fitted = fit(base.model, SETTINGS)
    return base, fitted, list(train(base, fitted, prepared, SETTINGS))
