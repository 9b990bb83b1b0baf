"""The tiny llama as a GGUF file, written with llama.cpp's own writer. Knows nothing of the rest of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def write_tiny_gguf(
    file: Path,
    model: Path,
    *,
    architecture: str = "llama",
    quantised: gguf.GGMLQuantizationType | None = None,
    tokenizer: bool = True,
    parts: int = 1,
) -> Path:
    """Write the tiny llama in the folder `model` to `file`, its matrices quantised as `quantised` if given."""
    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config["vocab_size"])
    if parts > 1:
        writer.add_uint16("split.count", parts)
    if tokenizer:
        _add_tokenizer(writer, model)
    for name, tensor in load_file(model / "model.safetensors").items():
        _add_tensor(writer, _renamed(name), _for_llama_cpp(name, tensor, config), quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: gguf.GGUFWriter, model: Path) -> None:
    facts = json.loads((model / "tokenizer.json").read_text())
    vocabulary = facts["model"]["vocab"]
    special = {token["content"] for token in facts["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in facts["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template((model / "chat_template.jinja").read_text())


def _renamed(name: str) -> str:
    if name in OUTER:
        return OUTER[name]
    _, _, block, *inner = name.split(".")
    return f"blk.{block}.{NAMES['.'.join(inner[:-1])]}.weight"


def _for_llama_cpp(name: str, tensor: Any, config: dict[str, Any]) -> Any:
    """llama.cpp pairs neighbouring rows in its rotary embedding, where transformers pairs the two halves of a head."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    count = next((config[key] for part, key in heads.items() if part in name), None)
    if count is None:
        return tensor
    rows, width = tensor.shape
    return tensor.reshape(count, 2, rows // count // 2, width).swapaxes(1, 2).reshape(rows, width)


def _add_tensor(writer: gguf.GGUFWriter, name: str, tensor: Any, kind: gguf.GGMLQuantizationType | None) -> None:
    if kind is None or tensor.ndim == 1:
        writer.add_tensor(name, np.ascontiguousarray(tensor, np.float32))
        return
    writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
