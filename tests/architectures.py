"""One tiny random model of every architecture: two blocks, 32 wide, written as a whole folder with a tokenizer.

The configs are written down by hand; the vocabulary is that of the tokenizer in `tiny.py`. Each comes with the linear
layers of one block, by what papers and published checkpoints say, as an oracle for whatever finds layers by a rule.
Knows nothing of the rest of the project.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tests.tiny import LENGTH, VOCABULARY, tiny_tokenizer

WIDTH = 32
IDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """How to make a tiny one, and what is known of it.

    Args:
        kind: transformers' `model_type`.
        config: what is not a common value.
        blocks: the path of the list of blocks.
        linear: paths of the linear layers within a block, in the order of the model.
        tied: whether head and embedding are one tensor.
        outside: how the paths of linear layers begin that are in no block of the text model; the head apart.
        experts: numbers in a block that sit in experts, in tensors of three dimensions.
    """

    kind: str
    config: dict[str, Any]
    blocks: str
    linear: tuple[str, ...]
    tied: bool = False
    outside: tuple[str, ...] = ()
    experts: int = 0

    @property
    def layers(self) -> list[str]:
        """The paths of all linear layers of the blocks."""
        return [f"{self.blocks}.{block}.{name}" for block in (0, 1) for name in self.linear]


def _sized(**more: Any) -> dict[str, Any]:
    """The sizes under the names that most configs give them."""
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": LENGTH,
    }
    return sizes | more


def _grouped(**more: Any) -> dict[str, Any]:
    """The same with grouped queries: two heads of queries share one of keys and values."""
    return _sized(num_key_value_heads=2, **more)


def _gpt(**more: Any) -> dict[str, Any]:
    """The sizes under GPT-2's names."""
    return {"n_embd": WIDTH, "n_layer": 2, "n_head": 4, "n_positions": LENGTH, **more}


def _falcon(**more: Any) -> dict[str, Any]:
    return {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, **more}


def _attention(*names: str, within: str = "self_attn") -> tuple[str, ...]:
    return tuple(f"{within}.{name}" for name in names)


_QKVO = _attention("q_proj", "k_proj", "v_proj", "o_proj")
_KVQO = _attention("k_proj", "v_proj", "q_proj", "out_proj")
_GATED = (*_QKVO, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_NEOX = ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
_BLOOM = (*_attention("query_key_value", "dense", within="self_attention"), *_NEOX)
_CONV = (*_attention("c_attn", "c_proj", within="attn"), "mlp.c_fc", "mlp.c_proj")
_MIXED = {"num_experts": 4, "num_experts_per_tok": 2}
_PICTURES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}

