"""Answers: N contestants, the base model among them, answer one prompt as the rows of one batch.

The frozen weights are read once for all of them; contestants that change the base itself, or were asked something else,
answer after the others. Every contestant draws from its own generator with its own seed, so that an answer does not
depend on who else is in the batch and equal weights give equal answers. Whoever has finished leaves the batch. `score`
measures contestants on given rows instead.

Knows nothing about the library, names or the page.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.adapter_files import AdapterOnDisk, check_fits
from engine.data.known_templates import end_mark, gap
from engine.data.render import encode, prompt_ids
from engine.data.template import Message
from engine.methods.attach import Attached, attached, groups
from engine.methods.inject import Surgery
from engine.methods.one_token import quicken
from engine.models import LoadedBase, max_length
from engine.passes import validation_loss
from engine.sampling import Sampling, narrowed, sample

Contestant = AdapterOnDisk | None  # None is the base model


class Asked(NamedTuple):
    """What one contestant is asked, and how its answer is drawn."""

    contestant: Contestant
    messages: Sequence[Message]
    sampling: Sampling


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


class _Answers:
    """What every contestant has said so far."""

    def __init__(
        self,
        base: LoadedBase,
        drawn: Sequence[Sampling],
        batches: list[list[int]],
        ends: Sequence[set[int]],
        gaps: Sequence[str],
    ) -> None:
        """`ends` are the tokens that end the answer of each, `gaps` what a template puts before it and no one says."""
        self._gaps = gaps
        self.base, self.drawn, self.batches = base, drawn, batches
        self.began = time.monotonic()
        self.tokens: list[list[int]] = [[] for _ in drawn]
        self.finished = [False] * len(drawn)
        self._texts = [""] * len(drawn)
        self._ends = ends

    def add(self, place: int, token: int) -> None:
        """The next token of a contestant."""
        self.finished[place] = token in self._ends[place]
        if not self.finished[place]:
            self.tokens[place].append(token)
            said = self.base.tokenizer.decode(self.tokens[place], skip_special_tokens=True)
            said = said.removeprefix(self._gaps[place])
            self._texts[place] = before_stop(said, self.drawn[place].stop)
            self.finished[place] = len(self._texts[place]) < len(said)

    def over(self, place: int, most: int) -> bool:
        """Whether a contestant has ended, or said `most` tokens."""
        return self.finished[place] or len(self.tokens[place]) >= most

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


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the stop words in it."""
    found = [at for word in stop if (at := text.find(word)) >= 0]
    return text[: min(found)] if found else text


def compare(
    base: LoadedBase,
    contestants: Sequence[Contestant],
    messages: Sequence[Message],
    should_stop: Callable[[], bool] = lambda: False,
    **sampling: Any,
) -> Iterator[Snapshot]:
    """`answers` of all contestants to the same messages, drawn alike. `sampling` are fields of `Sampling`."""
    drawn = Sampling(**sampling)
    return answers(base, [Asked(one, messages, drawn) for one in contestants], should_stop)


@torch.inference_mode()
def answers(
    base: LoadedBase, asked: Sequence[Asked], should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Snapshot]:
    """Answer as asked; yields before each token, the last time when all are done.

    Contestants with the same prompt go through the model together; each other prompt is a batch of its own, so that
    nothing is padded and an answer is the same alone and in company.

    Args:
        should_stop: asked before each token.

    Raises:
        AdapterError: if an adapter is not for this base model.
        ValueError: if a prompt leaves no room to answer, or the chat template refuses it.
    """
    contestants = [one.contestant for one in asked]
    _check_all(base, contestants)
    prompts = [prompt_ids(base.tokenizer_of(one.contestant), one.messages) for one in asked]
    room = _room(base, contestants)
    _check_room(base, prompts, room)
    ends, gaps = zip(*((_ends(base, one), gap(base.tokenizer_of(one))) for one in contestants), strict=True)
    said = _Answers(base, [one.sampling for one in asked], _batches(contestants, prompts), ends, gaps)
    for places in said.batches:
        with attached(base.model, [contestants[place] for place in places]) as batch, _quick(base.model):
            for _ in _answered(said, batch, places, prompts[places[0]], room):
                if should_stop():
                    break
                yield said.snapshot()
    yield said.snapshot(done=True)


def _batches(contestants: Sequence[Contestant], prompts: Sequence[list[int]]) -> list[list[int]]:
    """Who answers together: all that can and have the same prompt, in the order of the first of them."""
    found: list[list[int]] = []
    for together in groups(contestants):
        by_prompt: dict[tuple[int, ...], list[int]] = {}
        for place in together:
            by_prompt.setdefault(tuple(prompts[place]), []).append(place)
        found += by_prompt.values()
    return found


def _check_room(base: LoadedBase, prompts: Sequence[list[int]], room: int) -> None:
    longest = max(map(len, prompts))
    if longest >= room:
        raise ValueError(f"The prompt has {longest} tokens; this base model takes {max_length(base.model.config)}.")


def _answered(said: _Answers, batch: Attached, places: list[int], prompt: list[int], room: int) -> Iterator[None]:
    """Let the contestants at `places`, which are on the model, answer as one batch; rests before each token."""
    base = said.base
    most = {place: min(said.drawn[place].max_tokens, room - len(prompt)) for place in places}
    draws = {place: torch.Generator().manual_seed(said.drawn[place].seed) for place in places}
    ids = torch.tensor([prompt] * len(places), device=base.device.kind)  # (N, T)
    options: dict[str, Any] = {"use_cache": True, **_last_logits_only(base.model)}
    while True:
        yield
        out = base.model(input_ids=ids, **options)
        cache = getattr(out, "past_key_values", None)
        rows = zip(out.logits[:, -1].float().cpu(), places, strict=True)
        chosen = [_chosen(row, [*prompt, *said.tokens[at]], said.drawn[at], draws[at]) for row, at in rows]
        for place, token in zip(places, chosen, strict=True):
            said.add(place, token)
        going = [row for row, place in enumerate(places) if not said.over(place, most[place])]
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


def _chosen(logits: Tensor, seen: list[int], drawn: Sampling, draw: torch.Generator) -> int:
    """The next token from logits (V,), where `seen` tokens stand already."""
    fewer = narrowed(logits, drawn.temperature, seen, drawn.narrowing)
    return sample(fewer, drawn.temperature, drawn.top_p, draw)


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


def _ends(base: LoadedBase, contestant: Contestant) -> set[int]:
    """The tokens that end an answer of this contestant: those of the base, and what its own template ends one with."""
    taught = end_mark(base.tokenizer_of(contestant)) if contestant and contestant.template else None
    return end_tokens(base) | ({taught} if taught is not None else set())


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
    losses = []
    for contestant in contestants:
        tokenizer = base.tokenizer_of(contestant)
        examples = [e for e in (encode(tokenizer, row, length) for row in rows) if e.answer_tokens]
        with attached(base.model, [contestant]):
            loss = validation_loss(base, examples, rows_at_once=8)
        if loss is None:
            raise ValueError(f"No row has an answer within the first {length} tokens.")
        losses.append(loss)
    return losses
