"""The kinds of requests that the answerer takes, one function each: what is in the payload, and what comes back.

A request yields its parts, or its one result. What it needs loaded it asks the desk for. Knows nothing about the pipe
that requests come through: see `answerer.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobs.warm import stamp

if TYPE_CHECKING:
    from jobs.answerer import Desk

SCORE_LENGTH = 1024  # tokens of a row that are scored when the request names no length

COUNTED_BY = {"length", "batch_size", "validation_share", "seed"}  # what the figures of one epoch depend on

Payload = Mapping[str, Any]
Answers = Generator[dict[str, Any]]
ShouldStop = Callable[[], bool]


class Cancelled(Exception):
    """The request was taken back."""


def plan(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """Steps, tokens and cut rows of a run, from the tokenizer alone.

    Rows are counted once for each choice of the settings they depend on; all others, epochs included, cost nothing.
    """
    from engine.settings import parse

    settings = parse(payload["settings"])
    base, rows = payload["base_path"], payload["rows_path"]
    stamps = (stamp(Path(base) / "config.json"), stamp(Path(rows)))
    before = {"method", "prompt_tokens"} if settings.method == "prompt" else set()  # they leave less room for a row
    counted = desk.plan(base, rows, stamps, settings.model_dump_json(include=COUNTED_BY | before))
    yield {**counted, "steps": counted["steps_per_epoch"] * settings.epochs}


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
    """All contestants answer the same messages, as rows of one batch; a part for each token."""
    from engine import generate

    desk.use_threads(payload.get("threads"))
    base, contestants = desk.seated(payload)
    if should_stop():
        raise Cancelled
    snapshots = generate.compare(
        base,
        contestants,
        payload["messages"],
        seed=int(payload["seed"]),
        temperature=float(payload["temperature"]),
        top_p=float(payload["top_p"]),
        max_tokens=int(payload["max_tokens"]),
        should_stop=should_stop,
    )
    with closing(cast(Any, snapshots)):
        for snapshot in snapshots:
            yield dataclasses.asdict(snapshot)


def describe(desk: Desk, payload: Payload, should_stop: ShouldStop) -> Answers:
    """The facts of a model that may have nothing here but a config.json."""
    from jobs import describing

    yield describing.facts(payload["source"])


KINDS: dict[str, Callable[[Desk, Payload, ShouldStop], Answers]] = {
    "plan": plan,
    "score": score,
    "compare": compare,
    "describe": describe,
}
STREAMED = {"compare"}  # their items are parts; the one item of the others is the result
