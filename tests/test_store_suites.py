"""Suites in the library: they read back as they were made, and of their answers none is lost and none is twice."""

from typing import Any

import pytest

from adapters_store.errors import NameRefused, NotFound
from adapters_store.store import Store
from adapters_store.suite_tables import Suite, SuiteRun

RAIN = ([{"role": "user", "content": "What is rain?"}], "Water.")
SEA = ([{"role": "user", "content": "And the sea?"}], None)


def made(store: Store, name: str = "weather") -> Suite:
    return store.add_suite(name, [RAIN, SEA], system="Be brief.", scores=["exact"], pattern="", source="typed")


def begun(store: Store, suite: Suite) -> SuiteRun:
    people = [{"name": "base"}, {"name": "pirate"}]
    return store.add_suite_run(suite.id, people=people, sittings=[{"places": [0, 1]}], sampling={"seed": 7})


def answer(place: int, text: str) -> dict[str, Any]:
    facts = {"tokens": 2, "finished": True, "scores": {"exact": 1.0}, "logprob": -3.5, "reference_tokens": 4}
    return {"place": place, "text": text, "problem": "", **facts}


def test_a_suite_reads_back_as_it_was_made(store: Store) -> None:
    before = store.changed()["suites"]
    suite = made(store)
    assert store.changed()["suites"] > before
    assert [one.name for one in store.suites()] == ["weather"]
    read = store.suite(suite.id)
    assert (read.system, read.scores, read.prompt_count) == ("Be brief.", ["exact"], 2)
    assert [(one.messages, one.reference) for one in store.suite_prompts(suite.id)] == [RAIN, SEA]


def test_a_name_is_taken_until_its_suite_is_deleted(store: Store) -> None:
    suite = made(store)
    with pytest.raises(NameRefused, match="already a suite called Weather"):
        made(store, "Weather")
    store.delete_suite(suite.id)
    assert store.suites() == []
    other = made(store)
    with pytest.raises(NameRefused, match="another suite called weather"):
        store.restore_suite(suite.id)
    store.delete_suite(other.id)
    assert store.restore_suite(suite.id).deleted_at is None
    assert [one.id for one in store.suites()] == [suite.id]


def test_answers_come_one_prompt_after_another_and_a_prompt_told_again_replaces_its_answers(store: Store) -> None:
    suite = made(store)
    run = begun(store, suite)
    rain, sea = (one.id for one in store.suite_prompts(suite.id))
    store.keep_suite_answers(run.id, sea, [answer(0, "Deep."), answer(1, "Arr, deep.")])
    store.keep_suite_answers(run.id, rain, [answer(1, "Arr!"), answer(0, "Watr.")])
    store.keep_suite_answers(run.id, rain, [answer(0, "Water.")])
    told = [(one.prompt_id, one.place, one.text) for one in store.suite_answers(run.id)]
    assert told == [(rain, 0, "Water."), (rain, 1, "Arr!"), (sea, 0, "Deep."), (sea, 1, "Arr, deep.")]
    assert store.suite_run(run.id).answer_count == 4
    assert store.suite_answers(run.id)[0].scores == {"exact": 1.0}


def test_a_run_says_which_job_answers_and_with_what(store: Store) -> None:
    run = begun(store, made(store))
    job = store.submit("fetch", "any job", {})
    store.note_suite_run(run.id, job.id, device="cpu")
    noted = store.note_suite_run(run.id, job.id, threads=2)
    assert (noted.job_id, noted.how) == (job.id, {"device": "cpu", "threads": 2})
    assert [one.id for one in store.suite_runs(run.suite_id)] == [run.id]
    with pytest.raises(NotFound, match="no suite run with the number 99"):
        store.suite_run(99)
