"""Quantised bases: what is kept in few bits, that it is the arithmetic of the papers, and that nothing leaks."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from engine import models, quantised
from engine.methods import fit
from engine.methods.fitted import Fitted
from engine.methods.inject import linear_layers
from engine.misfits import misfits
from engine.models import Device, LoadedBase, ModelError
from engine.settings import RunSettings
from jobs import process
from tests import architectures
from tests.tiny import make_tiny_model
from tests.workshop import shared_tiny_model

FP32 = Device("cpu", "CPU", torch.float32, "a test")
BF16 = Device("cpu", "CPU", torch.float32, "a test", compute_dtype=torch.bfloat16)
PRECISIONS = ["nf4", "int8"]
KINDS = ["llama", "gpt2"]
SETTINGS = RunSettings(batch_size=8, learning_rate=1e-2, epochs=2, rank=4, alpha=8)

# QLoRA, arXiv 2305.14314, appendix E: the 16 values of NF4.
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def load(kind: str, precision: str, device: Device = FP32) -> LoadedBase:
    return models.load(shared_tiny_model(kind), device, precision)


def layers_of(model: nn.Module) -> dict[str, Any]:
    return {path: layer for path, layer in linear_layers(model).items() if quantised.is_quantised(layer)}


def full_weight(kind: str, path: str) -> Tensor:
    """The weight as it is on disk, O x I."""
    weight = load_file(shared_tiny_model(kind) / "model.safetensors")[f"{path}.weight"]
    return weight.T if kind == "gpt2" else weight


def some_ids(rows: int = 3) -> Tensor:
    return torch.randint(3, 380, (rows, 24), generator=torch.Generator().manual_seed(1))


def put_on(base: LoadedBase) -> Fitted:
    """Put an adapter on that does something; the same on every model of a kind."""
    fitted = fit(base.model, SETTINGS)
    draw = torch.Generator().manual_seed(3)
    fitted.load({name: 0.1 * torch.randn(p.shape, generator=draw) for name, p in fitted.trained.items()})
    return fitted


def with_lora(base: LoadedBase) -> dict[str, nn.Parameter]:
    """What is trained of the adapter that `put_on` puts on."""
    return put_on(base).trained


def gradients(model: Any, trained: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    logits = model(some_ids()).logits
    wanted = some_ids()[:, 1:]
    torch.autograd.backward(F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), wanted.reshape(-1)))
    return {name: p.grad for name, p in trained.items() if p.grad is not None}


# --- the weights --------------------------------------------------------------------------------------------------


def nearest(values: Tensor, levels: Tensor) -> Tensor:
    """The level nearest to each value, by looking at all of them."""
    return levels[(values[..., None] - levels).abs().argmin(-1)]


@pytest.mark.parametrize("kind", KINDS)
def test_nf4_weights_are_the_nearest_of_the_papers_values_times_the_scale_of_their_block(kind: str) -> None:
    for path, layer in layers_of(load(kind, "nf4").model).items():
        blocks = full_weight(kind, path).reshape(-1, 64)
        rebuilt = quantised.dequantised(layer)
        assert rebuilt.dtype == torch.float32
        scales = rebuilt.reshape(-1, 64).abs().amax(1, keepdim=True)
        expected = nearest(blocks / blocks.abs().amax(1, keepdim=True), torch.tensor(NF4)) * scales
        torch.testing.assert_close(rebuilt, expected.reshape(rebuilt.shape), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scales_of_nf4_are_quantised_once_more_to_8_bits_around_their_mean(kind: str) -> None:
    for path, layer in layers_of(load(kind, "nf4").model).items():
        scales = full_weight(kind, path).reshape(-1, 64).abs().amax(1)
        kept = quantised.dequantised(layer).reshape(-1, 64).abs().amax(1)
        codes = layer.state.state2.code
        for before, after in zip((scales - scales.mean()).split(256), (kept - scales.mean()).split(256), strict=True):
            largest = before.abs().max()
            before, after = before / largest, after / largest
            assert (nearest(after, codes) - after).abs().max() < 1e-4
            # bitsandbytes takes the next but one where it hardly matters
            second = (before[:, None] - codes).abs().sort(1).values[:, 1]
            assert ((after - before).abs() <= second + 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_int8_weights_are_rounded_to_127_steps_of_their_row(kind: str) -> None:
    for path, layer in layers_of(load(kind, "int8").model).items():
        weight = full_weight(kind, path).half().float()  # bitsandbytes rounds what it reads to fp16
        step = weight.abs().amax(1, keepdim=True) / 127
        wrong = (quantised.dequantised(layer) - weight).abs()
        assert (wrong <= 0.502 * step).all()
        assert (quantised.dequantised(layer) / step).frac().abs().sub(0.5).abs().gt(0.49).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_multiplies_with_the_weight_that_it_tells(kind: str, precision: str) -> None:
    for layer in layers_of(load(kind, precision).model).values():
        x = torch.randn(5, layer.in_features)
        expected = F.linear(x, quantised.dequantised(layer), layer.bias)
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-6)


def test_the_weight_of_a_plain_layer_is_given_as_out_by_in_and_is_a_copy() -> None:
    plain = nn.Linear(3, 2)
    assert torch.equal(quantised.dequantised(plain), plain.weight)
    quantised.dequantised(plain).zero_()
    assert plain.weight.any()
    conv = models.load(shared_tiny_model("gpt2"), FP32).model.transformer.h[0].attn.c_attn
    assert torch.equal(quantised.dequantised(conv), conv.weight.T)


@pytest.mark.parametrize(("precision", "bits"), [("nf4", 4.127), ("int8", 8)])
def test_a_quantised_weight_takes_the_bits_it_promises(precision: str, bits: float) -> None:
    layer = layers_of(load("llama", precision).model)["model.layers.0.mlp.gate_proj"]
    held = layer.weight.numel() * layer.weight.element_size()
    if precision == "nf4":
        held += layer.state.absmax.numel()  # one byte for 64 weights
    assert 8 * held / (layer.in_features * layer.out_features) == pytest.approx(bits, abs=0.01)


# --- which layers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_layers_of_the_blocks_are_quantised_and_nothing_else(kind: str, precision: str) -> None:
    model = load(kind, precision).model
    full = models.load(shared_tiny_model(kind), FP32).model
    assert list(layers_of(model)) == list(linear_layers(full))
    inside = [f"{path}.weight" for path in linear_layers(full)]
    for name, parameter in full.named_parameters():
        if name not in inside:
            assert torch.equal(model.get_parameter(name), parameter)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert not any(p.requires_grad for p in model.parameters())


def tiny_llama(folder: Path, **changes: Any) -> Path:
    """The tiny llama with another shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    make_tiny_model(folder)
    config = AutoConfig.from_pretrained(folder)
    for name, value in changes.items():
        setattr(config, name, value)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def test_a_layer_whose_rows_are_no_whole_blocks_stays_full_in_nf4(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "odd", intermediate_size=96)
    model = models.load(folder, FP32, "nf4").model
    kept = [path for path, layer in linear_layers(model).items() if not quantised.is_quantised(layer)]
    assert kept == [f"model.layers.{block}.mlp.down_proj" for block in (0, 1)]
    assert len(layers_of(models.load(folder, FP32, "int8").model)) == 14


