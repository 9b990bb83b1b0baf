"""The arithmetic of sizes against models of known size, real models and real files."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine import models, sizing
from engine.settings import parse
from tests.configs import write_config

# From the papers and model cards: base, rank 8 on these modules, trained numbers, all parameters.
KNOWN = [
    ("bloom-3b", ["query_key_value"], 2_457_600, 3_002_557_440),
    ("Llama-2-7b", ["q_proj", "v_proj"], 4_194_304, 6_738_415_616),
    ("gpt2", ["c_attn"], 294_912, 124_439_808),
    ("Mixtral-8x7B", ["q_proj", "v_proj"], 3_407_872, 46_702_792_704),
    ("Llama-3.1-405B", ["q_proj"], 33_030_144, 405_853_388_800),
]


@pytest.mark.parametrize(("name", "targets", "trained", "parameters"), KNOWN)
def test_large_models_are_counted_from_their_config_alone_in_seconds(
    tmp_path: Path, name: str, targets: list[str], trained: int, parameters: int
) -> None:
    began = time.monotonic()
    facts = models.describe(write_config(tmp_path, name))
    counted = sizing.count(facts, parse({"rank": 8, "target_modules": targets}))
    assert time.monotonic() - began < 20
    assert (facts["parameters"], counted.trained) == (parameters, trained)
    assert counted.tensor_bytes == 4 * trained
    assert json.loads(json.dumps(facts)) == facts


def test_a_tower_that_looks_at_pictures_gets_no_adapter(tmp_path: Path) -> None:
    facts = models.describe(write_config(tmp_path, "gemma-3-4b"))
    assert facts["blocks"] == 34
    assert (facts["hidden"], facts["vocabulary"], facts["frozen_experts"]) == (2560, 262208, 0)
    assert len(facts["layers"]) == 34 * 7
    assert not [layer for layer in facts["layers"] if "vision" in layer["path"]]
    assert {m["block"] for m in facts["modules"] if "vision" in m["path"]} == {None}


def test_the_experts_of_a_mixture_are_counted_as_frozen(tmp_path: Path) -> None:
    facts = models.describe(write_config(tmp_path, "Mixtral-8x7B"))
    assert facts["frozen_experts"] == 32 * 8 * 3 * 4096 * 14336
    assert {layer["name"] for layer in facts["layers"]} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def _numbers(facts: dict[str, Any], **settings: object) -> int:
    return sizing.count(facts, parse(settings)).trained


def test_every_option_of_low_rank_adds_what_its_paper_says(tmp_path: Path) -> None:
    """By hand for GPT-2: width 768, twelve blocks, fused projection 768 -> 2304, output 768 -> 768."""
    facts = models.describe(write_config(tmp_path, "gpt2"))
    plain = {"rank": 8, "target_modules": ["c_attn"]}
    pair = 8 * (768 + 2304)
    assert _numbers(facts, **plain) == 12 * pair
    assert _numbers(facts, **plain, layers=[0, 5]) == 2 * pair
    assert _numbers(facts, **plain, rank_pattern={"c_attn": 2}) == 12 * pair // 4
    assert _numbers(facts, **plain, rank_pattern={"transformer.h.3.attn.c_attn": 16}) == 13 * pair
    assert _numbers(facts, **plain, bias="lora_only") == 12 * (pair + 2304)
    biases = 12 * (4 * 768 + 2304 + 768 + 3072) + 768 - 12 * 768
    assert _numbers(facts, **plain, bias="all") == 12 * pair + biases
    assert _numbers(facts, **plain, train_in_full=["wpe"]) == 12 * pair + 1024 * 768
    assert _numbers(facts, **plain, train_in_full=["wte", "lm_head"]) == 12 * pair + 50257 * 768
    assert _numbers(facts, **plain, method="dora") == 12 * (pair + 2304)
    assert _numbers(facts, **plain, start="pissa") == 12 * pair
    assert sizing.count(facts, parse({**plain, "start": "pissa"})).tensor_bytes == 4 * 2 * 12 * pair


def test_the_other_methods_train_what_their_papers_say(tmp_path: Path) -> None:
    facts = models.describe(write_config(tmp_path, "gpt2"))
    block = (768 * 2304 + 2304) + (768 * 768 + 768) + (768 * 3072 + 3072) + (3072 * 768 + 768) + 4 * 768
    assert _numbers(facts, method="full") == 124_439_808 == 50257 * 768 + 1024 * 768 + 12 * block + 2 * 768
    assert _numbers(facts, method="bitfit") == 12 * (2304 + 768 + 3072 + 768 + 2 * 768) + 768
    assert _numbers(facts, method="norms") == 12 * 4 * 768 + 2 * 768
    assert _numbers(facts, method="blocks", blocks=3) == 3 * block
    assert _numbers(facts, method="prompt", prompt_tokens=20) == 20 * 768
    assert _numbers(facts, method="bottleneck", bottleneck=64) == 12 * 2 * (2 * 64 * 768 + 64 + 768)


def test_a_count_is_the_sum_of_its_modules(tmp_path: Path) -> None:
    facts = models.describe(write_config(tmp_path, "gpt2"))
    counted = sizing.count(facts, parse({"rank": 4}))
    assert counted.trained == sum(part.trained for part in counted.by_module)
    assert len(counted.by_module) == 12 * 4
    assert [part.path for part in counted.by_module][:2] == [
        "transformer.h.0.attn.c_attn",
        "transformer.h.0.attn.c_proj",
    ]
