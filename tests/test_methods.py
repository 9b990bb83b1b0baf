"""Every method on whole models: exact against PEFT, stored and read again, and gone without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import adapter_files, models
from engine.methods import fit
from engine.methods.attach import attached, groups
from engine.methods.fitted import Fitted
from engine.settings import RunSettings, parse
from engine.train import prepare, train
from tests.tiny import make_tiny_model, tiny_rows

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
ATTENTION = {"llama": "q_proj", "gpt2": "c_attn"}
EMBEDDING = {"llama": "embed_tokens", "gpt2": "wte"}
LAST = {"llama": "model.layers.1.mlp.down_proj", "gpt2": "transformer.h.1.mlp.c_proj"}

# What PEFT has as well. "Q" stands for an attention layer, "E" for the embedding, "L" for one layer by its path.
IN_PEFT: dict[str, dict[str, Any]] = {
    "lora": {"rank": 5, "alpha": 15},
    "rslora": {"rank": 9, "alpha": 6, "rank_stabilised": True},
    "dora": {"method": "dora", "rank": 5, "alpha": 10},
    "dora and rslora": {"method": "dora", "rank": 4, "alpha": 8, "rank_stabilised": True},
    "pissa": {"start": "pissa", "rank": 6, "alpha": 12},
    "pissa and rslora": {"start": "pissa", "rank": 4, "alpha": 4, "rank_stabilised": True},
    "a rank and an alpha by name": {"rank_pattern": {"Q": 3}, "alpha_pattern": {"Q": 5.0}},
    "a rank and an alpha by path": {"rank_pattern": {"L": 3}, "alpha_pattern": {"L": 5.0}},
    "one block": {"layers": [1]},
    "one layer": {"target_modules": ["L"]},
    "the embedding in full": {"target_modules": ["Q"], "train_in_full": ["E"]},
    "all biases": {"bias": "all"},
    "biases of adapted layers": {"bias": "lora_only", "target_modules": ["Q"]},
    "dora with biases": {"method": "dora", "bias": "all"},
    "soft prompt": {"method": "prompt", "prompt_tokens": 5},
}
OF_OURS: dict[str, dict[str, Any]] = {
    "bottleneck": {"method": "bottleneck", "bottleneck": 8},
    "bitfit": {"method": "bitfit"},
    "norms": {"method": "norms"},
    "the last block": {"method": "blocks", "blocks": 1},
    "full": {"method": "full"},
}
ALL = {**IN_PEFT, **OF_OURS}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture
def base(folder: Path) -> models.LoadedBase:
    return models.load(folder, CPU)


def _settings(base: models.LoadedBase, values: dict[str, Any], **more: Any) -> RunSettings:
    kind = base.path.name
    names = {"Q": ATTENTION[kind], "E": EMBEDDING[kind], "L": LAST[kind]}

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {names.get(key, key): number for key, number in value.items()}
        return [names.get(one, one) for one in value] if isinstance(value, list) else value

    return parse({key: named(value) for key, value in {**values, **more}.items()})


def _fitted(base: models.LoadedBase, values: dict[str, Any]) -> tuple[Fitted, RunSettings]:
    """The method on the base, moved off its start, so that it does something."""
    settings = _settings(base, values)
    if base.path.name == "llama" and values == {"method": "bitfit"}:
        pytest.skip("Llama has no biases; that this is told is tested elsewhere")
    fitted = fit(base.model, settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in fitted.trained.values():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return fitted, settings


def _written(base: models.LoadedBase, values: dict[str, Any], folder: Path) -> adapter_files.AdapterOnDisk:
    """An adapter of that kind, on disk and read again; the base is as it was."""
    fitted, settings = _fitted(base, values)
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=settings, model=base.model)
    return adapter_files.read(folder)


def _ids() -> Tensor:
    return torch.randint(3, 300, (3, 17), generator=torch.Generator().manual_seed(5))


def _in_peft(base: models.LoadedBase, folder: Path, trainable: bool = False) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(models.load(base.path, CPU).model, folder, is_trainable=trainable).eval()


def _logits(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(ids).logits
    return logits[:, -ids.shape[1] :]  # PEFT keeps the places of a soft prompt


@pytest.mark.parametrize("kind", ALL)
def test_off_is_the_base_bit_for_bit(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    before = _logits(base.model, _ids())
    fitted, _ = _fitted(base, ALL[kind])
    assert not torch.equal(_logits(base.model, _ids()), before)
    fitted.remove()
    assert torch.equal(_logits(base.model, _ids()), before)
    assert not any(p.requires_grad for p in base.model.parameters())

    adapter = _written(base, ALL[kind], tmp_path)
    with attached(base.model, [adapter]):
        assert not torch.equal(_logits(base.model, _ids()), before)
    assert torch.equal(_logits(base.model, _ids()), before)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in ("soft prompt", "bitfit")])
def test_step_zero_is_the_base(base: models.LoadedBase, kind: str) -> None:
    before = _logits(base.model, _ids())
    fit(base.model, _settings(base, ALL[kind]))
    assert torch.equal(_logits(base.model, _ids()), before)


@pytest.mark.parametrize("kind", ALL)
def test_what_is_stored_computes_what_was_trained(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    fitted, _ = _fitted(base, ALL[kind])
    trained = _logits(base.model, _ids())
    fitted.remove()
    adapter = _written(base, ALL[kind], tmp_path)
    adapter_files.check_fits(adapter, base.model)
    with attached(base.model, [adapter]):
        torch.testing.assert_close(_logits(base.model, _ids()), trained, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in IN_PEFT if "pissa" not in kind])  # see test_pissa.py
def test_what_is_stored_opens_in_peft_with_the_same_logits(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    adapter = _written(base, IN_PEFT[kind], tmp_path)
    theirs = _logits(_in_peft(base, tmp_path), _ids())
    fitted = fit(base.model, _settings(base, IN_PEFT[kind]))
    with torch.no_grad():
        _move(fitted)
    ours = _logits(base.model, _ids())
    fitted.remove()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert adapter.method in ("lora", "dora", "prompt")


def _move(fitted: Fitted) -> None:
    generator = torch.Generator().manual_seed(3)
    for parameter in fitted.trained.values():
        parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", [kind for kind in IN_PEFT if "pissa" not in kind and kind != "soft prompt"])
def test_gradients_are_those_of_peft(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    _written(base, IN_PEFT[kind], tmp_path)
    other = _in_peft(base, tmp_path, trainable=True)
    fitted, _ = _fitted(base, IN_PEFT[kind])
    ids = _ids()
    _learn(base.model, ids)
    _learn(other, ids)
    theirs = {_plain(name): p.grad for name, p in other.named_parameters() if p.grad is not None}
    ours = {_plain(name): p.grad for name, p in fitted.trained.items()}
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert gradient is not None
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-4)


def test_the_gradient_of_a_soft_prompt_is_that_of_peft(base: models.LoadedBase) -> None:
    from peft import PromptTuningConfig, get_peft_model

    fitted, settings = _fitted(base, IN_PEFT["soft prompt"])
    (prompt,) = fitted.trained.values()
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings.prompt_tokens)
    other: Any = get_peft_model(models.load(base.path, CPU).model, config)
    theirs = other.prompt_encoder["default"].embedding.weight
    theirs.data = prompt.detach().clone()
    _learn(base.model, _ids())
    _learn(other, _ids())
    torch.testing.assert_close(prompt.grad, theirs.grad, atol=1e-5, rtol=1e-4)


def _learn(model: Any, ids: Tensor) -> None:
    logits = model(ids).logits[:, -ids.shape[1] :]
    loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.autograd.backward(loss)


def _plain(name: str) -> str:
    """A parameter's name without the words that PEFT and its files put in."""
    for word in ("base_model.model.", ".modules_to_save", ".default", ".weight", ".base_layer"):
        name = name.replace(word, "")
    return name


