"""The curves of a grid: all of them at first, then what is new, and never more points than a chart can show."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from adapters_store.store import Job, Owner, Store
from studio import group_curves
from studio.runs_tab import answered

ME = Owner(101, 1000.5, "boot")


def of_grid(store: Store, count: int) -> list[Job]:
    """Runs of one grid that have begun, of 40 steps each."""
    jobs = [store.claim(store.submit("train", f"run-{n}", {}, grid="grid").id, ME) for n in range(count)]
    begun = [store.move(job.id, "running", who="test") for job in jobs if job]
    for job in begun:
        store.report(job.id, job.token, progress={"steps": 40})
    return begun


def measure(store: Store, job: Job, **losses: float) -> None:
    rows = [{"step": int(step[1:]), "loss": 9.0, "validation_loss": loss} for step, loss in losses.items()]
    store.report(job.id, job.token, metrics=rows)


def ask(store: Store, job: Job, known: object) -> dict[str, Any]:
    (question,) = group_curves.questions(store)
    return answered(question)({"job": job.id, "known": known})


def held(answer: dict[str, Any]) -> dict[str, list[Any]]:
    """What a page holds after an answer, as it says it when it asks again."""
    return {str(line["key"]): [line["series"], line["step"][-1] if line["step"] else -1] for line in answer["lines"]}


def test_only_what_is_new_of_each_curve_is_told_again(store: Store) -> None:
    one, other = of_grid(store, 2)
    measure(store, one, s0=3.0, s4=2.5)
    alone = store.submit("train", "alone", {})
    first = ask(store, other, {})
    assert first["steps"] == 40
    assert [(line["key"], line["reset"], line["step"], line["loss"]) for line in first["lines"]] == [
        (one.id, True, [0, 4], [3.0, 2.5]),
        (other.id, True, [], []),
    ]
    assert ask(store, one, held(first))["lines"] == []
    measure(store, other, s0=3.0)
    measure(store, one, s8=2.25)
    store.report(one.id, one.token, metrics=[{"step": 9, "loss": 2.0}])
    again = ask(store, one, held(first))["lines"]
    assert [(line["key"], line["reset"], line["step"]) for line in again] == [
        (one.id, False, [8]),
        (other.id, False, [0]),
    ]
    assert ask(store, alone, {})["lines"] == []


def test_a_curve_that_has_ended_is_told_once_and_one_that_begins_again_anew(store: Store) -> None:
    one, other = of_grid(store, 2)
    measure(store, one, s0=3.0, s4=2.5)
    measure(store, other, s0=3.0)
    before = held(ask(store, one, {}))
    store.move(one.id, "failed", who="test")
    store.move(other.id, "interrupted", who="test")
    ended = ask(store, one, before)
    assert [(line["key"], line["reset"], line["step"]) for line in ended["lines"]] == [
        (one.id, True, [0, 4]),
        (other.id, True, [0]),
    ]
    assert ask(store, one, held(ended))["lines"] == []
    store.move(other.id, "queued", who="person")  # no checkpoint, so it begins again
    store.claim(other.id, ME)
    (anew,) = ask(store, one, held(ended))["lines"]
    assert (anew["key"], anew["reset"], anew["step"]) == (other.id, True, [])


@pytest.mark.parametrize("known", [None, [], "all", {str(n): ["", -1] for n in range(101)}])
def test_what_a_page_says_it_knows_is_not_believed(store: Store, known: object) -> None:
    (job,) = of_grid(store, 1)
    assert "problem" in ask(store, job, known)
    assert "problem" in ask(store, Job(id=2**60), {})
    measure(store, job, s0=3.0)
    for odd in (7, [], ["x", "y"], [None, 0], ["", 2**70]):
        assert [line["reset"] for line in ask(store, job, {str(job.id): odd})["lines"]] == [True]


def test_of_many_validations_the_first_the_best_the_last_and_others_evenly_are_shown(store: Store) -> None:
    (job,) = of_grid(store, 1)
    losses = {step: 3.0 - step / 1000 for step in range(0, 1000, 2)} | {501: 0.5}
    measure(store, job, **{f"s{step}": loss for step, loss in losses.items()})
    assert store.validations(job.id, most=1000) == sorted(losses.items())
    shown = store.validations(job.id)
    assert len(shown) <= 60
    assert {0, 501, 998} <= {step for step, _ in shown}
    assert max(after - before for (before, _), (after, _) in pairwise(shown)) <= 2 * 1000 / 58
    assert store.validations(job.id, after=994) == [(996, losses[996]), (998, losses[998])]
