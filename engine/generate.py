"""Answers: N contestants, the base model among them, answer one prompt as the rows of one batch.

The frozen weights are read once for all of them. Every contestant draws from its own generator with the same seed, so
that an answer does not depend on who else is in the batch and equal weights give equal answers. `score` measures
contestants on given rows instead.

Knows nothing about the library, names or the page.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.adapter_files import AdapterOnDisk, check_fits
from engine.data.render import encode, prompt_ids
from engine.methods.inject import inject_rows, remove
from engine.models import LoadedBase, max_length
from engine.train import validation_loss

Contestant = AdapterOnDisk | None  # None is the base model


@dataclass(frozen=True)
class Snapshot:
    """The answers so far, one entry a contestant."""

    texts: list[str]
    tokens: list[int]
    finished: list[bool]  # ended by itself, rather than by the limit
    seconds: float  # since the prompt was given


@torch.inference_mode()
def compare(
    base: LoadedBase,
    contestants: Sequence[Contestant],
    messages: list[dict[str, str]],
    *,
    seed: int = 0,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 200,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Snapshot]:
    """Answer `messages` with every contestant; yields after each token, the last time when all are done.

    Args:
        temperature: 0 takes the likeliest token each time.
        top_p: tokens are drawn from the smallest set that holds this probability (arXiv 1904.09751, section 3.1).
        should_stop: asked before each token.

    Raises:
        AdapterError: if an adapter is not for this base model.
        ValueError: if the prompt leaves no room to answer, or the chat template refuses it.
    """
    prompt = prompt_ids(base.tokenizer, messages)
    room = max_length(base.model.config) - len(prompt)
    if room < 1:
        raise ValueError(f"The prompt has {len(prompt)} tokens; this base model takes {max_length(base.model.config)}.")
    count, device = len(contestants), base.device.kind
    draws = [torch.Generator().manual_seed(seed) for _ in contestants]
    ends = end_tokens(base)
    answers: list[list[int]] = [[] for _ in contestants]
    finished = [False] * count
    began = time.monotonic()
    with _rows(base, contestants):
        ids = torch.tensor([prompt] * count, device=device)  # (N, T)
        cache = None
        for _ in range(min(max_tokens, room)):
            if should_stop():
                break
            out = base.model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            chosen = [
                sample(row, temperature, top_p, draw)
                for row, draw in zip(out.logits[:, -1].float().cpu(), draws, strict=True)
            ]
            for row, token in enumerate(chosen):
                finished[row] = finished[row] or token in ends
                if not finished[row]:
                    answers[row].append(token)
            if all(finished):
                break
            yield _snapshot(base.tokenizer, answers, finished, began)
            ids = torch.tensor(chosen, device=device)[:, None]  # (N, 1)
    yield _snapshot(base.tokenizer, answers, finished, began)


def sample(logits: Tensor, temperature: float, top_p: float, draw: torch.Generator) -> int:
    """One token from logits (V,). One number is drawn whatever the settings, so streams of draws stay in step."""
    point = torch.rand((), generator=draw)
    if temperature == 0:
        return int(logits.argmax())
    likely, order = (logits / temperature).softmax(0).sort(descending=True)
    below = likely.cumsum(0)
    kept = int((below < top_p).sum()) + 1  # the token that crosses the line is kept too
    below = below[:kept]
    return int(order[min(int((below < point * below[-1]).sum()), kept - 1)])


def end_tokens(base: LoadedBase) -> set[int]:
    """The tokens that end an answer, by the generation config and by the tokenizer."""
    given = base.model.generation_config.eos_token_id
    ends = set(given if isinstance(given, list) else [given]) | {base.tokenizer.eos_token_id}
    return ends - {None}


@torch.inference_mode()
def score(
    base: LoadedBase, contestants: Sequence[Contestant], rows: Sequence[dict[str, Any]], length: int = 1024
) -> list[float]:
    """Mean cross-entropy per answer token of each contestant on `rows`, cut to `length` tokens.

    Raises:
        AdapterError: if an adapter is not for this base model.
        ValueError: if no row has an answer within `length`.
    """
    examples = [e for e in (encode(base.tokenizer, row, length) for row in rows) if e.answer_tokens]
    losses = []
    for contestant in contestants:
        with _rows(base, [contestant]):
            loss = validation_loss(base, examples, micro_batch=8)
        if loss is None:
            raise ValueError(f"No row has an answer within the first {length} tokens.")
        losses.append(loss)
    return losses


@contextmanager
def _rows(base: LoadedBase, contestants: Sequence[Contestant]) -> Iterator[None]:
    for contestant in contestants:
        if contestant:
            check_fits(contestant, base.model)
    inject_rows(base.model, [c.scaled() if c else {} for c in contestants])
    try:
        yield
    finally:
        remove(base.model)


def _snapshot(tokenizer: Any, answers: list[list[int]], finished: list[bool], began: float) -> Snapshot:
    texts = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
    return Snapshot(texts, [len(a) for a in answers], list(finished), time.monotonic() - began)
