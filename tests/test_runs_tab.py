"""What the Runs tab may ask about going on: answered as plain facts, and refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from adapters_store.store import Store
from adapters_store.tables import Job, Owner
from jobs.ask import Answerer
from studio import actions, again, run_facts, runs_tab
from studio.page import Studio
from studio.runs_tab import answered, questions
from tests.furnish import furnish
from tests.test_again import done

pytestmark = pytest.mark.usefixtures("no_runner")

Ask = Callable[[object], dict[str, Any]]


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


def interrupted(store: Store) -> Job:
    """A run that was broken off after its checkpoint of step 3."""
    base, data = furnish(store)
    job = store.submit("train", "night", {}, base_model_id=base.id, data_set_id=data.id)
    job = store.claim(job.id, Owner(2**22 + 1, 1.0, "boot")) or job
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        key = draft.publish()
    store.add_checkpoint(job.id, job.token, step=3, folder=key)
    return store.move(job.id, "interrupted", who="test", why="Killed.")


def test_an_interrupted_run_is_continued_once_however_often_it_is_asked_for(store: Store, ask: dict[str, Ask]) -> None:
    job = interrupted(store)
    for _ in range(2):
        assert again.after_interruption(store, job).progress["step"] == 3
    assert ask["train_again"]({"job": job.id, "key": "k"})["open"] != job.id  # it is queued: this is another run
    assert [e.state_to for e in store.job_events(job.id)][-2:] == ["interrupted", "queued"]


def test_only_an_interrupted_job_is_continued(store: Store, finished: Job) -> None:
    with pytest.raises(
        actions.ActionError, match=r"pirate is completed\. Only a paused or interrupted job can be continued"
    ):
        again.after_interruption(store, finished)


def test_an_interrupted_run_is_discarded_with_its_checkpoints(store: Store, ask: dict[str, Ask]) -> None:
    job = interrupted(store)
    assert ask["stop_run"]({"job": job.id, "how": "cancel"}) == {}
    assert store.job(job.id).state == "cancelled"
    assert store.files.published("checkpoints") == []


@pytest.mark.parametrize("switch", ["auto_resume", "spare_memory", "end_stalled"])
def test_how_runs_go_on_by_themselves_is_remembered(ask: dict[str, Ask], switch: str) -> None:
    assert ask["runs_state"]({})[switch] is True
    for on in (False, True):
        assert ask[f"set_{switch}"]({"on": on}) == {}
        assert ask["runs_state"]({})[switch] is on
    assert "did not work" in ask[f"set_{switch}"]({"on": "maybe"})["problem"]
    assert ask["runs_state"]({})[switch] is True


def test_while_only_progress_is_made_only_what_is_under_way_is_told_again(
    store: Store, finished: Job, ask: dict[str, Ask]
) -> None:
    running = store.claim(store.submit("train", "running", {}).id, Owner(2**22 + 1, 1.0, "boot"))
    assert running is not None
    first = ask["runs_state"]({})
    assert [row["key"] for row in first["rows"]] == [running.id, finished.id]
    assert ask["runs_state"]({"listed": first["revision"]})["rows"] is None
    store.report(running.id, running.token, progress={"step": 5, "steps": 9})
    more = ask["runs_state"]({"listed": first["revision"]})
    assert more["rows"] is None
    assert [(row["key"], row["fact"]) for row in more["going"]] == [(running.id, "step 5 of 9")]
    store.move(running.id, "failed", who="test", token=running.token)
    assert len(ask["runs_state"]({"listed": more["revision"]})["rows"]) == 2


def test_a_job_older_than_the_list_is_still_opened(
    store: Store, finished: Job, ask: dict[str, Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_tab, "LISTED", 1)
    newer = store.submit("train", "newer", {})
    assert [row["key"] for row in ask["runs_state"]({})["rows"]] == [newer.id]
    assert ask["runs_state"]({"job": finished.id})["open"]["name"] == finished.name


def test_a_run_that_is_not_there_is_said_and_another_one_shown(finished: Job, ask: dict[str, Ask]) -> None:
    answer = ask["runs_state"]({"job": finished.id + 7})
    assert answer["missing"] == f"There is no run {finished.id + 7}. Choose another from the list."
    assert answer["open"]["id"] == finished.id
    assert [row["key"] for row in answer["rows"]] == [finished.id]
    assert ask["runs_state"]({"job": finished.id})["missing"] == ""


@pytest.mark.parametrize("step", [None, -1, "3", 2.5, True, 2**60])
def test_a_stretch_without_whole_steps_is_refused_in_words(finished: Job, ask: dict[str, Ask], step: object) -> None:
    assert "problem" in ask["runs_stretch"]({"job": finished.id, "from": 1, "to": step})
    assert ask["runs_stretch"]({"job": finished.id, "from": 1, "to": 2})["from"] == 1


def test_the_log_of_the_open_run_is_asked_for_from_where_the_page_has_it(
    store: Store, finished: Job, ask: dict[str, Ask]
) -> None:
    asked = {"job": finished.id, "after": 0}
    assert ask["runs_log"](asked) == {"text": "", "end": 0, "left_out": 0}
    store.files.log(f"job-{finished.id}").write_text("one\n<b>two\n")
    assert ask["runs_log"]({**asked, "after": 4}) == {"text": "<b>two\n", "end": 11, "left_out": 0}
    for wrong in (None, -1, "4", True, 2**60):
        assert "problem" in ask["runs_log"]({**asked, "after": wrong})
    assert "problem" in ask["runs_log"]({"job": 999, "after": 0})
