"""A grid on the page: counted and agreed to before it is queued, all that is wrong told at once, two presses one grid.

pytest tests/test_train_grid.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from adapters_store import store_line
from adapters_store.store import Owner, Store
from studio.train_grid import TrainGrid
from tests.train_bench import add, defaults, make

pytestmark = pytest.mark.usefixtures("no_runner")

TICKET = "0123456789abcdef"
LISTS = [["rank", "4, 8 16"], ["learning_rate", "1e-4;2e-4"]]


@pytest.fixture
def form(store: Store, data_dir: Path, tmp_path: Path) -> tuple[TrainGrid, list[Any]]:
    (tmp_path / "base").mkdir()
    base, data = add(store, tmp_path / "base")
    events = make(store, data_dir)
    return TrainGrid(events.studio, events.shell, events.ui), [None, base, data, *defaults(), ""]


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def told(form: tuple[TrainGrid, list[Any]], what: str, **data: object) -> dict[str, Any]:
    handlers, given = form
    value = getattr(handlers, what)(event(**data), *given)[handlers.ui.grid]["value"]
    assert isinstance(value, dict)
    return value


def test_a_grid_is_counted_first_and_queued_as_it_was_agreed_to(
    store: Store, form: tuple[TrainGrid, list[Any]]
) -> None:
    asked = told(form, "count", lists=LISTS)
    assert (asked["count"], store.jobs()) == (6, [])
    assert asked["says"].startswith("6 runs of about ")
    assert "known once a run on this base has ended" in asked["says"]
    again = told(form, "queue", lists=LISTS, agreed="something else", ticket=TICKET)
    assert again["says"].startswith("The form has changed since: 6 runs")
    assert store.jobs() == []
    done = told(form, "queue", lists=LISTS, agreed=asked["agreed"], ticket=TICKET)
    assert done["done"] == "6 runs are queued as one group."
    jobs = store.jobs_of_grid(TICKET)
    assert [(job.settings["rank"], job.settings["learning_rate"]) for job in jobs] == [
        (rank, rate) for rank in (4, 8, 16) for rate in (1e-4, 2e-4)
    ]
    assert done["first"] == jobs[0].id


def test_two_presses_queue_one_grid(store: Store, form: tuple[TrainGrid, list[Any]]) -> None:
    agreed = told(form, "count", lists=LISTS)["agreed"]
    answers = [told(form, "queue", lists=LISTS, agreed=agreed, ticket=TICKET)["first"] for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(store.jobs()) == 6


def test_all_that_is_wrong_is_told_at_once(store: Store, form: tuple[TrainGrid, list[Any]]) -> None:
    wrong = [["rank", "0, 8, many"], ["dropout", "7"], ["alpha", " , "], ["bottleneck", "8"], ["speed", "9"], ["seed"]]
    problems = told(form, "count", lists=wrong)["problems"]
    for words in ("(r) is 0", "(r) is many", "Dropout is 7", "Alpha has no values", "means nothing to the chosen"):
        assert any(words in problem for problem in problems), (words, problems)
    assert told(form, "count", lists="rank=4")["problems"] == ["Choose a setting and give it values."]
    form[1][1:3] = [None, 99]
    assert told(form, "count", lists=LISTS)["problems"] == [
        "Choose a base model.",
        "Choose a data set, or drop a file.",
    ]
    assert store.jobs() == []


def test_more_than_fit_in_the_queue_are_refused_before_anybody_agrees(
    form: tuple[TrainGrid, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "MOST_WAITING", 5)
    assert "6 more do not fit, 5 may wait" in told(form, "count", lists=LISTS)["problems"][0]
    seeds = ["seed", " ".join(map(str, range(101)))]
    assert told(form, "count", lists=[seeds])["problems"] == [
        "This grid has 101 runs; 100 are the most. Give fewer values."
    ]


def test_how_long_it_takes_goes_by_the_last_run_on_the_base(store: Store, form: tuple[TrainGrid, list[Any]]) -> None:
    base, data = form[1][1:3]
    job = store.submit("train", "before", {"batch_size": 8}, base_model_id=base, data_set_id=data)
    store.clock = lambda: 1000.0
    held = store.claim(job.id, Owner(1, 1.0, "boot"))
    assert held is not None
    store.report(job.id, held.token, progress={"step": 10})
    for state in ("running", "finishing"):
        store.move(job.id, state, who="test", token=held.token)
    store.clock = lambda: 1160.0  # 160 s for 80 rows
    store.move(job.id, "completed", who="test", token=held.token)
    says = told(form, "count", lists=[["epochs", "1"], ["batch_size", "1"], ["validation_share", "0"]])["says"]
    rows = store.data_set(data).rows
    assert f"About {round(2 * rows / 60)} min in all, going by before." in says


@pytest.mark.parametrize("stops", [True, False])
def test_a_grid_goes_on_when_one_fails_unless_it_was_queued_to_stop(
    store: Store, form: tuple[TrainGrid, list[Any]], stops: bool
) -> None:
    other = store.submit("train", "of no grid", {})
    agreed = told(form, "count", lists=LISTS)["agreed"]
    told(form, "queue", lists=LISTS, agreed=agreed, ticket=TICKET, stops=stops)
    first, *rest = store.jobs_of_grid(TICKET)
    held = store.claim(first.id, Owner(1, 1.0, "boot"))
    assert held is not None
    store.move(first.id, "failed", who="worker", why="Broken.", token=held.token)
    found = {store.job(job.id).state for job in rest}
    assert found == ({"cancelled"} if stops else {"queued"})
    assert store.job(other.id).state == "queued"
    if stops:
        assert "a run of the same grid, failed" in store.job(rest[0].id).why
        assert store.job_events(rest[0].id)[-1].who == "worker"
