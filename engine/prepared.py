"""The rows of a run before it starts: as tokens, split into those that are learned and those it is measured on.

Knows nothing about models and imports no torch, so that figures can be told from a tokenizer alone.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.data.mixture import Part, an_epoch, rows_of_epoch
from engine.data.near import NearRows
from engine.data.problems import DataError
from engine.data.render import encode_all
from engine.data.split import Split, split
from engine.data.tokens import Numbers, TokenRows, store
from engine.settings import RunSettings


class Portion(NamedTuple):
    """The rows of one data set as tokens.

    Attributes:
        weight: how often its rows come in an epoch; see `engine.data.mixture`.
        sources: how many rows come from each of its files, in their order; () where that is not known.
    """

    rows: TokenRows
    weight: float = 1.0
    sources: Sequence[int] = ()


@dataclass(frozen=True)
class Prepared:
    """The rows of a run as tokens, split, with the figures known before it starts.

    Attributes:
        train: the rows of all sets, one set after another.
        parts: of each set, how many of those rows are its own, and how many come in an epoch.
        set_aside: of each set, how many rows are measured on.
        regrouped: whether near copies moved the line between the rows; see `engine.data.split`.
        across: whether there are near copies on both sides of it.
    """

    train: TokenRows
    validation: TokenRows
    length: int  # tokens; what rows were cut to
    longest: int  # tokens of the longest row before cutting
    cut: int  # rows that lost tokens
    unusable: int  # rows left out, since cutting took all they have to learn
    copies: int  # rows whose tokens are those of another row
    steps: int
    steps_per_epoch: int
    tokens_per_epoch: int  # of the first epoch
    answer_tokens_per_epoch: int
    parts: tuple[Part, ...]
    set_aside: tuple[int, ...]
    regrouped: bool
    across: bool

    def rows_of_epoch(self, seed: int, epoch: int) -> Sequence[int]:
        """Which rows of `train` an epoch has."""
        return rows_of_epoch(self.parts, seed, epoch)


def prepare(
    tokenizer: Any,
    rows: Iterable[dict[str, Any]],
    settings: RunSettings,
    max_length: int,
    folder: Path | None = None,
) -> Prepared:
    """Tokenise and split the rows and count the steps. Rows are taken one by one, and only their tokens are kept.

    Args:
        folder: on whose disk the tokens are kept while they are needed; the system's temporary place for None.

    Raises:
        DataError: as `room` and `divided`, or the base model's chat template cannot write some of the rows.
    """
    limit = room(settings, max_length)
    return divided([Portion(store(encode_all(tokenizer, rows, limit, settings.loss_on), folder))], settings, limit)


def room(settings: RunSettings, max_length: int) -> int:
    """Tokens that a row is cut to by a run of these settings on a base model that takes `max_length`.

    Raises:
        DataError: if a soft prompt, which takes positions of every row, takes all of them.
    """
    before = settings.prompt_tokens if settings.method == "prompt" else 0
    limit = min(settings.length, max_length - before)
    if limit < 1:
        told = f"A soft prompt of {before} tokens leaves no room for rows: this base model takes {max_length}."
        raise DataError([f"{told} Lower Prompt length."])
    return limit


def divided(portions: Sequence[Portion], settings: RunSettings, limit: int) -> Prepared:
    """Split rows that were cut to `limit` tokens, and count the steps.

    Raises:
        DataError: if no row has anything to learn at this length.
    """
    kept, usable, line = _line_through(portions, settings)
    if not len(usable):
        raise DataError([f"No row has an answer within the first {limit} tokens. Raise Length, or check the data."])
    ends = np.cumsum([len(portion.rows) for portion in portions])
    learned, measured = (_within(usable[numbers], ends) for numbers in (line.train, line.validation))
    parts = tuple(
        Part(count, an_epoch(count, portion.weight)) for count, portion in zip(learned, portions, strict=True)
    )
    train_rows = kept.part(usable[line.train])
    first = np.asarray(rows_of_epoch(parts, settings.seed, 0), np.int64)
    steps_per_epoch = math.ceil(len(first) / settings.batch_size)
    longest = int(kept.full_lengths.max())
    return Prepared(
        train=train_rows,
        validation=kept.part(usable[line.validation]),
        length=min(limit, longest),
        longest=longest,
        cut=int((kept.full_lengths > limit).sum()),
        unusable=len(kept) - len(usable),
        copies=len(usable) - len(np.unique(kept.marks[usable])),
        steps=steps_per_epoch * settings.epochs,
        steps_per_epoch=steps_per_epoch,
        tokens_per_epoch=int(train_rows.lengths[first].sum()),
        answer_tokens_per_epoch=int(train_rows.answers[first].sum()),
        parts=parts,
        set_aside=tuple(measured),
        regrouped=line.regrouped,
        across=line.across,
    )


def held_out(portions: Sequence[Portion], settings: RunSettings) -> list[int]:
    """The rows that `divided` sets aside to measure on: their numbers, counted on from one portion to the next."""
    _, usable, line = _line_through(portions, settings)
    return [int(number) for number in usable[line.validation]]


class _Line(NamedTuple):
    """All rows, the numbers of those with something to learn, and how these are split, by their places among them."""

    kept: TokenRows
    usable: Numbers
    split: Split


def _line_through(portions: Sequence[Portion], settings: RunSettings) -> _Line:
    rows = tuple(portion.rows for portion in portions)
    sources = tuple(tuple(portion.sources) for portion in portions)
    return _line(rows, sources, settings.validation_share, settings.seed)


@functools.lru_cache(maxsize=2)  # a form asks again and again, with other settings
def _line(rows: tuple[TokenRows, ...], sources: tuple[tuple[int, ...], ...], share: float, seed: int) -> _Line:
    kept = TokenRows.joined(rows)
    (usable,) = kept.answers.nonzero()
    near = NearRows(kept.part(usable), _within(usable, np.cumsum([len(one) for one in rows])))
    of_rows = _sources(rows, sources)[usable].tolist()
    marks = kept.marks[usable].tolist()
    return _Line(kept, usable, split(marks, share, seed, of_rows, near.of))


def _sources(rows: Sequence[TokenRows], files: Sequence[Sequence[int]]) -> Numbers:
    """The number of the source of each row, from 0: its data set, its file, and what its column of sources says."""
    sizes = [size for one, known in zip(rows, files, strict=True) for size in known or (len(one),)]
    file_of = np.repeat(np.arange(len(sizes)), sizes)
    told = np.concatenate([one.sources for one in rows])
    return np.unique(np.stack([file_of, told]), axis=1, return_inverse=True)[1].reshape(-1)


def _within(numbers: Numbers, ends: Numbers) -> list[int]:
    """How many of the numbers, in their order, lie before each of the ends and not before the one before it."""
    return [int(count) for count in np.diff(np.searchsorted(numbers, ends), prepend=0)]
