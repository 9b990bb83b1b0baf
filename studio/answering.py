"""From a question to what the page shows of it, step by step: waiting, the answers as they grow, kept, and proven.

Whatever the end, what was answered is kept. Of a blind comparison nothing is told before all answers are complete: the
speed of a text would give its author away. Knows nothing about widgets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from adapters_store.comparison_tables import Comparison
from jobs.ask import AnswererError
from studio import answer_grid, comparing, kept_grid
from studio.answer_grid import Grid
from studio.asked import Question
from studio.hearing import Hearing
from studio.page import Studio

PERIOD = 0.1  # seconds between two updates of the page
FIRST = "Waiting for the first token; the first time the base is loaded."
UNSEEN = "Answering. The texts are shown when all of them are complete."


def waiting(question: Question) -> Grid:
    """The columns before the first token."""
    if question.sides is not None:
        return kept_grid.blind(question, UNSEEN)
    return answer_grid.waiting(question, FIRST)


def answers(studio: Studio, question: Question, before: Comparison | None = None) -> Iterator[Grid]:
    """The columns as the answers grow, then as they were kept, then with their proof. Closing it stops the answerer.

    Args:
        before: the comparison whose question this is once more; then the status says whether the answers are the same.

    Raises:
        AnswererError: the answers broke off. What was said so far is kept.
    """
    hearing, done = Hearing(studio.store, studio.answerer, question), list[Comparison]()
    yield from _growing(hearing, done)
    if not done:
        yield answer_grid.ended({}, "The answerer had nothing to say.")
        return
    told = comparing.differences(before, done[0]) if before else ""
    yield _kept(studio, done[0], told)
    try:
        yield _kept(studio, hearing.prove(done[0]), told)
    except AnswererError as error:
        yield _kept(studio, done[0], f"{told} Without proof: {error}")


def _growing(hearing: Hearing, done: list[Comparison]) -> Iterator[Grid]:
    shown = 0.0
    try:
        with closing(hearing.listen()) as tokens:
            for number in tokens:
                if time.monotonic() - shown >= PERIOD:
                    shown = time.monotonic()
                    yield _so_far(hearing, number)
    except AnswererError as error:
        hearing.ended = str(error)
        raise
    finally:
        if hearing.snapshot is not None:
            done.append(hearing.keep())


def _so_far(hearing: Hearing, number: int) -> Grid:
    if hearing.question.sides is not None:
        return waiting(hearing.question)
    several = len(hearing.sittings)
    status = f"Model {number + 1} of {several} answers; each is loaded in turn." if several > 1 else ""
    assert hearing.snapshot is not None
    return {**answer_grid.answering(hearing.question, hearing.snapshot, hearing.rates), "status": status}


def _kept(studio: Studio, kept: Comparison, told: str) -> Grid:
    # Read anew: a vote may have come in between, and only then may the names be told.
    grid = kept_grid.of(studio.store, studio.store.comparison(kept.id))
    return {**grid, "status": f"{grid['status']} {told}".strip()}
