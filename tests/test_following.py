"""A job followed in a terminal: until nobody works on it any more, and nobody will by itself."""

import threading

import pytest

from adapters_store.store import Owner, Store
from jobs import runner
from studio import following


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ensure", lambda root: None)
    monkeypatch.setattr(following, "POLL", 0.01)


def interrupted(store: Store) -> int:
    job = store.submit("train", "night", {})
    store.claim(job.id, Owner(101, 1.0, "boot"))
    return store.move(job.id, "interrupted", who="test", why="Killed.").id


def test_a_run_that_stays_interrupted_is_followed_to_there(store: Store) -> None:
    assert following.follow(store, interrupted(store)).state == "interrupted"


def test_a_run_that_goes_on_by_itself_is_followed_further(store: Store) -> None:
    job_id = interrupted(store)
    looks = iter(following._looks(store, job_id, threading.Event()))
    assert next(looks).state == "interrupted"
    store.move(job_id, "queued", who="runner")
    assert next(looks).state == "queued"
    store.request_stop(job_id, "cancel")
    assert [job.state for job in looks] == ["cancelled"]
