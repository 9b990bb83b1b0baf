"""Merging: the matrices are PEFT's, the logits stay, the base comes back, and the folder is a model of its own."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine import adapter_files, models
from engine.adapter_files import AdapterError
from engine.merge import cannot_merge, merged, merged_weight, save_merged
from engine.methods.attach import attached
from engine.methods.lora import LowRank
from engine.quantised import dequantised
from tests.test_methods import ALL, CPU, IN_PEFT, _ids, _in_peft, _logits, _written
from tests.tiny import make_tiny_model

MERGED = [kind for kind in ALL if kind not in ("soft prompt", "bottleneck")]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture
def base(folder: Path) -> models.LoadedBase:
    return models.load(folder, CPU)


@pytest.mark.parametrize("kind", MERGED)
def test_merged_and_unmerged_logits_agree_and_the_base_comes_back(
    base: models.LoadedBase, kind: str, tmp_path: Path
) -> None:
    before = {name: (p, p.clone()) for name, p in base.model.named_parameters()}
    adapter = _written(base, ALL[kind], tmp_path)
    with attached(base.model, [adapter]):
        beside = _logits(base.model, _ids())
    with merged(base.model, adapter):
        inside = _logits(base.model, _ids())
    torch.testing.assert_close(inside, beside, atol=1e-5, rtol=0)
    for name, parameter in base.model.named_parameters():
        assert parameter is before[name][0]
        assert torch.equal(parameter, before[name][1])


@pytest.mark.parametrize("kind", [kind for kind in MERGED if kind in IN_PEFT])
def test_merged_matrices_are_those_of_peft(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    adapter = _written(base, ALL[kind], tmp_path)
    theirs = dict(_in_peft(base, tmp_path).merge_and_unload().named_parameters())
    changed = 0
    start = {name: p.clone() for name, p in base.model.named_parameters()}
    with merged(base.model, adapter):
        for name, ours in base.model.named_parameters():
            torch.testing.assert_close(ours, theirs[name], atol=1e-6, rtol=0)
            changed += not torch.equal(ours, start[name])
    assert changed


@pytest.mark.parametrize("kind", MERGED)
def test_a_merged_folder_is_a_base_model_of_its_own(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    source, target = tmp_path / "adapter", tmp_path / "merged"
    source.mkdir()
    adapter = _written(base, ALL[kind], source)
    with attached(base.model, [adapter]):
        expected = _logits(base.model, _ids())
    before = _logits(base.model, _ids())
    assert save_merged(base, adapter, target) == "float32"
    assert torch.equal(_logits(base.model, _ids()), before)
    models.check_folder(target)
    torch.testing.assert_close(_logits(models.load(target, CPU).model, _ids()), expected, atol=1e-5, rtol=0)


def test_merging_into_a_quantised_base_dequantises_and_saves_bf16(base: models.LoadedBase, tmp_path: Path) -> None:
    few_bits = models.load(base.path, precision="nf4")
    source, target = tmp_path / "adapter", tmp_path / "merged"
    source.mkdir()
    adapter = _written(base, ALL["lora"], source)
    assert save_merged(few_bits, adapter, target) == "bfloat16"
    whole: Any = AutoModelForCausalLM.from_pretrained(target)
    assert not hasattr(whole.config, "quantization_config")
    assert {p.dtype for p in whole.parameters()} == {torch.bfloat16}
    for path, update in adapter.low_rank.items():
        rebuilt = dequantised(few_bits.model.get_submodule(path))
        expected = (rebuilt + update.scaling * (update.b @ update.a)).bfloat16()
        kept = whole.get_submodule(path).weight
        assert torch.equal(kept.T if base.path.name == "gpt2" else kept, expected)
    with pytest.raises(ValueError, match="is quantised and cannot hold"), merged(few_bits.model, adapter):
        pass


def test_merged_weights_are_held_in_fp32_one_at_a_time(
    base: models.LoadedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = models.load(base.path, models.Device("cpu", "CPU", torch.bfloat16, "a test"))
    (tmp_path / "adapter").mkdir()
    adapter = _written(base, ALL["lora"], tmp_path / "adapter")
    made: list[weakref.ref[torch.Tensor]] = []

    def watched(layer: Any, update: LowRank) -> torch.Tensor:
        assert [one() for one in made if one() is not None] == []
        weight = merged_weight(layer, update)
        made.append(weakref.ref(weight))
        return weight

    monkeypatch.setattr("engine.merge.merged_weight", watched)
    assert save_merged(half, adapter, tmp_path / "merged") == "bfloat16"
    assert len(made) == len(adapter.low_rank) > 1


@pytest.mark.parametrize("kind", ["soft prompt", "bottleneck"])
def test_what_is_no_change_of_weights_is_refused_in_words(base: models.LoadedBase, kind: str, tmp_path: Path) -> None:
    adapter = _written(base, ALL[kind], tmp_path)
    assert "cannot be merged" in cannot_merge(adapter.method)
    with pytest.raises(
        AdapterError, match=r"stands beside the weights, so it cannot be merged\. Download it as it is\."
    ):
        save_merged(base, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_a_head_with_an_adapter_is_cut_loose_from_the_embedding(base: models.LoadedBase, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    other: Any = get_peft_model(models.load(base.path, CPU).model, LoraConfig(r=4, target_modules=["lm_head"]))
    with torch.no_grad():
        other.base_model.model.lm_head.lora_B["default"].weight.normal_(std=0.1)
    other.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    adapter = adapter_files.read(tmp_path / "adapter")
    expected = _logits(other.eval(), _ids())
    with attached(base.model, [adapter]):
        torch.testing.assert_close(_logits(base.model, _ids()), expected, atol=1e-5, rtol=0)
    save_merged(base, adapter, tmp_path / "merged")
    found = _logits(models.load(tmp_path / "merged", CPU).model, _ids())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert base.model.get_output_embeddings().weight is base.model.get_input_embeddings().weight


def test_a_merge_of_the_wrong_base_changes_nothing(base: models.LoadedBase, tmp_path: Path) -> None:
    other_kind = "gpt2" if base.path.name == "llama" else "llama"
    other = models.load(make_tiny_model(tmp_path / other_kind, other_kind), CPU)
    (tmp_path / "adapter").mkdir()
    adapter = _written(other, ALL["lora"], tmp_path / "adapter")
    before = _logits(base.model, _ids())
    with pytest.raises(AdapterError, match="another base model"), merged(base.model, adapter):
        pass
    assert torch.equal(_logits(base.model, _ids()), before)
