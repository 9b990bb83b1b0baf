"""What the Runs tab may ask about going on: answered as plain facts, and refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import runner
from jobs.ask import Answerer
from studio import run_facts
from studio.page import Studio
from studio.runs_tab import answered, questions
from tests.furnish import furnish
from tests.test_again import done

Ask = Callable[[object], dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ensure", lambda root: None)


@pytest.fixture
def finished(store: Store) -> Job:
    return done(store, furnish(store))


@pytest.fixture
def ask(store: Store) -> dict[str, Ask]:
    studio = Studio(store, cast(Answerer, None), store.files.root)
    return {fn.__name__: answered(fn) for fn in questions(studio)}


def test_more_epochs_are_queued_once_from_the_adapter_of_the_run(
    store: Store, finished: Job, ask: dict[str, Ask]
) -> None:
    wish = {"job": finished.id, "epochs": "4", "key": "once"}
    more = store.job(ask["more_epochs"](wish)["open"])
    assert (more.start_adapter_id, more.settings["epochs"]) == (finished.adapter_id, 4)
    assert ask["more_epochs"](wish)["open"] == more.id
    assert "from pirate" in run_facts.opened(more)["about"]


@pytest.mark.parametrize("epochs", ["", None, "many", 0, 10**9, [2], {"a": 1}])
def test_a_number_of_epochs_that_cannot_be_is_told_in_words(
    store: Store, finished: Job, ask: dict[str, Ask], epochs: object
) -> None:
    answer = ask["more_epochs"]({"job": finished.id, "epochs": epochs})
    assert "a whole number from 1 to 1000" in answer["problem"]
    assert [job.id for job in store.jobs()] == [finished.id]


def test_only_a_run_that_left_an_adapter_is_asked_for_more(store: Store, finished: Job, ask: dict[str, Ask]) -> None:
    offered = run_facts.opened(finished)["more"]
    assert offered["epochs"] == finished.settings["epochs"]
    assert "schedule starts anew" in offered["says"]
    store.delete_adapter(finished.adapter_id or 0)
    gone = store.job(finished.id)
    assert run_facts.opened(gone)["more"] is None
    assert "was deleted" in ask["more_epochs"]({"job": gone.id, "epochs": 2})["problem"]


def test_training_again_keeps_the_start_of_the_run(store: Store, finished: Job, ask: dict[str, Ask]) -> None:
    more = store.job(ask["more_epochs"]({"job": finished.id, "epochs": 4})["open"])
    store.request_stop(more.id, "cancel")
    repeated = store.job(ask["train_again"]({"job": more.id, "key": "k"})["open"])
    assert (repeated.start_adapter_id, repeated.settings) == (more.start_adapter_id, more.settings)