@pytest.mark.parametrize("kind", ALL)
def test_every_method_learns(base: models.LoadedBase, kind: str) -> None:
    rate = {"prompt": 0.1, "norms": 0.05, "bitfit": 0.05}.get(ALL[kind].get("method", "lora"), 5e-3)
    settings = _settings(base, ALL[kind], batch_size=4, epochs=3, learning_rate=rate, validation_share=0.2)
    if base.path.name == "llama" and settings.method == "bitfit":
        with pytest.raises(ValueError, match="has no biases"):
            fit(base.model, settings)
        return
    frozen = {name: p.clone() for name, p in base.model.named_parameters()}
    fitted = fit(base.model, settings)
    first, *_, last = train(base, fitted, prepare(base.tokenizer, tiny_rows(24), settings, 256), settings)
    assert first.validation_loss is not None
    assert last.validation_loss is not None
    assert last.validation_loss < first.validation_loss - 0.05
    fitted.remove()
    assert all(torch.equal(p, frozen[name]) for name, p in base.model.named_parameters())


def test_contestants_that_change_the_base_answer_alone(base: models.LoadedBase, tmp_path: Path) -> None:
    low, whole = tmp_path / "low", tmp_path / "whole"
    low.mkdir()
    whole.mkdir()
    one = _written(base, IN_PEFT["dora"], low)
    two = _written(base, OF_OURS["norms"], whole)
    assert groups([two, None, one, two]) == [[1, 2], [0, 3]]
    with pytest.raises(ValueError, match="cannot answer in one batch"), attached(base.model, [one, two]):
        pass


