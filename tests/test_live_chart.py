"""The curve handed to the page: thinned without losing anything one would look for, and only once."""

import json
import math
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Job, Metric
from jobs.process import identify
from studio import live_chart
from studio.live_chart import MOST_POINTS, columns, curve, thin


def metric(step: int, loss: float | None, validation: float | None = None) -> Metric:
    return Metric(step=step, loss=loss, validation_loss=validation, tokens=step * 10, seconds=step * 0.5)


def noisy(count: int) -> list[Metric]:
    return [metric(step, 2 + math.sin(step * 0.7) * 0.3, 1.5 if step % 500 == 0 else None) for step in range(count)]


def running_job(store: Store, steps: int) -> Job:
    job = store.submit("train", "pirate-r16", {})
    claimed = store.claim(job.id, identify())
    assert claimed is not None
    store.move(job.id, "running", who="test", token=claimed.token)
    report(store, claimed, range(steps))
    return store.job(job.id)


def report(store: Store, job: Job, steps: range) -> None:
    rows: list[dict[str, Any]] = [{"step": step, "loss": 3 - step / 1000} for step in steps]
    store.report(job.id, job.token, metrics=rows)


def test_a_short_curve_is_left_as_it_is() -> None:
    rows = noisy(MOST_POINTS)
    points = thin(rows, MOST_POINTS)
    assert [point.metric for point in points] == rows
    assert {point.weight for point in points} == {1.0}


def test_a_long_curve_has_at_most_the_points_that_can_be_drawn_in_order() -> None:
    points = thin(noisy(100_000), MOST_POINTS)
    steps = [point.metric.step for point in points]
    assert MOST_POINTS // 2 < len(steps) <= MOST_POINTS
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 99_999)


def test_a_single_spike_survives_the_thinning() -> None:
    rows = noisy(50_000)
    rows[31_337].loss = 40.0
    assert 40.0 in [point.metric.loss for point in thin(rows, MOST_POINTS)]


def test_every_validation_and_the_best_one_survive_the_thinning() -> None:
    rows = noisy(50_000)
    rows[20_500].validation_loss = 0.9
    kept = [p.metric for p in thin(rows, MOST_POINTS) if p.metric.validation_loss is not None]
    assert len(kept) == 100
    assert min(m.validation_loss or 9.0 for m in kept) == 0.9


def test_so_many_validations_that_they_alone_are_too_many_keep_the_best() -> None:
    rows = [metric(step, 2.0, 1.5) for step in range(30_000)]
    rows[12_345].validation_loss = 0.5
    points = thin(rows, MOST_POINTS)
    assert len(points) <= MOST_POINTS
    assert 0.5 in [p.metric.validation_loss for p in points]


def test_the_means_of_a_thinned_curve_average_to_the_mean_of_the_whole() -> None:
    rows = noisy(20_000)
    points = thin(rows, MOST_POINTS)
    weights = sum(p.weight for p in points)
    mean = sum((p.mean or 0) * p.weight for p in points) / weights
    whole = sum(row.loss or 0 for row in rows) / len(rows)
    assert abs(mean - whole) < 1e-3


def test_columns_are_of_one_length_and_plain_json() -> None:
    rows = [metric(0, None, 3.0), metric(1, math.nan), metric(2, 2.123456789)]
    made = columns(thin(rows, MOST_POINTS))
    assert {len(values) for values in made.values()} == {3}
    assert made["loss"] == [None, None, 2.1235]
    json.dumps(made, allow_nan=False)


def test_a_page_that_holds_the_curve_gets_only_what_is_new(store: Store) -> None:
    job = running_job(store, 50)
    first = curve(store, job, known="", after=-1)
    assert first["reset"]
    assert first["columns"]["step"] == list(range(50))  # type: ignore[index]
    report(store, job, range(50, 53))
    more = curve(store, job, known=str(first["series"]), after=49)
    assert not more["reset"]
    assert more["columns"]["step"] == [50, 51, 52]  # type: ignore[index]


def test_a_page_that_holds_another_curve_gets_this_one_from_its_start(store: Store) -> None:
    job = running_job(store, 5)
    other = curve(store, job, known="999.1", after=3)
    assert other["reset"]
    assert other["columns"]["step"] == [0, 1, 2, 3, 4]  # type: ignore[index]


def test_a_run_that_starts_over_draws_a_new_curve(store: Store) -> None:
    job = running_job(store, 5)
    before = live_chart.series(job)
    store.move(job.id, "interrupted", who="test", token=job.token)
    store.move(job.id, "queued", who="test")
    again = store.claim(job.id, identify())
    assert again is not None
    assert live_chart.series(again) != before
    assert curve(store, again, known=before, after=4)["columns"]["step"] == []  # type: ignore[index]
