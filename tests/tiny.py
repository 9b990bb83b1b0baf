"""A real model so small that it trains in seconds: two layers, a trained byte-level tokenizer, a ChatML template.

Everything is made on the spot, from a seed, without a network. The weights are random, but wide enough in spread that
an adapter has something to learn with. Knows nothing of the rest of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 384
WIDTH = 64
LENGTH = 256  # the longest row the model can take, in tokens


def tiny_rows(n: int) -> list[dict[str, Any]]:
    """`n` different chat rows whose answers share a manner that a small adapter can pick up."""
    things = ["the sea", "bread", "a horse", "rain", "the moon", "iron", "music", "a bridge"]
    rows: list[dict[str, Any]] = []
    for i in range(n):
        thing = things[i % len(things)]
        question = {"role": "user", "content": f"Question {i}: what is {thing}?"}
        answer = {"role": "assistant", "content": f"Arr, {thing} be a fine thing, matey!"}
        rows.append({"messages": [question, answer]})
    return rows


def make_tiny_model(folder: Path, kind: str = "llama") -> Path:
    """Write a whole local model folder (config, safetensors, tokenizer, chat template) and return it.

    `kind` is "llama" (linear layers) or "gpt2" (Conv1D layers). Under 1 MB; about a second after torch is imported.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(7)
    if kind == "llama":
        llama = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=LENGTH,
            initializer_range=0.15,
            tie_word_embeddings=True,
            **ids,
        )
        LlamaForCausalLM(llama).save_pretrained(folder)
    elif kind == "gpt2":
        gpt2 = GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=WIDTH,
            n_layer=2,
            n_head=4,
            n_positions=LENGTH,
            initializer_range=0.15,
            **ids,
        )
        GPT2LMHeadModel(gpt2).save_pretrained(folder)
    else:
        raise ValueError(f"The tiny model comes as 'llama' or 'gpt2', not {kind!r}.")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """A fast byte-level tokenizer of 384 tokens, trained here on the tiny rows, with ChatML as its template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((m["content"] for row in tiny_rows(64) for m in row["messages"]), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        unk_token=SPECIAL[0],
        chat_template=CHATML,
        model_max_length=LENGTH,
    )
