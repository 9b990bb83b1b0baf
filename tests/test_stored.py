"""Training on from a stored adapter: every method takes in what it has stored, and goes on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import adapter_files, models
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.fitted import Fitted
from engine.methods.stored import load_stored
from engine.passes import summed_loss
from engine.settings import RunSettings, parse
from engine.shape import SHAPE, continued
from engine.train import Prepared, prepare, train
from tests.tiny import make_tiny_model, tiny_rows

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
SHORT = {"epochs": 1, "batch_size": 4, "learning_rate": 5e-3, "validation_share": 0.2}

# "Q" stands for an attention layer, "E" for the embedding.
WAYS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 5, "alpha": 15},
    "rslora": {"rank": 9, "alpha": 6, "rank_stabilised": True},
    "dora": {"method": "dora", "rank": 5, "alpha": 10},
    "pissa": {"start": "pissa", "rank": 6, "alpha": 12},
    "pissa and rslora": {"start": "pissa", "rank": 4, "alpha": 4, "rank_stabilised": True},
    "pissa and patterns": {
        "start": "pissa",
        "rank": 6,
        "alpha": 12,
        "rank_pattern": {"Q": 3},
        "alpha_pattern": {"Q": 5},
    },
    "a rank and an alpha by name": {"rank_pattern": {"Q": 3}, "alpha_pattern": {"Q": 5.0}},
    "one block": {"layers": [1]},
    "the tied embedding in full": {"target_modules": ["Q"], "train_in_full": ["E"]},
    "all biases": {"bias": "all"},
    "biases of adapted layers": {"bias": "lora_only", "target_modules": ["Q"]},
    "soft prompt": {"method": "prompt", "prompt_tokens": 5},
    "bottleneck": {"method": "bottleneck", "bottleneck": 8},
    "bitfit": {"method": "bitfit"},
    "norms": {"method": "norms"},
    "the last block": {"method": "blocks", "blocks": 1},
    "full": {"method": "full"},
}
NAMES = {"llama": {"Q": "q_proj", "E": "embed_tokens"}, "gpt2": {"Q": "c_attn", "E": "wte"}}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> models.LoadedBase:
    base = models.load(make_tiny_model(tmp_path_factory.mktemp("models") / request.param, request.param), CPU)
    for module in base.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # GPT-2's own, which would tell a loss in training from one outside of it
    return base


def settings_of(base: models.LoadedBase, way: dict[str, Any]) -> RunSettings:
    names = NAMES[base.model.config.model_type]

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [names.get(one, one) for one in value]
        return {names.get(key, key): one for key, one in value.items()} if isinstance(value, dict) else value

    return parse({**SHORT, **{key: named(value) for key, value in way.items()}})


def stored(base: models.LoadedBase, settings: RunSettings, folder: Path) -> adapter_files.AdapterOnDisk:
    """An adapter that a short run has stored."""
    return stored_with_logits(base, settings, folder)[0]


def stored_with_logits(
    base: models.LoadedBase, settings: RunSettings, folder: Path
) -> tuple[adapter_files.AdapterOnDisk, Tensor]:
    """The adapter, and what the model computed at the end of the run."""
    fitted = fit(base.model, settings)
    for _ in train(base, fitted, rows(base, settings), settings):
        pass
    tensors, at_the_end = fitted.tensors(), logits(base)
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=settings, model=base.model)
    return adapter_files.read(folder), at_the_end


def rows(base: models.LoadedBase, settings: RunSettings) -> Prepared:
    return prepare(base.tokenizer, tiny_rows(20), settings, 256)


def taken_over(base: models.LoadedBase, settings: RunSettings, adapter: adapter_files.AdapterOnDisk) -> Fitted:
    fitted = fit(base.model, continued(settings))
    load_stored(fitted, adapter)
    return fitted


def logits(base: models.LoadedBase) -> Tensor:
    base.model.eval()
    with torch.no_grad():
        out: Tensor = base.model(input_ids=torch.arange(3, 33)[None]).logits
    return out


@pytest.fixture
def settings(base: models.LoadedBase, way: str) -> RunSettings:
    if way == "bitfit" and base.model.config.model_type == "llama":
        pytest.skip("this model has no biases")
    return settings_of(base, WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_a_stored_adapter_that_is_taken_over_computes_what_it_computes_when_attached(
    base: models.LoadedBase, settings: RunSettings, tmp_path: Path
) -> None:
    untouched = logits(base)
    adapter, at_the_end = stored_with_logits(base, settings, tmp_path)
    with attached(base.model, [adapter]):
        expected = logits(base)
    fitted = taken_over(base, settings, adapter)
    found = logits(base)
    assert (expected - untouched).abs().max() > 1e-3
    # Attached, low-rank adapters are summed in another order; PiSSA is summed otherwise while it trains.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if adapter.low_rank else 0)
    torch.testing.assert_close(found, at_the_end, rtol=0, atol=1e-5 if settings.start == "pissa" else 0)
    fitted.remove()
    assert torch.equal(logits(base), untouched)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_taken_over_and_stored_again_is_the_same_to_the_bit(
    base: models.LoadedBase, settings: RunSettings, tmp_path: Path
) -> None:
    adapter = stored(base, settings, tmp_path)
    fitted = taken_over(base, settings, adapter)
    (tmp_path / "again").mkdir()
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(tmp_path / "again", tensors, base_name="tiny", settings=continued(settings), model=base.model)
    for name in (adapter_files.WEIGHTS, adapter_files.CONFIG, adapter_files.OWN_CONFIG):
        if (tmp_path / name).exists():
            assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize("way", WAYS)
def test_training_goes_on_from_the_adapter_and_not_from_the_base(
    base: models.LoadedBase, settings: RunSettings, tmp_path: Path
) -> None:
    whole_batch = continued(settings).model_copy(update={"batch_size": 64, "micro_batch": 64})
    prepared = rows(base, whole_batch)
    answers = sum(e.answer_tokens for e in prepared.train)
    adapter = stored(base, settings, tmp_path)
    with torch.no_grad():
        of_the_base = summed_loss(base, prepared.train).item() / answers
    fitted = taken_over(base, settings, adapter)
    with torch.no_grad():
        own = summed_loss(base, prepared.train).item() / answers
    before, first = (report for report, _ in zip(train(base, fitted, prepared, whole_batch), range(2), strict=False))
    fitted.remove()
    assert before.step == 0
    assert first.loss == pytest.approx(own, rel=1e-5)
    assert abs(own - of_the_base) > 1e-3 * of_the_base


def test_every_setting_that_makes_an_adapter_what_it_is_is_named_once() -> None:
    how = {
        "learning_rate",
        "epochs",
        "batch_size",
        "micro_batch",
        "length",
        "loss_on",
        "chat_template",
        "validation_share",
        "schedule",
        "warmup",
    }
    how |= {"dropout", "weight_decay", "max_gradient_norm", "seed", "max_seconds", "b_ratio", "gradient_checkpointing"}
    how.add("compiled")
    assert set(SHAPE) | how == set(RunSettings.model_fields)
    assert not set(SHAPE) & how
    assert len(set(SHAPE)) == len(SHAPE)


def test_an_adapter_of_another_shape_is_refused_and_nothing_is_written(base: models.LoadedBase, tmp_path: Path) -> None:
    adapter = stored(base, parse({**SHORT, "rank": 4, "alpha": 8}), tmp_path)
    for other, words in (
        ({"rank": 8, "alpha": 16}, "has the shape"),
        ({"rank": 4, "alpha": 16}, "multiplied by 2, here by 4"),
        ({"rank": 4, "alpha": 8, "layers": [0]}, "belongs to nothing"),
        ({"method": "norms"}, "is missing"),
    ):
        fitted = fit(base.model, parse(other))
        before = fitted.tensors()
        with pytest.raises(ValueError, match=words):
            load_stored(fitted, adapter)
        assert all(torch.equal(value, before[name]) for name, value in fitted.tensors().items())
        fitted.remove()


def test_an_adapter_that_has_cut_a_tie_is_refused(base: models.LoadedBase, tmp_path: Path) -> None:
    settings = settings_of(base, WAYS["the tied embedding in full"])
    adapter = replace(stored(base, settings, tmp_path), tied=False)
    fitted = fit(base.model, settings)
    with pytest.raises(ValueError, match="apart from what shares it"):
        load_stored(fitted, adapter)
    fitted.remove()


def test_a_pissa_run_goes_on_as_a_lora_of_twice_the_rank_and_the_same_factor() -> None:
    plain = parse({"start": "pissa", "rank": 8, "alpha": 4, "rank_pattern": {"q": 3}, "alpha_pattern": {"q": 5}})
    stabilised = plain.model_copy(update={"rank_stabilised": True})
    for settings in (plain, stabilised):
        after = continued(settings)
        assert after.start == "gaussian"
        for path in ("a.q", "a.v"):
            (rank, alpha), (rank_after, alpha_after) = settings.shape_of(path), after.shape_of(path)
            assert rank_after == 2 * rank
            assert after.scaling(rank_after, alpha_after) == pytest.approx(settings.scaling(rank, alpha))
        assert continued(after) == after
