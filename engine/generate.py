"""Answers: contestants, the base model among them, answer one prompt or many as the rows of one batch.

The frozen weights are read once for all of them; contestants that change the base itself answer after the others. Every
answer is drawn from its own generator with its own seed, so that it does not depend on who else is in the batch and
equal weights give equal answers. Whoever has finished leaves the batch, and who waits for a place comes in. `score`
measures contestants on given rows instead.

Knows nothing about the library, names or the page.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from engine.snapshot import Answers, Snapshot
from engine.under_way import UnderWay, can_mix

Contestant = AdapterOnDisk | None  # None is the base model


class Asked(NamedTuple):
    """One row: what a contestant is asked, and how its answer is drawn."""

    contestant: Contestant
    messages: Sequence[Message]
    sampling: Sampling


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
    base: LoadedBase,
    asked: Sequence[Asked],
    should_stop: Callable[[], bool] = lambda: False,
    at_once: int | None = None,
) -> Iterator[Snapshot]:
    """Answer as asked; yields before each token, the last time when all are done.

    Prompts of any length share a batch where `can_mix` has it; elsewhere each other prompt is a batch of its own.

    Args:
        should_stop: asked before each token.
        at_once: how many answer at the same time at most, all if None. The others come in as places fall free.

    Raises:
        AdapterError: if an adapter is not for this base model.
        ValueError: if a prompt leaves no room to answer, or the chat template refuses it.
    """
    contestants = [one.contestant for one in asked]
    prompts = prompts_of(base, asked)
    ends, gaps = zip(*((_ends(base, one), gap(base.tokenizer_of(one))) for one in contestants), strict=True)
    said = Answers(base, [one.sampling for one in asked], _batches(base, contestants, prompts), ends, gaps)
    for places in said.batches:
        people = _different([contestants[place] for place in places])
        with attached(base.model, people) as seats, _quick(base.model):
            seated = [_place_of(contestants[place], people) for place in places]
            crowd = _Crowd(said, seats, dict(zip(places, seated, strict=True)), prompts, _room(base, contestants))
            for _ in crowd.answering(at_once or len(places)):
                if should_stop():
                    break
                yield said.snapshot()
    yield said.snapshot(done=True)


def prompts_of(base: LoadedBase, asked: Sequence[Asked]) -> list[list[int]]:
    """The tokens of each prompt, which go through the model before the first of its answer.

    Raises:
        AdapterError, ValueError: as `answers`.
    """
    contestants = [one.contestant for one in asked]
    for contestant in _different(contestants):
        if contestant:
            check_fits(contestant, base.model)
    prompts = [prompt_ids(base.tokenizer_of(one.contestant), one.messages) for one in asked]
    longest = max(map(len, prompts))
    if longest >= _room(base, contestants):
        raise ValueError(f"The prompt has {longest} tokens; this base model takes {max_length(base.model.config)}.")
    return prompts


def _different(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Each contestant once, in the order in which they come."""
    return list({id(one): one for one in contestants}.values())


def _place_of(contestant: Contestant, people: Sequence[Contestant]) -> int:
    return next(place for place, one in enumerate(people) if one is contestant)


def _batches(base: LoadedBase, contestants: Sequence[Contestant], prompts: Sequence[list[int]]) -> list[list[int]]:
    """Who answers together, in the order of the first of them."""
    found = groups(contestants)
    return found if can_mix(base.model) else [same for places in found for same in _by_prompt(places, prompts)]


def _by_prompt(places: Sequence[int], prompts: Sequence[list[int]]) -> list[list[int]]:
    """Those with the same prompt, in the order of the first of them."""
    found: dict[tuple[int, ...], list[int]] = {}
    for place in places:
        found.setdefault(tuple(prompts[place]), []).append(place)
    return list(found.values())


class _Crowd:
    """Those that answer together: who of them is under way, and who waits."""

    def __init__(
        self, said: Answers, seats: Attached, seated: dict[int, int], prompts: Sequence[list[int]], room: int
    ) -> None:
        """`seated` are the places, each with the number of its contestant on the model."""
        self._said, self._seats, self._seated, self._prompts = said, seats, seated, prompts
        self._most = {at: min(said.drawn[at].max_tokens, room - len(prompts[at])) for at in seated}
        self._draws = {at: torch.Generator().manual_seed(said.drawn[at].seed) for at in seated}
        self._under_way: list[int] = []
        self._rows = UnderWay(said.base.model)

    def answering(self, at_once: int) -> Iterator[None]:
        """Let all answer, so many at once at most; rests before each token."""
        waiting = deque(self._in_turn(at_once))
        while waiting or self._under_way:
            while waiting and len(self._under_way) + len(waiting[0]) <= at_once:
                yield
                self._come_in(waiting.popleft())
            if self._under_way:
                yield
                self._seat(self._under_way)
                self._take(self._rows.step([self._said.tokens[at][-1] for at in self._under_way]))

    def _in_turn(self, at_once: int) -> Iterator[list[int]]:
        """Who comes in together: those with the same prompt, as it is read once for all of them."""
        for places in _by_prompt(list(self._seated), self._prompts):
            yield from (places[first : first + at_once] for first in range(0, len(places), at_once))

    def _come_in(self, places: list[int]) -> None:
        self._seat(places)
        logits = self._rows.join(self._prompts[places[0]], len(places))
        there, self._under_way = len(self._under_way), [*self._under_way, *places]
        self._take(logits, there)

    def _seat(self, places: Sequence[int]) -> None:
        self._seats.seat([self._seated[at] for at in places])

    def _take(self, logits: Tensor, first: int = 0) -> None:
        """The next token of all from row number `first` on, from their logits (N, V). Who has ended leaves."""
        for row, at in zip(logits.float().cpu(), self._under_way[first:], strict=True):
            seen = [*self._prompts[at], *self._said.tokens[at]]
            self._said.add(at, _chosen(row, seen, self._said.drawn[at], self._draws[at]), self._most[at])
        going = [row for row, at in enumerate(self._under_way) if not self._said.over[at]]
        self._rows.keep(going)
        self._under_way = [self._under_way[row] for row in going]


def _chosen(logits: Tensor, seen: list[int], drawn: Sampling, draw: torch.Generator) -> int:
    """The next token from logits (V,), where `seen` tokens stand already."""
    fewer = narrowed(logits, drawn.temperature, seen, drawn.narrowing)
    return sample(fewer, drawn.temperature, drawn.top_p, draw)


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