# Those that the studio promises to work with.
PROMISED: dict[str, Architecture] = {
    "GPT-2": Architecture("gpt2", _gpt(), "transformer.h", _CONV, tied=True),
    "BLOOM": Architecture(
        "bloom", {"hidden_size": WIDTH, "n_layer": 2, "n_head": 4}, "transformer.h", _BLOOM, tied=True
    ),
    "OPT": Architecture("opt", _sized(ffn_dim=48), "model.decoder.layers", (*_KVQO, "fc1", "fc2"), tied=True),
    "OPT, narrow embedding": Architecture(
        "opt",
        _sized(ffn_dim=48, word_embed_proj_dim=16, do_layer_norm_before=False),
        "model.decoder.layers",
        (*_KVQO, "fc1", "fc2"),
        tied=True,
        outside=("model.decoder.project_out", "model.decoder.project_in"),
    ),
    "GPT-NeoX": Architecture(
        "gpt_neox", _sized(), "gpt_neox.layers", (*_attention("query_key_value", "dense", within="attention"), *_NEOX)
    ),
    "GPT-J": Architecture(
        "gptj",
        _gpt(rotary_dim=4),
        "transformer.h",
        (*_attention("k_proj", "v_proj", "q_proj", "out_proj", within="attn"), "mlp.fc_in", "mlp.fc_out"),
    ),
    "Falcon, one key for all": Architecture("falcon", _falcon(multi_query=True), "transformer.h", _BLOOM, tied=True),
    "Falcon, ALiBi": Architecture(
        "falcon",
        _falcon(multi_query=False, alibi=True, bias=True, parallel_attn=False),
        "transformer.h",
        _BLOOM,
        tied=True,
    ),
    "Falcon, new decoder": Architecture(
        "falcon", _falcon(num_kv_heads=2, new_decoder_architecture=True), "transformer.h", _BLOOM, tied=True
    ),
    "MPT": Architecture(
        "mpt",
        {"d_model": WIDTH, "n_layers": 2, "n_heads": 4, "max_seq_len": LENGTH},
        "transformer.blocks",
        ("attn.Wqkv", "attn.out_proj", "ffn.up_proj", "ffn.down_proj"),
        tied=True,
    ),
    "Llama": Architecture("llama", _grouped(), "model.layers", _GATED),
    "Mistral": Architecture("mistral", _grouped(sliding_window=16), "model.layers", _GATED),
    "Qwen 2": Architecture("qwen2", _grouped(), "model.layers", _GATED),
    "Qwen 3": Architecture("qwen3", _grouped(head_dim=8), "model.layers", _GATED),
    "Gemma": Architecture("gemma", _grouped(head_dim=8), "model.layers", _GATED, tied=True),
    "Gemma 2": Architecture(
        "gemma2", _grouped(head_dim=8, sliding_window=16, query_pre_attn_scalar=8), "model.layers", _GATED, tied=True
    ),
    "Gemma 3, text": Architecture(
        "gemma3_text",
        _grouped(head_dim=8, sliding_window=16, query_pre_attn_scalar=8),
        "model.layers",
        _GATED,
        tied=True,
    ),
    "Gemma 3, with pictures": Architecture(
        "gemma3",
        {
            "text_config": _grouped(
                head_dim=8,
                sliding_window=16,
                query_pre_attn_scalar=8,
                vocab_size=VOCABULARY,
                initializer_range=0.1,
            ),
            "vision_config": {**_PICTURES, "image_size": 8, "patch_size": 4},
            "mm_tokens_per_image": 4,
        },
        "model.language_model.layers",
        _GATED,
        tied=True,
        outside=("model.vision_tower.",),
    ),
    "Phi-2": Architecture(
        "phi",
        _sized(),
        "model.layers",
        (*_attention("q_proj", "k_proj", "v_proj", "dense"), "mlp.fc1", "mlp.fc2"),
    ),
    "Phi-3": Architecture(
        "phi3",
        _grouped(),
        "model.layers",
        ("self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    ),
    "StarCoder2": Architecture("starcoder2", _grouped(), "model.layers", (*_QKVO, "mlp.c_fc", "mlp.c_proj"), tied=True),
    "OLMo": Architecture("olmo", _grouped(), "model.layers", _GATED),
    "OLMo 2": Architecture("olmo2", _grouped(), "model.layers", _GATED),
    "SmolLM2": Architecture("llama", _grouped(tie_word_embeddings=True), "model.layers", _GATED, tied=True),
    "SmolLM3": Architecture("smollm3", _grouped(no_rope_layers=[1, 0]), "model.layers", _GATED, tied=True),
    "Mixtral": Architecture(
        "mixtral", _grouped(num_local_experts=4), "model.layers", _QKVO, experts=4 * 3 * WIDTH * 48
    ),
    "Qwen 3, experts": Architecture(
        "qwen3_moe",
        _grouped(head_dim=8, moe_intermediate_size=16, **_MIXED),
        "model.layers",
        _QKVO,
        experts=4 * 3 * WIDTH * 16,
    ),
    "OLMoE": Architecture("olmoe", _grouped(**_MIXED), "model.layers", _QKVO, experts=4 * 3 * WIDTH * 48),
}

# Those that it does not promise. Most are named nowhere in the studio; they work by its rules.
UNNAMED: dict[str, Architecture] = {
    # Its router is an nn.Linear that answers with more than a tensor; PEFT would wrap it.
    "PhiMoE": Architecture(
        "phimoe",
        _grouped(num_local_experts=4),
        "model.layers",
        _QKVO,
        experts=4 * 3 * WIDTH * 48,
        outside=("model.layers.0.mlp.router", "model.layers.1.mlp.router"),
    ),
    "StableLM": Architecture("stablelm", _grouped(), "model.layers", _GATED),
    "Cohere": Architecture("cohere", _grouped(use_qk_norm=True, logit_scale=1.0), "model.layers", _GATED, tied=True),
    "Granite": Architecture("granite", _grouped(), "model.layers", _GATED),
    "GPTBigCode": Architecture("gpt_bigcode", _gpt(), "transformer.h", _CONV, tied=True),
    "GPT-Neo": Architecture(
        "gpt_neo",
        {
            "hidden_size": WIDTH,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 16,
            "max_position_embeddings": LENGTH,
        },
        "transformer.h",
        (
            *_attention("k_proj", "v_proj", "q_proj", "out_proj", within="attn.attention"),
            "mlp.c_fc",
            "mlp.c_proj",
        ),
        tied=True,
    ),
    "Persimmon": Architecture("persimmon", _sized(), "model.layers", (*_attention("query_key_value", "dense"), *_NEOX)),
}

ALL = PROMISED | UNNAMED


# They keep something else than keys and values from token to token, or more than that: for a test of their own.
ODD: dict[str, Architecture] = {
    # PEFT refuses to adapt its last projection.
    "without attention": Architecture(
        "mamba",
        {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4},
        "backbone.layers",
        _attention("in_proj", "x_proj", "dt_proj", "out_proj", within="mixer"),
        tied=True,
    ),
    # Its two blocks differ, so the layers are not written down.
    "linear attention beside attention": Architecture(
        "qwen3_next",
        _grouped(
            head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            num_experts=0,
            layer_types=["linear_attention", "full_attention"],
        ),
        "model.layers",
        (),
    ),
    "the decoder of a pair": Architecture(
        "bart",
        {
            "d_model": WIDTH,
            "decoder_layers": 2,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": LENGTH,
        },
        "model.decoder.layers",
        (*_KVQO, *_attention("k_proj", "v_proj", "q_proj", "out_proj", within="encoder_attn"), "fc1", "fc2"),
        tied=True,
    ),
}


def make_architecture(folder: Path, name: str) -> Path:
    """Write the tiny model called `name` into `folder`: config, safetensors, tokenizer and chat template."""
    return make(folder, ALL[name])


def make(folder: Path, made: Architecture) -> Path:
    """Write a tiny model into `folder`: config, safetensors, tokenizer and chat template."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {**IDS, "vocab_size": VOCABULARY, "initializer_range": 0.1}
    config = AutoConfig.for_model(made.kind, **common, **made.config)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
