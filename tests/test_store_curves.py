"""A curve from the store: thinned without losing anything one would look for, and any stretch of it in full."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters_store.store import Job, Owner, Store
from adapters_store.store_curves import MOST_POINTS, Curve
from adapters_store.tables import MEASURED

ME = Owner(101, 1000.5, "boot")
Rows = list[dict[str, Any]]


def measured(store: Store, rows: Rows) -> Job:
    """A run that measured these rows."""
    job = store.claim(store.submit("train", "pirate", {}).id, ME)
    assert job is not None
    store.move(job.id, "running", who="test", token=job.token)
    store.report(job.id, job.token, metrics=rows)
    return job


def noisy(count: int) -> Rows:
    return [
        {"step": i, "loss": 2 + math.sin(i * 0.7) * 0.3, "validation_loss": 1.5 if i % 500 == 0 else None}
        for i in range(count)
    ]


def points(curve: Curve, name: str = "loss") -> dict[int, float]:
    return {step: value for step, value in zip(curve["step"], curve[name], strict=True) if value is not None}


def stretches(steps: list[int], count: int) -> list[range]:
    """`count` stretches of equal length from the first step to the last."""
    first, span = steps[0], steps[-1] - steps[0] + 1
    bounds = [first + i * span // count for i in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


LOSSES = st.one_of(st.none(), st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 3)))
CURVES = st.dictionaries(st.integers(0, 400), LOSSES, min_size=1, max_size=200)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses=CURVES, most=st.integers(8, 60))
def test_ends_and_the_least_and_greatest_of_every_stretch_are_kept(
    store: Store, losses: dict[int, float | None], most: int
) -> None:
    steps = sorted(losses)
    job = measured(store, [{"step": step, "loss": losses[step]} for step in steps])
    curve = store.curve(job.id, most=most)
    kept = points(curve)
    assert curve["step"] == sorted(set(curve["step"]))
    assert {step: losses[step] for step in kept} == kept
    if len(steps) <= most:
        assert curve["step"] == steps
        return
    assert len(curve["step"]) <= most
    assert {steps[0], steps[-1]} <= set(curve["step"])
    for stretch in stretches(steps, (most - len({steps[0], steps[-1]})) // 2):
        own = [loss for step in stretch if (loss := losses.get(step)) is not None]
        if own:
            there = [kept[step] for step in stretch if step in kept]
            assert (min(there), max(there)) == (min(own), max(own))


def test_a_short_curve_is_left_as_it_is(store: Store) -> None:
    rows = noisy(200)
    curve = store.curve(measured(store, rows).id)
    assert [curve[name] for name in ("step", "loss", "validation_loss")] == [
        [row[name] for row in rows] for name in ("step", "loss", "validation_loss")
    ]
    assert curve["mean"] == curve["loss"]
    assert set(curve["weight"]) == {1.0}


def test_no_curve_is_columns_without_numbers(store: Store) -> None:
    curve = store.curve(store.submit("train", "new", {}).id)
    assert curve == {name: [] for name in ("step", *MEASURED, "mean", "weight")}


def test_a_long_curve_has_at_most_the_points_that_can_be_drawn(store: Store) -> None:
    curve = store.curve(measured(store, noisy(10_000)).id)
    assert MOST_POINTS // 2 < len(curve["step"]) <= MOST_POINTS
    assert {len(values) for values in curve.values()} == {len(curve["step"])}


def test_the_means_of_a_thinned_curve_average_to_the_mean_of_the_whole(store: Store) -> None:
    rows = noisy(5_000)
    curve = store.curve(measured(store, rows).id, most=400)
    weighed = zip(curve["mean"], curve["weight"], strict=True)
    mean = sum(mean * weight for mean, weight in weighed if weight) / sum(curve["weight"])
    assert mean == pytest.approx(sum(row["loss"] for row in rows) / len(rows), abs=1e-3)
    assert sum(curve["weight"]) == pytest.approx(5_000)


def test_every_validation_and_the_best_one_survive_the_thinning(store: Store) -> None:
    rows = noisy(6_000)
    rows[2_050]["validation_loss"] = 0.9
    kept = points(store.curve(measured(store, rows).id, most=400), "validation_loss")
    assert kept == {2_050: 0.9} | {step: 1.5 for step in range(0, 6_000, 500)}


def test_so_many_validations_that_they_alone_are_too_many_keep_the_best(store: Store) -> None:
    rows = [{"step": i, "loss": 2.0, "validation_loss": 0.5 if i == 1_234 else 1.5} for i in range(3_000)]
    curve = store.curve(measured(store, rows).id, most=100)
    assert len(curve["step"]) <= 100
    assert points(curve, "validation_loss")[1_234] == 0.5


def test_a_stretch_shows_its_own_points(store: Store) -> None:
    rows = noisy(3_000)
    job = measured(store, rows)
    near = store.curve(job.id, after=1_499, until=1_700, most=400)
    assert points(near) == {row["step"]: row["loss"] for row in rows[1_500:1_701]}
    wide = store.curve(job.id, after=999, until=2_000, most=400)
    assert (wide["step"][0], wide["step"][-1]) == (1_000, 2_000)
    assert 200 < len(wide["step"]) <= 400


def test_what_comes_after_a_snapshot_adds_up_to_the_same_curve(store: Store) -> None:
    rows = noisy(1_200)
    job = measured(store, rows[:1_000])
    known = points(store.curve(job.id))
    for start in range(1_000, 1_200, 40):
        store.report(job.id, job.token, metrics=rows[start : start + 40])
        known |= points(store.curve(job.id, after=max(known)))
    assert known == points(store.curve(job.id)) == {row["step"]: row["loss"] for row in rows}


def test_another_run_is_another_curve(store: Store) -> None:
    one, other = measured(store, noisy(500)), measured(store, [{"step": 1, "loss": 9.0}])
    assert max(points(store.curve(one.id, most=100)).values()) < 9.0
    assert points(store.curve(other.id, most=100)) == {1: 9.0}
