"""What the Train tab offers for a base and a method, on the facts of real tiny models."""

from __future__ import annotations

from html import unescape
from typing import Any, get_args

import pytest

from adapters_store.tables import BaseModel
from engine.models import describe
from engine.settings import METHOD_LINES, Method, RunSettings
from engine.sizing import count
from studio import forms, method_words, train_methods
from tests.workshop import shared_tiny_model

BIAS_FREE, WITH_BIASES = "llama", "gpt2"


def base(kind: str, **facts: Any) -> BaseModel:
    return BaseModel(id=1, name="tiny", facts={**describe(shared_tiny_model(kind)), **facts})


def test_a_base_without_biases_is_not_offered_bitfit_and_says_why() -> None:
    llama = base(BIAS_FREE)
    assert "bitfit" not in [method for _, method in train_methods.offered(llama)]
    assert "Not offered: Biases only (BitFit); tiny has no biases." in train_methods.method_help(llama, "lora")
    bare = base(BIAS_FREE, modules=[m for m in llama.facts["modules"] if m["kind"] != "norm"])
    assert "tiny has no norms with numbers to train.</p>" in train_methods.method_help(bare, "lora")
    gpt2 = base(WITH_BIASES)
    assert {method for _, method in train_methods.offered(gpt2)} == set(get_args(Method))
    assert "Not offered" not in train_methods.method_help(gpt2, "lora")


def test_a_mixture_of_experts_is_not_offered_bottlenecks() -> None:
    facts = base(WITH_BIASES).facts
    attention = [layer for layer in facts["layers"] if "attn" in layer["path"]]
    assert "bottleneck" in train_methods.refusals(base(WITH_BIASES, layers=attention))


def test_a_method_that_a_base_has_no_place_for_gives_way_to_the_first_that_fits() -> None:
    assert train_methods.chosen(base(WITH_BIASES), "bitfit") == "bitfit"
    assert train_methods.chosen(base(BIAS_FREE), "bitfit") == "lora"
    assert train_methods.chosen(None, {"no": "method"}) == "lora"


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_has_a_line_that_is_shown(method: Method) -> None:
    shown = train_methods.method_help(None, method)
    assert METHOD_LINES[method] in unescape(shown).replace("\xa0", " ")
    assert "arXiv" in shown or method == "full"


SETTINGS: list[dict[str, Any]] = [
    *({"method": method} for method in get_args(Method)),
    {"rank_pattern": {"c_attn": 3}, "bias": "all"},
    {"start": "pissa", "target_modules": ["c_attn"]},
    {"method": "dora", "train_in_full": ["wte"], "layers": [1]},
    {"method": "blocks", "blocks": 1},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
@pytest.mark.parametrize("dialled", [1, 5, 24])
def test_the_browser_counts_to_the_number_what_the_server_counts(values: dict[str, Any], dialled: int) -> None:
    gpt2 = base(WITH_BIASES)
    settings = RunSettings(**values)
    shape = train_methods.shape_of(gpt2, settings)
    dial = {shape["dial"]: dialled} if shape["dial"] else {}
    counted = count(gpt2.facts, settings.model_copy(update=dial))
    n = dialled if shape["dial"] else 1
    assert shape["fixed"] + n * shape["per"] == counted.trained
    assert shape["bytesFixed"] + n * shape["bytesPer"] == counted.tensor_bytes


def test_a_layer_with_a_rank_of_its_own_is_drawn_with_it() -> None:
    shape = train_methods.shape_of(base(BIAS_FREE), RunSettings(rank_pattern={"q_proj": 3}, rank_stabilised=True))
    assert (shape["layer"], shape["own"], shape["root"]) == ("Block 0, q_proj", {"r": 3}, True)


def test_what_can_be_trained_in_full_are_embeddings_norms_and_head() -> None:
    assert train_methods.whole_names(base(BIAS_FREE)) == [
        "embed_tokens",
        "input_layernorm",
        "post_attention_layernorm",
        "norm",
        "lm_head",
    ]
    assert not set(train_methods.whole_names(base(WITH_BIASES))) & set(train_methods.target_names(base(WITH_BIASES)))


def test_each_method_starts_from_its_own_learning_rate_and_the_length_of_the_base() -> None:
    rates = {method: train_methods.defaults(base(BIAS_FREE), None, method) for method in get_args(Method)}
    assert rates["lora"]["learning_rate"] < rates["bitfit"]["learning_rate"] < rates["prompt"]["learning_rate"]
    assert {values["length"] for values in rates.values()} == {256}


def test_fields_of_other_methods_are_kept_and_not_sent() -> None:
    order = ["method", "rank", "bottleneck", "base_precision", "epochs"]
    given = ["full", 7, 9, "nf4", 2]
    assert forms.typed(order, given) == dict(zip(order, given, strict=True))
    assert forms.settings_of(order, given) == {"method": "full", "epochs": 2}
    assert forms.settings_of(order, ["dora", *given[1:]]) == {
        "method": "dora",
        "rank": 7,
        "base_precision": "nf4",
        "epochs": 2,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rank": 16, "alpha": 32.0}, "LoRA, r 16, alpha 32"),
        ({"method": "dora", "rank": 8, "alpha": 8, "base_precision": "nf4"}, "DoRA, r 8, alpha 8, on NF4"),
        ({"rank": 4, "alpha": 8, "start": "pissa", "rank_stabilised": True}, "LoRA, r 4, alpha 8, rsLoRA, PiSSA"),
        ({"rank": 4, "alpha": 8, "b_ratio": 16, "bias": "all"}, "LoRA, r 4, alpha 8, LoRA+ 16, with biases"),
        ({"rank": 4, "alpha": 8, "train_in_full": ["wte"]}, "LoRA, r 4, alpha 8, wte in full"),
        ({"method": "prompt", "prompt_tokens": 20, "rank": 16}, "Soft prompt, 20 tokens"),
        ({"method": "bottleneck", "bottleneck": 64}, "Bottleneck adapters, width 64"),
        ({"method": "blocks", "blocks": 2}, "Last blocks, 2 trained"),
        ({"method": "bitfit"}, "Biases only (BitFit)"),
        ({"method": "of the future"}, "of the future"),
    ],
)
def test_a_run_is_described_by_what_was_chosen(values: dict[str, Any], words: str) -> None:
    assert method_words.of_settings(values) == words
