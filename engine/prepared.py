"""The rows of a run before it starts: as tokens, split into those that are learned and those it is measured on.

Knows nothing about models and imports no torch, so that figures can be told from a tokenizer alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.problems import DataError
from engine.data.render import encode_all
from engine.data.split import split
from engine.data.tokens import TokenRows, store
from engine.settings import RunSettings


@dataclass(frozen=True)
class Prepared:
    """The rows of a run as tokens, split, with the figures known before it starts."""

    train: TokenRows
    validation: TokenRows
    length: int  # tokens; what rows were cut to
    longest: int  # tokens of the longest row before cutting
    cut: int  # rows that lost tokens
    unusable: int  # rows left out, since cutting took all they have to learn
    copies: int  # rows whose tokens are those of another row
    steps: int
    steps_per_epoch: int
    tokens_per_epoch: int
    answer_tokens_per_epoch: int


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
    return divided(store(encode_all(tokenizer, rows, limit, settings.loss_on), folder), settings, limit)


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


def divided(kept: TokenRows, settings: RunSettings, limit: int) -> Prepared:
    """Split rows that were cut to `limit` tokens, and count the steps.

    Raises:
        DataError: if no row has anything to learn at this length.
    """
    (usable,) = kept.answers.nonzero()
    if not len(usable):
        raise DataError([f"No row has an answer within the first {limit} tokens. Raise Length, or check the data."])
    marks = kept.marks[usable].tolist()
    train_ids, validation_ids = split(marks, settings.validation_share, settings.seed)
    train_rows = kept.part(usable[train_ids])
    steps_per_epoch = math.ceil(len(train_rows) / settings.batch_size)
    longest = int(kept.full_lengths.max())
    return Prepared(
        train=train_rows,
        validation=kept.part(usable[validation_ids]),
        length=min(limit, longest),
        longest=longest,
        cut=int((kept.full_lengths > limit).sum()),
        unusable=len(kept) - len(usable),
        copies=len(marks) - len(set(marks)),
        steps=steps_per_epoch * settings.epochs,
        steps_per_epoch=steps_per_epoch,
        tokens_per_epoch=int(train_rows.lengths.sum()),
        answer_tokens_per_epoch=int(train_rows.answers.sum()),
    )
