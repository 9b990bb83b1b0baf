"""The line of waiting jobs: every order can be had, nobody is lost on the way, and a paused queue starts no run.

pytest tests/test_line.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters_store import store_line
from adapters_store.errors import QueueFull
from adapters_store.store import NotFound, Owner, Store, StoreError
from adapters_store.store_line import WHERE
from jobs import process, runner
from jobs.ask import Answerer
from jobs.queue import may_start
from jobs.runner import Runner
from studio import cli, line, run_facts
from studio.page import Studio
from studio.runs_tab import answered, questions

ME = Owner(101, 1000.5, "boot")


@pytest.fixture(autouse=True)
def ensured(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []
    monkeypatch.setattr(runner, "ensure", asked.append)
    return asked


@pytest.fixture
def ask(store: Store) -> dict[str, Callable[[object], dict[str, Any]]]:
    studio = Studio(store, cast(Answerer, None), store.files.root)
    return {fn.__name__: answered(fn) for fn in questions(studio)}


def queued(store: Store, count: int, kind: str = "train") -> list[int]:
    return [store.submit(kind, f"run {n}", {}).id for n in range(count)]


def order(store: Store) -> list[int]:
    return [job.id for job in store.waiting()]


# --- the order ------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(WHERE)), max_size=8))
def test_the_line_is_what_moving_in_a_list_makes_of_it(store: Store, moves: list[tuple[int, Any]]) -> None:
    ids = queued(store, 5)
    for who, to in moves:
        before = ids.index(ids[who])
        after = {"up": max(0, before - 1), "down": min(4, before + 1), "first": 0, "last": 4}[to]
        job_id = ids.pop(before)
        ids.insert(after, job_id)
        store.place_in_line(job_id, to)
        assert order(store)[-5:] == ids
    for job_id in ids:
        store.request_stop(job_id, "cancel")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8))
def test_a_job_is_put_right_before_another(store: Store, moves: list[tuple[int, int]]) -> None:
    ids = queued(store, 5)
    for who, other in moves:
        job_id, other_id = ids[who], ids[other]
        if job_id != other_id:
            ids.remove(job_id)
            ids.insert(ids.index(other_id), job_id)
        store.place_before(job_id, other_id)
        assert order(store)[-5:] == ids
    for job_id in ids:
        store.request_stop(job_id, "cancel")


def test_a_new_job_is_last_and_one_that_comes_back_is_where_it_was(store: Store) -> None:
    first, second, third = queued(store, 3)
    store.place_in_line(third, "first")
    (new,) = queued(store, 1)
    assert order(store) == [third, first, second, new]
    job = store.claim(first, ME)
    assert job is not None
    store.move(first, "interrupted", who="runner")
    store.place_in_line(new, "first")
    store.move(first, "queued", who="person")
    assert order(store) == [new, first, third, second]


def test_a_move_is_told_with_who_and_where_and_a_move_to_nowhere_is_no_news(store: Store) -> None:
    first, second = queued(store, 2)
    store.place_in_line(second, "up", who="page")
    event = store.job_events(second)[-1]
    assert (event.who, event.why, event.state_to) == ("page", "moved from place 2 to place 1", "queued")
    before = store.revision()
    store.place_in_line(second, "first")
    store.place_in_line(first, "down")
    assert store.revision() == before


def test_only_what_waits_can_be_moved(store: Store) -> None:
    (job,) = queued(store, 1)
    store.claim(job, ME)
    with pytest.raises(StoreError, match=r"run 0 is starting\. Only a job that waits"):
        store.place_in_line(job, "up")
    with pytest.raises(StoreError, match="not a way to move in the line: up, down, first, last"):
        store.place_in_line(job, "sideways")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        store.place_in_line(99, "up")


def test_a_thousand_jobs_may_wait_and_not_one_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_line.MOST_WAITING == 1000
    monkeypatch.setattr(store_line, "MOST_WAITING", 3)
    first, *_ = queued(store, 3)
    with pytest.raises(QueueFull, match=r"3 jobs are waiting already\. Cancel some of them"):
        store.submit("train", "one more", {})
    store.claim(first, ME)
    store.check_line()
    with pytest.raises(QueueFull, match="2 jobs are waiting; 2 more do not fit, 3 may wait"):
        store.check_line(2)
    store.submit("train", "one more", {})


# --- the pause of the queue -------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs a runner would have started, in place of their workers."""
    ids: list[str] = []

    class Sleeper:
        pid = 1

        def poll(self) -> None:
            return None

    def note(command: list[str], log: object) -> Sleeper:
        ids.append(command[-3])
        return Sleeper()

    monkeypatch.setattr(process, "start_detached", note)
    return ids


