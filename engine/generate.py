"""Answers: N contestants, the base model among them, answer one prompt as the rows of one batch.

The frozen weights are read once for all of them; contestants that change the base itself answer after the others, each
alone. Every contestant draws from its own generator with the same seed, so that an answer does not depend on who else
is in the batch and equal weights give equal answers. `score` measures contestants on given rows instead.

Knows nothing about the library, names or the page.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.adapter_files import AdapterOnDisk, check_fits
from engine.data.render import encode, prompt_ids
from engine.methods.attach import attached, groups
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


@dataclass
class _Answers:
    """What every contestant has said so far."""

    base: LoadedBase
    count: int
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(self.count)]
        self.finished = [False] * self.count

    def snapshot(self) -> Snapshot:
        texts = [self.base.tokenizer.decode(answer, skip_special_tokens=True) for answer in self.tokens]
        return Snapshot(texts, [len(a) for a in self.tokens], list(self.finished), time.monotonic() - self.began)


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
    _check_all(base, contestants)
    prompt = prompt_ids(base.tokenizer, messages)
    room = _room(base, contestants) - len(prompt)
    if room < 1:
        raise ValueError(f"The prompt has {len(prompt)} tokens; this base model takes {max_length(base.model.config)}.")
    said = _Answers(base, len(contestants))
    for places in groups(contestants):
        draws = {place: torch.Generator().manual_seed(seed) for place in places}

        def choose(logits: Tensor, place: int, draws: dict[int, torch.Generator] = draws) -> int:
            return sample(logits, temperature, top_p, draws[place])

        with attached(base.model, [contestants[place] for place in places]):
            for _ in _answered(said, places, prompt, min(max_tokens, room), choose):
                if should_stop():
                    break
                yield said.snapshot()
    yield said.snapshot()


def _answered(
    said: _Answers, places: list[int], prompt: list[int], most: int, choose: Callable[[Tensor, int], int]
) -> Iterator[None]:
    """Let the contestants at `places`, which are on the model, answer as one batch; rests before each token."""
    base, ends = said.base, end_tokens(said.base)
    ids = torch.tensor([prompt] * len(places), device=base.device.kind)  # (N, T)
    cache = None
    for _ in range(most):
        yield
        out = base.model(input_ids=ids, use_cache=True, **({"past_key_values": cache} if cache is not None else {}))
        cache = getattr(out, "past_key_values", None)
        chosen = [choose(row, place) for row, place in zip(out.logits[:, -1].float().cpu(), places, strict=True)]
        for place, token in zip(places, chosen, strict=True):
            said.finished[place] = said.finished[place] or token in ends
            if not said.finished[place]:
                said.tokens[place].append(token)
        if all(said.finished[place] for place in places):
            return
        new = torch.tensor(chosen, device=base.device.kind)[:, None]  # (N, 1)
        # A model that keeps no such cache reads all of it again.
        ids = torch.cat([ids, new], dim=1) if cache is None else new


def _room(base: LoadedBase, contestants: Sequence[Contestant]) -> int:
    """Positions that are left to all contestants beside the longest prompt of one's own."""
    return max_length(base.model.config) - max(map(_own_tokens, contestants), default=0)


def _own_tokens(contestant: Contestant) -> int:
    """Positions a contestant's own prompt takes."""
    return 0 if contestant is None or contestant.prompt is None else len(contestant.prompt)


def _check_all(base: LoadedBase, contestants: Sequence[Contestant]) -> None:
    for contestant in contestants:
        if contestant:
            check_fits(contestant, base.model)


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

    Rows are cut shorter where the model has no positions for as many beside the longest prompt of a contestant's own;
    for all contestants alike, so that their scores compare.

    Raises:
        AdapterError: if an adapter is not for this base model.
        ValueError: if no row has an answer within `length`, or a contestant's own prompt fills the model.
    """
    _check_all(base, contestants)
    room = _room(base, contestants)
    if room < 1:
        raise ValueError("The soft prompts of these contestants leave no room for rows in this base model.")
    length = min(length, room)
    examples = [e for e in (encode(base.tokenizer, row, length) for row in rows) if e.answer_tokens]
    losses = []
    for contestant in contestants:
        with attached(base.model, [contestant]):
            loss = validation_loss(base, examples, micro_batch=8)
        if loss is None:
            raise ValueError(f"No row has an answer within the first {length} tokens.")
        losses.append(loss)
    return losses
