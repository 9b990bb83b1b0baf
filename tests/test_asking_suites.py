"""The job that asks a suite: every answer is what Compare would give, is scored, and is written before the next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteRun
from adapters_store.tables import Job, Owner
from engine import adapter_files, generate
from engine.likelihood import reference_logprob
from engine.models import LoadedBase, load
from engine.suites.prompts import Prompt
from jobs import asking_suites, process
from jobs.ending import Ended, Ending
from jobs.progress import job_sentence
from jobs.queue import next_to_start
from jobs.runner import Runner
from jobs.worker import do
from tests.workshop import add_base, shared_tiny_model, wait_for

pytestmark = pytest.mark.usefixtures("one_thread_each")

SAMPLING = {"seed": 5, "temperature": 0.8, "top_p": 0.95, "max_tokens": 6}
THINGS = ("rain", "bread", "music")


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load(shared_tiny_model())


def asked(store: Store, sound: Path, prompts: list[Prompt] | None = None) -> tuple[SuiteRun, Job]:
    """A run of the base and the adapter over a suite, queued."""
    tiny = add_base(store)
    questions = [Prompt([{"role": "user", "content": f"What is {thing}?"}], f"It is {thing}.") for thing in THINGS]
    suite = store.add_suite(
        "things", prompts or questions, system="Be brief.", scores=["chrf", "perplexity"], pattern="", source="typed"
    )
    seats = [{"adapter": None}, {"adapter": str(sound), "strength": 1.0}]
    payload = {"base_path": str(store.base_path(tiny)), "precision": "full", "seats": seats}
    people = [{"name": name, "base_model_id": tiny.id} for name in ("base", "sound")]
    run = store.add_suite_run(
        suite.id, people=people, sittings=[{"places": [0, 1], "payload": payload}], sampling=SAMPLING
    )
    return run, store.submit("suite", "things", {"suite_run": run.id})


def broken_off(after: int, error: BaseException) -> Any:
    """`generate.answers`, which raises `error` once it was asked so often."""
    real, calls = generate.answers, iter(range(100))

    def answers(*given: Any) -> Iterator[Any]:
        if next(calls) == after:
            raise error
        return real(*given)

    return answers


def test_every_answer_is_that_of_compare_with_its_scores(store: Store, sound: Path, base: LoadedBase) -> None:
    run, job = asked(store, sound)
    assert do(store, job.id, Ending()) == 0
    ended = store.job(job.id)
    assert (ended.state, ended.progress["step"], ended.progress["steps"]) == ("completed", 3, 3)
    people = [None, adapter_files.read(sound)]
    told = store.suite_answers(run.id)
    assert len(told) == 6
    for at, thing in enumerate(THINGS):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"What is {thing}?"}]
        *_, last = generate.compare(base, people, messages, **SAMPLING)
        ones = told[2 * at : 2 * at + 2]
        assert [(one.text, one.tokens, one.finished) for one in ones] == list(
            zip(last.texts, last.tokens, last.finished, strict=True)
        )
        likely = reference_logprob(base, people, messages, f"It is {thing}.")
        assert [one.logprob for one in ones] == pytest.approx([each.logprob for each in likely])
        assert [one.reference_tokens for one in ones] == [each.tokens for each in likely]
        assert all(0 <= one.scores["chrf"] < 1 for one in ones)
    assert len({one.text for one in told}) > 1
    noted = store.suite_run(run.id)
    assert (noted.job_id, noted.how) == (job.id, {"device": "cpu", "dtype": "float32"})


def test_after_an_interruption_it_goes_on_with_the_prompts_that_are_left(
    store: Store, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = asked(store, sound)
    monkeypatch.setattr(generate, "answers", broken_off(2, Ended()))
    do(store, job.id, Ending())
    interrupted = store.job(job.id)
    assert interrupted.state == "interrupted"
    assert interrupted.why.endswith("Start it again; it goes on with the prompts that are left.")
    before = {one.id: one.text for one in store.suite_answers(run.id)}
    assert len(before) == 4
    monkeypatch.setattr(generate, "answers", broken_off(1, AssertionError("only one prompt was left")))
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    assert store.job(job.id).state == "completed"
    after = {one.id: one.text for one in store.suite_answers(run.id)}
    assert len(after) == 6
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("how", "state", "says"),
    [
        ("cancel", "cancelled", "Cancelled. What was answered is kept."),
        ("keep", "stopped", "Stopped after 1 of 3 prompts. What was answered is kept."),
    ],
)
def test_a_stop_keeps_what_was_answered(
    store: Store, sound: Path, monkeypatch: pytest.MonkeyPatch, how: Any, state: str, says: str
) -> None:
    run, job = asked(store, sound)
    real = asking_suites._Work._report

    def then_stop(work: Any, seconds: float) -> None:
        wait_for(lambda: store.job(job.id).progress["stage"] == "Answering", 30, "the word that answers are under way")
        real(work, seconds)
        work._lease.stop = how
        if how == "cancel":
            raise Ended

    monkeypatch.setattr(asking_suites._Work, "_report", then_stop)
    do(store, job.id, Ending())
    assert (store.job(job.id).state, job_sentence(store.job(job.id))) == (state, says)
    assert store.suite_run(run.id).answer_count == 2


def test_a_prompt_that_cannot_be_asked_says_why_and_the_others_are_answered(store: Store, sound: Path) -> None:
    prompts = [Prompt([{"role": "user", "content": text}], None) for text in ("word " * 400, "What is rain?")]
    run, job = asked(store, sound, prompts)
    do(store, job.id, Ending())
    assert store.job(job.id).state == "completed"
    long, _, rain, _ = store.suite_answers(run.id)
    assert long.problem.endswith("this base model takes 256.")
    assert (long.text, long.scores, rain.problem) == ("", {}, "")
    assert rain.text


def test_a_suite_waits_for_the_device_as_a_run_does_and_resumes_as_one(store: Store, sound: Path) -> None:
    run, job = asked(store, sound)
    other = store.submit("suite", "again", {"suite_run": run.id})
    assert next_to_start(store.waiting(), [("train", None)]) == []
    assert [one.id for one, _ in next_to_start(store.waiting(), [("fetch", None)])] == [job.id]
    store.request_stop(other.id, "cancel")
    gone = Owner(2**22, 1.0, process.boot_id())
    claimed = store.claim(job.id, gone)
    assert claimed is not None
    store.move(job.id, "running", who="worker", token=claimed.token)
    started: list[int] = []
    runner = Runner(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "_start_next", lambda self: started.append(job.id))
        runner.step()
    queued = store.job(job.id)
    assert (queued.state, started) == ("queued", [job.id])
    assert queued.why.endswith("It goes on with the prompts that are left.")


def test_a_base_that_has_changed_since_is_not_asked(store: Store, sound: Path) -> None:
    run, job = asked(store, sound)
    person = {**run.people[0], "base_model_id": store.add_base_model(
        name="other", source="folder", path=str(shared_tiny_model()), folder=None, fingerprint="sha256:other", facts={}
    ).id}  # fmt: skip
    with store._database.writing() as session:
        session.get_one(SuiteRun, run.id).people = [person, run.people[1]]
    do(store, job.id, Ending())
    failed = store.job(job.id)
    assert failed.state == "failed"
    assert "have changed since it was added" in failed.why
    assert store.suite_answers(run.id) == []
