"""Adapters that the real `peft` wrote compute the same here, before and after they were taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine import adapter_files, models
from engine.adapter_files import CONFIG, WEIGHTS
from engine.methods import fit
from engine.methods.stored import load_stored
from engine.settings import parse
from tests.foreign import (
    CPU,
    IDS,
    in_peft,
    in_peft_again,
    logits_here,
    same,
)
from tests.workshop import shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each")


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of names": ("llama", {"r": 3, "lora_alpha": 10, "target_modules": ["q_proj", "down_proj"]}),
    "a path": ("llama", {"r": 3, "target_modules": ["model.layers.1.self_attn.v_proj"]}),
    "an ending of a path": ("llama", {"r": 3, "target_modules": ["self_attn.v_proj", "0.mlp.up_proj"]}),
    "a pattern": ("llama", {"r": 3, "target_modules": r".*layers\.[1-9]\..*\.(q|v)_proj"}),
    "all-linear": ("llama", {"r": 2, "target_modules": "all-linear"}),
    "all-linear, Conv1D": ("gpt2", {"r": 2, "target_modules": "all-linear", "fan_in_fan_out": True}),
    "null": ("llama", {"r": 3, "target_modules": None}),
    "null, Conv1D": ("gpt2", {"r": 3, "fan_in_fan_out": True}),
    "the head": ("gpt2", {"r": 3, "target_modules": ["c_attn", "lm_head"], "fan_in_fan_out": True}),
    "ranks and alphas": (
        "llama",
        {
            "r": 4,
            "lora_alpha": 12,
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {r"layers\.1\..*q_proj": 2, "q_proj": 5, "model.layers.0.mlp.up_proj": 3},
            "alpha_pattern": {"v_proj": 3, r"layers.\d.mlp.*": 7.5},
        },
    ),
    "some layers": ("llama", {"r": 3, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}),
    "one layer of a list": (
        "gpt2",
        {"r": 3, "target_modules": ["c_attn"], "layers_to_transform": 0, "layers_pattern": "h", "fan_in_fan_out": True},
    ),
    "some left out": ("llama", {"r": 3, "target_modules": "all-linear", "exclude_modules": ["mlp.up_proj", "q_proj"]}),
    "some left out by a pattern": ("llama", {"r": 3, "target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"}),
    "modules saved": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["ln_f", "ln_1"]}),
    "an embedding saved apart": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["wte"]}),
    "a whole part saved": ("llama", {"r": 3, "target_modules": "all-linear", "modules_to_save": ["0.mlp", "norm"]}),
    "a head saved apart": ("llama", {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "an embedding saved with its head": (
        "llama",
        {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "rank-stabilised": ("llama", {"r": 9, "lora_alpha": 16, "target_modules": ["q_proj"], "use_rslora": True}),
    "DoRA": ("llama", {"r": 3, "target_modules": ["q_proj", "down_proj"], "use_dora": True}),
    "DoRA, Conv1D": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_proj"], "use_dora": True, "use_rslora": True}),
    "all biases": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "bias": "all"}),
    "biases of its layers": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_fc"], "bias": "lora_only"}),
}
# A run adapts layers of the blocks only, and keeps what is tied.
BEYOND_A_RUN = ("the head", "a head saved apart", "an embedding saved apart")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest) -> models.LoadedBase:
    return models.load(shared_tiny_model(request.param), CPU)


def on_meta(base: models.LoadedBase) -> Any:
    """The base model without weights, as an import sees it."""
    return models.without_weights(base.path)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to:UserWarning")
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*[Tt]ied.*:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_what_peft_wrote_computes_the_same_here_and_after_it_was_taken_over(way: str, tmp_path: Path) -> None:
    kind, config = WAYS[way]
    theirs, source, target = in_peft(kind, tmp_path / "theirs", **config), tmp_path / "theirs", tmp_path / "ours"
    base = models.load(shared_tiny_model(kind), CPU)
    same(logits_here(base, source), theirs, 1e-5)  # by rows, where the scaling is folded into B

    target.mkdir()
    adapter = adapter_files.take_over(source, target, base_name="tiny", model=on_meta(base))
    assert sorted(file.name for file in target.iterdir()) == ["README.md", CONFIG, WEIGHTS]
    same(logits_here(base, target), theirs, 1e-5)
    same(in_peft_again(kind, target), theirs, 1e-6)

    if way not in BEYOND_A_RUN:  # a run goes on from it: the same layers in the same shapes, and no others
        fitted = fit(base.model, parse(adapter_files.shape_settings(adapter, on_meta(base))))
        load_stored(fitted, adapter_files.read(target))
        with torch.no_grad():
            same(base.model(IDS).logits, theirs, 1e-5 if "DoRA" in way else 1e-6)
        fitted.remove()


@pytest.mark.filterwarnings("ignore:PiSSA changes the base weights:UserWarning")
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilised"])
def test_a_pissa_adapter_that_peft_converted_computes_the_same_on_the_untouched_base(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    from peft import LoraConfig, get_peft_model

    base = models.load(shared_tiny_model(), CPU)
    start = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights="pissa", **options)
    adapted: Any = get_peft_model(models.load(shared_tiny_model(), CPU).model, start)
    adapted.peft_config["default"].init_lora_weights = True  # as PEFT's guide says: the first state is saved plain
    adapted.save_pretrained(tmp_path / "first")
    adapted.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for parameter in (p for p in adapted.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    theirs = adapted.eval()(IDS).logits.detach()
    adapted.save_pretrained(tmp_path / "theirs", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    same(logits_here(base, tmp_path / "theirs"), theirs, 1e-5)
    assert adapter_files.read(tmp_path / "theirs").low_rank["model.layers.0.mlp.up_proj"].a.shape[0] == 6


def test_a_soft_prompt_of_peft_computes_the_same_here(tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    base = models.load(shared_tiny_model(), CPU)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    adapted: Any = get_peft_model(models.load(shared_tiny_model(), CPU).model, config)
    theirs = adapted.eval()(IDS).logits.detach()[:, 5:]
    adapted.save_pretrained(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    adapter = adapter_files.take_over(tmp_path / "theirs", tmp_path / "ours", base_name="t", model=on_meta(base))
    same(logits_here(base, tmp_path / "ours"), theirs, 1e-6)
    assert adapter_files.shape_settings(adapter, on_meta(base)) == {"method": "prompt", "prompt_tokens": 5}
