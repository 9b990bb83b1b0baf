"""The kinds of requests that the answerer takes, one function each: what is in the payload, and what comes back.

A request yields its parts, or its one result. What it needs loaded it asks the desk for. Knows nothing about the pipe
that requests come through: see `answerer.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jobs import seats
from jobs.held_out import held_out
from jobs.likening import letters, reference
from jobs.proving import proof
from jobs.warm import stamp

if TYPE_CHECKING:
    from jobs.answerer import Desk

SCORE_LENGTH = 1024  # tokens of a row that are scored when the request names no length

MOST_VIEWED = 100  # rows of one view

Payload = Mapping[str, Any]
Answers = Generator[dict[str, Any]]
ShouldStop = Callable[[], bool]
R = TypeVar("R")


class Cancelled(Exception):
    """The request was taken back."""


def unless(should_stop: ShouldStop, rows: Iterable[R]) -> Iterator[R]:
    """The rows; Cancelled as soon as `should_stop` says so."""
    for row in rows:
        if should_stop():
            raise Cancelled
        yield row


def plan(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """Steps, tokens and cut rows of a run, from the tokenizer alone.

    `mixture` are the data sets it learns from: of each its rows, its weight, and how many rows each of its files gave;
    without it `rows_path` is the only one. Rows become tokens once for each choice of the settings that say how; all
    others cost little.
    """
    from engine.prepared import Portion, divided
    from engine.settings import parse

    settings, limit, portions = parse(payload["settings"]), 0, []
    for path, weight, sources in payload.get("mixture") or [(payload["rows_path"], 1.0, ())]:
        kept, limit = desk.tokens(payload["base_path"], path, settings, should_stop)
        portions.append(Portion(kept, float(weight), tuple(sources)))
    prepared = divided(portions, settings, limit)
    yield {
        "steps": prepared.steps,
        "steps_per_epoch": prepared.steps_per_epoch,
        "tokens_per_epoch": prepared.tokens_per_epoch,
        "answer_tokens_per_epoch": prepared.answer_tokens_per_epoch,
        "rows": sum(len(portion.rows) for portion in portions),
        "validation_rows": len(prepared.validation),
        "validation_is_like": prepared.across,
        "portions": [
            {"an_epoch": part.an_epoch, "aside": aside}
            for part, aside in zip(prepared.parts, prepared.set_aside, strict=True)
        ],
        "rows_cut": prepared.cut,
        "rows_unusable": prepared.unusable,
        "length": prepared.length,
        "longest": prepared.longest,
    }


def lengths(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """How long the rows are in tokens, which are cut, and which have nothing to learn; see `engine.data.lengths`.

    Beside that: template, what the chat template is called, None where it is plain words; where it is not the base's
    own, warning says so.
    With "names_refused" rows that the template refuses are no error: refused has their numbers and reasons, and
    refused_total how many there are; that is all then.
    """
    from engine.data.known_templates import told
    from engine.data.lengths import lengths
    from engine.data.problems import DataError
    from engine.data.template import name_of
    from engine.settings import parse
    from engine.tokenizer_config import has_chat_template

    base, settings = payload["base_path"], parse(payload["settings"])
    try:
        kept, limit = desk.tokens(base, payload["rows_path"], settings, should_stop)
    except DataError as error:
        if not (payload.get("names_refused") and error.refused):
            raise
        yield {"refused": error.refused, "refused_total": error.total}
        return
    template = name_of(desk.tokenizer(base, settings).chat_template)
    warning = told(settings.chat_template, has_chat_template(Path(base)))
    yield {**lengths(kept, limit), "template": template, "warning": warning}


def view(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """Rows as the model will see them: `count` of them from number `first` on; each as `engine.data.view`, with index.

    A row that cannot be rendered has no pieces, and a problem, in a sentence.
    """
    from engine.data.render import Speller
    from engine.data.view import view
    from engine.prepared import room
    from engine.settings import parse

    base, settings = payload["base_path"], parse(payload["settings"])
    config, file, first = stamp(Path(base) / "config.json"), desk.file(payload["rows_path"]), int(payload["first"])
    tokenizer, limit = desk.tokenizer(base, settings), room(settings, desk.max_length(base, config))
    chosen = file[first : first + min(int(payload["count"]), MOST_VIEWED)]
    shown = []
    for index, spelt in enumerate(Speller(tokenizer, settings.loss_on).spell(chosen), first):
        nothing = {"tokens": 0, "answer_tokens": 0, "cut": 0, "pieces": [], "hidden": 0, "problem": str(spelt)}
        shown.append({"index": index, **(nothing if isinstance(spelt, ValueError) else view(tokenizer, spelt, limit))})
    yield {"total": len(file), "rows": shown}


def score(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """Mean loss of an answer token on held-out rows, for each contestant."""
    from engine import generate
    from engine.data.check import read_rows

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    rows = read_rows(Path(payload["rows_path"]))
    losses = generate.score(base, contestants, rows, int(payload.get("length") or SCORE_LENGTH))
    yield {"losses": losses}


def compare(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """All contestants of one base answer, each what its seat is asked; a part for each token."""
    from engine import generate

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    if should_stop():
        raise Cancelled
    asked = map(generate.Asked, contestants, seats.messages_of(payload), seats.sampling_of(payload))
    snapshots = generate.answers(base, list(asked), should_stop)
    with closing(cast(Any, snapshots)):
        for snapshot in snapshots:
            yield dataclasses.asdict(snapshot)


def describe(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """The facts of a model that may have nothing here but a config.json."""
    from jobs import describing

    yield describing.facts(payload["source"])


def rest(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """Give back the memory of the base model."""
    desk.let_go()
    yield {}


KINDS: dict[str, Callable[[Desk, Payload, ShouldStop], Answers]] = {
    "plan": plan,
    "lengths": lengths,
    "view": view,
    "score": score,
    "compare": compare,
    "describe": describe,
    "proof": proof,
    "reference": reference,
    "letters": letters,
    "held_out": held_out,
    "rest": rest,
}
STREAMED = {"compare"}  # their items are parts; the one item of the others is the result