def test_a_paused_queue_starts_no_run_and_still_fetches_models(store: Store, started: list[str]) -> None:
    run, fetch = *queued(store, 1), *queued(store, 1, "fetch")
    line.pause_queue(store, True)
    Runner(store).step()
    assert started == [str(fetch)]
    line.pause_queue(store, False)
    Runner(store).step()
    assert str(run) in started


def test_a_paused_queue_keeps_no_runner_awake(store: Store, ensured: list[object]) -> None:
    queued(store, 2)
    body = Runner(store)
    assert body.busy()
    line.pause_queue(store, True)
    assert not body.busy()
    assert (may_start(store), ensured) == ([], [])
    line.pause_queue(store, False)
    assert ensured == [store.files.root]


def test_the_first_in_the_line_is_started_first(store: Store, started: list[str]) -> None:
    _, second = queued(store, 2)
    store.place_in_line(second, "first")
    Runner(store).step()
    assert started == [str(second)]


# --- page and command line --------------------------------------------------------------------------------------------


def test_the_page_moves_a_job_and_says_which_ways_are_left(
    store: Store, ask: dict[str, Callable[[object], dict[str, Any]]]
) -> None:
    first, second = queued(store, 2)
    assert ask["move_in_line"]({"job": second, "to": "up"}) == {}
    rows = [row for row in ask["runs_state"]({})["rows"] if row["group"] == "Queue"]
    assert [(row["key"], row["fact"], row["up"], row["down"]) for row in rows] == [
        (second, "next", False, True),
        (first, "second", True, False),
    ]
    assert ask["move_in_line"]({"job": first, "before": second}) == {}
    assert order(store) == [first, second]
    store.request_stop(second, "cancel")
    assert "is cancelled. Only a job that waits" in ask["move_in_line"]({"job": first, "before": second})["problem"]
    for wrong in ({"job": first}, {"job": first, "to": ["up"]}, {"to": "up"}, {"job": first, "before": "x"}, None):
        assert ask["move_in_line"](wrong)["problem"]


def test_the_page_pauses_the_queue_and_says_so(
    store: Store, ask: dict[str, Callable[[object], dict[str, Any]]]
) -> None:
    assert ask["pause_queue"]({"on": True}) == {}
    told = ask["runs_state"]({})["queue"]
    assert (told["paused"], told["unlisted"]) == (True, 0)
    assert told["says"] == "The queue is paused: no waiting run starts until it goes on."
    assert ask["pause_queue"]({"on": "yes"})["problem"]
    ask["pause_queue"]({"on": False})
    assert ask["runs_state"]({})["queue"]["paused"] is False


def test_of_a_long_queue_the_list_shows_the_beginning_and_counts_the_rest(
    store: Store, ask: dict[str, Callable[[object], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_facts, "SHOWN_WAITING", 2)
    queued(store, 5)
    answer = ask["runs_state"]({})
    assert [row["fact"] for row in answer["rows"]] == ["next", "second"]
    assert answer["queue"]["unlisted"] == 3


def test_the_command_line_moves_and_pauses(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = queued(store, 2)
    folder = ["--data-dir", str(store.files.root)]
    assert cli.main(["jobs", "move", str(second), "--first", *folder]) == 0
    assert capsys.readouterr().out == "run 1 is number 1 in the line.\n"
    assert order(store) == [second, first]
    assert cli.main(["jobs", "move", str(first), "--before", str(second), *folder]) == 0
    assert order(store) == [first, second]
    assert cli.main(["jobs", "move", str(second), *folder]) == 2
    assert "one of --up, --down, --first, --last and --before" in capsys.readouterr().err
    store.request_stop(first, "cancel")
    assert cli.main(["jobs", "move", str(first), "--up", *folder]) == 2
    assert "is cancelled. Only a job that waits" in capsys.readouterr().err
    assert cli.main(["jobs", "queue", "pause", *folder]) == 0
    assert line.PAUSED in capsys.readouterr().out
    assert may_start(store) == []
    assert cli.main(["jobs", "queue", "continue", "--json", *folder]) == 0
    assert [job.id for job in may_start(store)] == [second]