def test_a_dora_beside_a_lora_and_the_base_answers_as_it_does_alone(base: models.LoadedBase, tmp_path: Path) -> None:
    written = []
    for kind in ("lora", "dora with biases", "dora"):
        place = tmp_path / kind
        place.mkdir()
        if "biases" not in kind:
            written.append(_written(base, IN_PEFT[kind], place))
    contestants = [None, *written]
    ids = _ids()[:1]
    alone = []
    for one in contestants:
        with attached(base.model, [one]):
            alone.append(_logits(base.model, ids)[0])
    with attached(base.model, contestants):
        together = _logits(base.model, ids.expand(3, -1))
    for row, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)
    assert float((together[1] - together[2]).abs().max()) > 1e-3


def test_a_tied_head_follows_an_embedding_that_is_trained(base: models.LoadedBase) -> None:
    fitted, _ = _fitted(base, IN_PEFT["the embedding in full"])
    head, embedding = base.model.get_output_embeddings(), base.model.get_input_embeddings()
    assert head.weight is embedding.weight
    assert head.weight.requires_grad
    fitted.remove()
    assert head.weight is embedding.weight


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"layers": [7]}, "no such layers in block 7. It has them in 0, 1"),
        ({"train_in_full": ["nothing"]}, "no modules called nothing. It has: "),
        ({"train_in_full": ["Q"]}, "cannot be trained in full and get an adapter as well"),
        ({"target_modules": ["L"], "rank_pattern": {"Q": 3}}, "Rank or alpha is given for .*, which gets no adapter"),
        ({"start": "pissa", "rank": 65, "target_modules": ["Q"]}, "has only 64. Choose a smaller rank"),
        ({"start": "pissa", "rank_pattern": {"L": 65}, "train_in_full": ["E"]}, "has only 64. Choose a smaller rank"),
    ],
)
def test_what_a_base_has_no_place_for_is_told_and_changes_nothing(
    base: models.LoadedBase, values: dict[str, Any], told: str
) -> None:
    before = _parts(base)
    with pytest.raises(ValueError, match=told):
        fit(base.model, _settings(base, values))
    assert _parts(base) == before
    assert not any(p.requires_grad for p in base.model.parameters())


@pytest.mark.parametrize("method", ["bottleneck", "prompt", "norms"])
def test_a_method_that_fails_midway_leaves_the_base_as_it_was(
    base: models.LoadedBase, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    before, hooks = _parts(base), len(base.model._forward_pre_hooks)
    last = "selective.Fitted" if method == "norms" else "additive.Fitted"
    monkeypatch.setattr(f"engine.methods.{last}", fails)
    with pytest.raises(MemoryError):
        fit(base.model, _settings(base, {"method": method}))
    assert _parts(base) == before
    assert len(base.model._forward_pre_hooks) == hooks


def _parts(base: models.LoadedBase) -> list[tuple[str, int]]:
    """Every module and parameter of the base by its path, and which object it is."""
    held = [*base.model.named_modules(), *base.model.named_parameters(remove_duplicate=False)]
    return [(path, id(one)) for path, one in held]
