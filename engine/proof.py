"""Proof of an answer: which tensors gave it, and how far they moved the model along it.

Made after the answers are complete, so that it costs none of their speed. Knows nothing about the library or the page.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.adapter import AdapterOnDisk
from engine.data.render import prompt_ids
from engine.data.template import Message
from engine.methods.attach import attached
from engine.models import LoadedBase

AT_ONCE = 32  # positions whose distributions are held at a time

_OF_BASES: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # frozen, so hashed once


def weights(base: LoadedBase, contestant: AdapterOnDisk | None) -> str:
    """SHA-256 of the tensors in memory that answer for a contestant: names, shapes, dtypes, bytes and factors."""
    if contestant is not None:
        return _hashed(_parts(contestant))
    if base.model not in _OF_BASES:
        _OF_BASES[base.model] = _hashed(base.model.state_dict().items())
    return _OF_BASES[base.model]


def template(base: LoadedBase) -> str | None:
    """SHA-256 of the chat template that wrote the prompt; None where the base has none of its own."""
    text = base.tokenizer.chat_template
    return hashlib.sha256(str(text).encode()).hexdigest() if text else None


def _parts(adapter: AdapterOnDisk) -> Iterator[tuple[str, Tensor]]:
    for path, update in adapter.low_rank.items():
        yield f"{path}.a * {update.scaling!r}", update.a
        yield f"{path}.b", update.b
        if update.magnitude is not None:
            yield f"{path}.magnitude", update.magnitude
    yield from adapter.whole.items()
    yield from adapter.bottlenecks.items()
    if adapter.prompt is not None:
        yield "prompt", adapter.prompt


def _hashed(parts: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(parts, key=lambda part: str(part[0])):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.inference_mode()
def divergences(
    base: LoadedBase,
    contestants: Sequence[AdapterOnDisk | None],
    messages: Sequence[Sequence[Message]],
    answers: Sequence[Sequence[int]],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[float | None]:
    """How far each contestant moved the model: mean KL(contestant || base) of the distributions of the next token.

    In nats, over all places of the contestant's own answer to `messages[i]`: before its first token, and after each of
    `answers[i]`. None for the base itself, and from where `should_stop` said so, asked between two contestants.
    """
    told: list[float | None] = []
    for contestant, asked, answer in zip(contestants, messages, answers, strict=True):
        if contestant is None or should_stop():
            told.append(None)
            continue
        prompt = prompt_ids(base.tokenizer, asked)
        moved, plain = (_logits(base, who, [*prompt, *answer], len(answer) + 1) for who in (contestant, None))
        told.append(_mean_divergence(moved, plain))
    return told


def _logits(base: LoadedBase, contestant: AdapterOnDisk | None, ids: list[int], last: int) -> Tensor:
    """The logits of the `last` positions of a row: (last, V)."""
    options: dict[str, Any] = {"use_cache": False}
    if "logits_to_keep" in inspect.signature(base.model.forward).parameters:
        options["logits_to_keep"] = last
    with attached(base.model, [contestant]):
        out = base.model(input_ids=torch.tensor([ids], device=base.device.kind), **options)
    logits: Tensor = out.logits[0, -last:]
    return logits


def _mean_divergence(moved: Tensor, plain: Tensor) -> float:
    total = 0.0
    for first in range(0, len(moved), AT_ONCE):
        p, q = (logits[first : first + AT_ONCE].float().log_softmax(-1) for logits in (moved, plain))
        total += float((p.exp() * (p - q)).sum(-1).double().sum())
    return max(0.0, total / len(moved))
