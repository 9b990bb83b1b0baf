"""From a question to what the page shows of it, step by step: waiting, the answers as they grow, kept, and proven.

Whatever the end, what was answered is kept. Of a blind comparison nothing is told before all answers are complete: the
speed of a text would give its author away. Knows nothing about widgets.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from adapters_store.comparison_tables import Comparison
from jobs.ask import AnswererError
from studio import answer_grid, comparing, kept_grid
from studio.answer_grid import Grid, Pace, Sampling
from studio.comparing import Question, Snapshot
from studio.page import Studio

PERIOD = 0.1  # seconds between two updates of the page
DEADLINE = 600  # seconds; a long answer of five contestants on a busy CPU
FIRST = "Waiting for the first token; the first time the base is loaded."
UNSEEN = "Answering. The texts are shown when all of them are complete."


def waiting(question: Question) -> Grid:
    """The columns before the first token."""
    if question.sides is not None:
        return kept_grid.blind(len(question.people), UNSEEN)
    return answer_grid.waiting(question.people, Sampling(**question.sampling), FIRST)


def answers(studio: Studio, question: Question, before: Comparison | None = None) -> Iterator[Grid]:
    """The columns as the answers grow, then as they were kept, then with their proof. Closing it stops the answerer.

    Args:
        before: the comparison whose question this is once more; then the status says whether the answers are the same.

    Raises:
        AnswererError: the answers broke off. What was said so far is kept.
    """
    done: list[tuple[Comparison, Snapshot]] = []
    yield from _growing(studio, question, done)
    if not done:
        yield answer_grid.ended({}, "The answerer had nothing to say.")
        return
    kept, last = done[0]
    told = comparing.differences(before, kept) if before else ""
    yield _kept(studio, kept, told)
    try:
        yield _kept(studio, comparing.prove(studio.store, studio.answerer, question, kept, last["ids"]), told)
    except AnswererError as error:
        yield _kept(studio, kept, f"{told} Without proof: {error}")


def _growing(studio: Studio, question: Question, done: list[tuple[Comparison, Snapshot]]) -> Iterator[Grid]:
    pace, last, rates, shown = Pace(len(question.people)), None, [], 0.0
    ended = "stopped"
    asked = {**comparing.seating(studio.store, question), **question.sampling}
    try:
        with contextlib.closing(studio.answerer.stream("compare", deadline=DEADLINE, **asked)) as snapshots:
            for last in snapshots:
                rates = pace.after(last)
                if time.monotonic() - shown >= PERIOD:
                    shown = time.monotonic()
                    yield _so_far(question, last, rates)
        ended = "complete"
    except AnswererError as error:
        ended = str(error)
        raise
    finally:
        if last is not None:
            done.append((comparing.keep(studio.store, question, last, rates, ended), last))


def _so_far(question: Question, snapshot: Snapshot, rates: list[float | None]) -> Grid:
    if question.sides is not None:
        return waiting(question)
    return answer_grid.answering(question.people, Sampling(**question.sampling), snapshot, rates)


def _kept(studio: Studio, kept: Comparison, told: str) -> Grid:
    # Read anew: a vote may have come in between, and only then may the names be told.
    grid = kept_grid.of(studio.store, studio.store.comparison(kept.id))
    return {**grid, "status": f"{grid['status']} {told}".strip()}
