"""The curve handed to the page: short plain numbers, and each of them only once."""

import json
import math
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs.process import identify
from studio import live_chart
from studio.live_chart import curve, shortened


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


def test_numbers_are_short_and_plain_json() -> None:
    made = shortened({"step": [0, 1], "loss": [math.nan, 2.123456789], "mean": [None, math.inf]})
    assert made == {"step": [0, 1], "loss": [None, 2.1235], "mean": [None, None]}
    json.dumps(made, allow_nan=False)


def test_a_stretch_holds_the_steps_it_was_asked_for(store: Store) -> None:
    job = running_job(store, 50)
    found = live_chart.stretch(store, job, 10, 20)
    assert found["series"] == live_chart.series(job)
    assert found["columns"]["step"] == list(range(10, 21))  # type: ignore[index]


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