def test_a_base_without_any_such_layer_is_refused_in_words(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "odd", hidden_size=48, intermediate_size=96, head_dim=12)
    with pytest.raises(ModelError, match=r"No layer of .* can be kept in NF4") as told:
        models.load(folder, FP32, "nf4")
    assert len(told.value.problems) == 1
    facts = models.describe(folder)  # from which page and command line say it before the start
    assert misfits(facts, RunSettings(base_precision="nf4"), "odd") == [
        "odd has no layer that can be kept in NF4. Choose the base precision Full."
    ]
    assert misfits(facts, RunSettings(base_precision="int8"), "odd") == []


def test_experts_that_are_one_tensor_stay_full(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = make_tiny_model(tmp_path / "mixture")
    config = MixtralConfig(
        vocab_size=384, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2, head_dim=32,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(folder)
    model = models.load(folder, FP32, "nf4").model
    assert {path.rpartition(".")[2] for path in layers_of(model)} >= {"q_proj", "o_proj"}
    assert {p.dtype for p in model.parameters() if p.ndim == 3} == {torch.float32}
    assert model(some_ids()).logits.isfinite().all()


def wider(value: Any) -> Any:
    """A config of `tests.architectures` with rows of 64, which NF4 takes."""
    if isinstance(value, dict):
        return {name: wider(one) for name, one in value.items()}
    return {32: 64, 48: 64}.get(value, value) if isinstance(value, int) else value


@pytest.mark.parametrize("name", architectures.ALL)
def test_every_architecture_can_be_trained_on_a_base_in_few_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = architectures.ALL[name]
    monkeypatch.setitem(architectures.ALL, name, dataclasses.replace(made, config=wider(made.config)))
    folder = architectures.make_architecture(tmp_path / "model", name)
    for precision in PRECISIONS:
        base = models.load(folder, FP32, precision)
        fits = [
            path for path, one in linear_layers(base.model).items() if precision == "int8" or not one.in_features % 64
        ]
        assert list(layers_of(base.model)) == fits
        assert set(fits) <= set(made.layers)
        assert len(fits) > len(made.layers) / 2
        gradient = gradients(base.model, with_lora(base))
        assert all(one.any() for path, one in gradient.items() if "lora_A" in path)


# --- nothing leaks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_neither_later_tokens_nor_other_rows_change_a_logit(kind: str, precision: str, device: Device) -> None:
    model = load(kind, precision, device).model
    ids = some_ids()
    logits = model(ids).logits
    other = ids.clone()
    other[:, 12:] = 300
    assert torch.equal(model(other).logits[:, :12], logits[:, :12])
    other = ids.clone()
    other[1:] = 300
    assert torch.equal(model(other).logits[0], logits[0])


@pytest.mark.parametrize(("device", "rounding"), [(FP32, 1e-6), (BF16, 2e-2)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_a_row_alone_is_the_row_in_company_to_rounding(precision: str, device: Device, rounding: float) -> None:
    model = load("llama", precision, device).model
    ids = some_ids()
    together, alone = model(ids).logits[0], model(ids[:1]).logits[0]
    assert (together - alone).abs().max() <= rounding * together.abs().max()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_and_answering_compute_the_same(precision: str) -> None:
    model = load("llama", precision).model
    answered = model(some_ids()).logits
    assert torch.equal(model.train()(some_ids()).logits, answered)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bf16_products_are_those_of_fp32_to_rounding(precision: str) -> None:
    exact, rounded = (load("llama", precision, device).model(some_ids()).logits for device in (FP32, BF16))
    assert exact.dtype == rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().mean() < 0.02 * exact.abs().max()


# --- the package --------------------------------------------------------------------------------------------------


def test_bitsandbytes_is_imported_for_a_quantised_base_only_and_fetches_no_code(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("raise SystemExit('foreign kernels were asked for')")
    code = (
        "import sys; from pathlib import Path; from torch import nn; from engine import models, quantised\n"
        f"base = models.load(Path({str(shared_tiny_model())!r}))\n"
        "quantised.dequantised(base.model.model.layers[0].mlp.up_proj)\n"
        "assert 'bitsandbytes' not in sys.modules\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "print('from here on', file=sys.stderr)\n"
        "quantised.import_bitsandbytes()\n"
        "assert 'kernels' not in sys.modules\n"
        "import kernels\n"
    )
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=process.environment()
    )
    # The last line shows that the bait was there to be taken.
    assert said.stderr.partition("from here on")[2].strip() == "foreign kernels were asked for"


def test_without_bitsandbytes_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match="needs the package bitsandbytes") as told:
        load("llama", "nf4")
    assert len(told.value.problems) == 2
