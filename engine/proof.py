"""Proof of an answer: which tensors gave it, and by which template it was asked.

Made after the answers are complete, so that it costs none of their speed. How far the tensors moved the model is in
`along.py`. Knows nothing about the library or the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.adapter import AdapterOnDisk
from engine.data.template import PLAIN
from engine.models import LoadedBase

_OF_BASES: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # frozen, so hashed once


def weights(base: LoadedBase, contestant: AdapterOnDisk | None) -> str:
    """SHA-256 of the tensors in memory that answer for a contestant: names, shapes, dtypes, bytes and factors."""
    if contestant is not None:
        return _hashed(_parts(contestant))
    if base.model not in _OF_BASES:
        _OF_BASES[base.model] = _hashed(base.model.state_dict().items())
    return _OF_BASES[base.model]


def template(base: LoadedBase, contestant: AdapterOnDisk | None) -> str | None:
    """SHA-256 of the chat template that wrote a contestant's prompt: the one that travels with an adapter, or else the
    base's own. None where it was plain words."""
    text = base.tokenizer_of(contestant).chat_template
    return hashlib.sha256(str(text).encode()).hexdigest() if text and text != PLAIN else None


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
