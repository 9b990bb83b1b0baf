"""Answers: N contestants, the base model among them, answer one prompt as the rows of one batch.

The frozen weights are read once for all of them; contestants that change the base itself answer after the others, each
alone. Every contestant draws from its own generator with the same seed, so that an answer does not depend on who else
is in the batch and equal weights give equal answers. Whoever has finished leaves the batch. `score` measures
contestants on given rows instead.

Knows nothing about the library, names or the page.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.adapter_files import AdapterOnDisk, check_fits
from engine.data.render import encode, prompt_ids
from engine.methods.attach import Attached, attached, groups
from engine.methods.inject import Surgery
from engine.methods.one_token import quicken
from engine.models import LoadedBase, max_length
from engine.passes import validation_loss
from engine.sampling import Narrowing, narrowed, sample

Contestant = AdapterOnDisk | None  # None is the base model


@dataclass(frozen=True)
class Snapshot:
    """The answers so far, one entry a contestant; and what they were computed with, for a replay to the bit."""

    texts: list[str]
    tokens: list[int]
    finished: list[bool]  # ended by itself, rather than by the limit
    seconds: float  # since the prompt was given
    batches: list[list[int]]  # who answered together, by place; one batch after the other
    device: str  # cpu, cuda or mps
    dtype: str  # such as float32
    threads: int  # of the CPU
    ids: list[list[int]]  # the tokens of the answers; empty until all are done


@dataclass
class _Answers:
    """What every contestant has said so far."""

    base: LoadedBase
    batches: list[list[int]]
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        count = sum(map(len, self.batches))
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self.finished = [False] * count
        self._texts = [""] * count
        self._ends = end_tokens(self.base)

    def add(self, place: int, token: int) -> None:
        """The next token of a contestant."""
        self.finished[place] = token in self._ends
        if not self.finished[place]:
            self.tokens[place].append(token)
            self._texts[place] = self.base.tokenizer.decode(self.tokens[place], skip_special_tokens=True)

    def snapshot(self, done: bool = False) -> Snapshot:
        device = self.base.device
        return Snapshot(
            list(self._texts),
            [len(answer) for answer in self.tokens],
            list(self.finished),
            time.monotonic() - self.began,
            self.batches,
            device.kind,
            str(device.dtype).removeprefix("torch."),
            torch.get_num_threads(),
            [list(answer) for answer in self.tokens] if done else [],
        )


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
    narrowing: Narrowing = Narrowing(),  # noqa: B008  it cannot change
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Snapshot]:
    """Answer `messages` with every contestant; yields after each token, the last time when all are done.

    Args:
        temperature: 0 takes the likeliest token each time.
        top_p: tokens are drawn from the smallest set that holds this probability (arXiv 1904.09751, section 3.1).
        narrowing: what may be drawn beside that; it goes before top p.
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
    said = _Answers(base, groups(contestants))
    for places in said.batches:
        draws = {place: torch.Generator().manual_seed(seed) for place in places}

        def choose(logits: Tensor, place: int, draws: dict[int, torch.Generator] = draws) -> int:
            fewer = narrowed(logits, temperature, [*prompt, *said.tokens[place]], narrowing)
            return sample(fewer, temperature, top_p, draws[place])

        with attached(base.model, [contestants[place] for place in places]) as batch, _quick(base.model):
            for _ in _answered(said, batch, places, prompt, min(max_tokens, room), choose):
                if should_stop():
                    break
                yield said.snapshot()
    yield said.snapshot(done=True)


def _answered(
    said: _Answers,
    batch: Attached,
    places: list[int],
    prompt: list[int],
    most: int,
    choose: Callable[[Tensor, int], int],
) -> Iterator[None]:
    """Let the contestants at `places`, which are on the model, answer as one batch; rests before each token."""
    base = said.base
    ids = torch.tensor([prompt] * len(places), device=base.device.kind)  # (N, T)
    options: dict[str, Any] = {"use_cache": True, **_last_logits_only(base.model)}
    for _ in range(most):
        yield
        out = base.model(input_ids=ids, **options)
        cache = getattr(out, "past_key_values", None)
        chosen = [choose(row, place) for row, place in zip(out.logits[:, -1].float().cpu(), places, strict=True)]
        for place, token in zip(places, chosen, strict=True):
            said.add(place, token)
        going = [row for row, place in enumerate(places) if not said.finished[place]]
        if not going:
            return
        new = torch.tensor(chosen, device=base.device.kind)[:, None]  # (N, 1)
        if cache is None:  # this model keeps no such cache, and reads all of it again
            ids = torch.cat([ids, new], dim=1)
        else:
            ids, options["past_key_values"] = new, cache
        if len(going) < len(places):
            places, ids = [places[row] for row in going], ids[going]
            batch.keep(going)
            if cache is not None:
                cache.reorder_cache(torch.tensor(going, device=base.device.kind))


def _last_logits_only(model: Any) -> dict[str, int]:
    """The option that spares a model the logits of the prompt, where it has it."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


@contextmanager
def _quick(model: Any) -> Iterator[None]:
    """While it is open, products of one token a row are computed in the quickest way."""
    surgery = Surgery(model)
    try:
        quicken(surgery)
        yield
    finally:
        surgery.undo()


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
            loss = validation_loss(base, examples, rows_at_once=8)
        if loss is None:
            raise ValueError(f"No row has an answer within the first {length} tokens.")
        losses.append(loss)
    return losses
