"""The job that asks a suite: every answer is what Compare would give, is scored, and is kept as soon as it is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteRun
from adapters_store.tables import Job, Owner
from engine import adapter_files, choice, generate, likelihood
from engine.likelihood import reference_logprob
from engine.models import LoadedBase, load
from engine.suites import judge as reading
from engine.suites.prompts import Prompt
from jobs import asking_suites, judging_suites, process, room
from jobs.ending import Ended, Ending
from jobs.pace import Pace
from jobs.progress import job_sentence
from jobs.queue import next_to_start
from jobs.runner import Runner
from jobs.worker import do
from studio import suite_judges
from tests.workshop import add_base, shared_tiny_model, wait_for

pytestmark = pytest.mark.usefixtures("one_thread_each")

SAMPLING = {"seed": 5, "temperature": 0.8, "top_p": 0.95, "max_tokens": 6}
ANSWERS = generate.answers
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
    people = [{"name": name, "identity": name, "base_model_id": tiny.id} for name in ("base", "sound")]
    run = store.add_suite_run(
        suite.id, people=people, sittings=[{"places": [0, 1], "payload": payload}], sampling=SAMPLING
    )
    return run, store.submit("suite", "things", {"suite_run": run.id})


class Broken:
    """`generate.answers`, which raises once so many answers are whole. `asked` is how many were asked for."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after, self.error, self.asked = after, error, 0

    def __call__(self, base: LoadedBase, asked: list[Any], *given: Any) -> Iterator[Any]:
        self.asked = len(asked)
        for snapshot in ANSWERS(base, asked, *given):
            yield snapshot
            if sum(snapshot.over) >= self.after:
                raise self.error


def end_at_the_second(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """The worker is told to end when the function is called for the second time."""
    real, calls = getattr(module, name), iter(range(100))

    def broken(*given: Any) -> Any:
        if next(calls) == 1:
            raise Ended
        return real(*given)

    monkeypatch.setattr(module, name, broken)


@pytest.fixture
def in_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for two answers at a time."""
    monkeypatch.setattr(room, "MOST_ROWS", {"cpu": 2})


def test_every_answer_is_that_of_compare_with_its_scores(store: Store, sound: Path, base: LoadedBase) -> None:
    run, job = asked(store, sound)
    assert do(store, job.id, Ending()) == 0
    ended = store.job(job.id)
    assert (ended.state, ended.progress["step"], ended.progress["steps"]) == ("completed", 12, 12)
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
    assert (noted.job_id, noted.how) == (job.id, {"device": "cpu", "dtype": "float32", "rows": room.MOST_ROWS["cpu"]})


@pytest.mark.usefixtures("in_twos")
def test_after_an_interruption_it_goes_on_with_what_is_left(
    store: Store, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = asked(store, sound)
    broken = Broken(3, Ended())
    monkeypatch.setattr(generate, "answers", broken)
    do(store, job.id, Ending())
    interrupted = store.job(job.id)
    assert interrupted.state == "interrupted"
    assert interrupted.why.endswith("Start it again; it goes on with what is left.")
    before = {one.id: one.text for one in store.suite_answers(run.id)}
    assert 3 <= len(before) <= 4
    assert interrupted.progress["step"] == len(before)
    rest = Broken(100, AssertionError("more was asked than was left"))
    monkeypatch.setattr(generate, "answers", rest)
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    assert rest.asked == broken.asked - len(before) == 6 - len(before)
    assert store.job(job.id).state == "completed"
    after = store.suite_answers(run.id)
    assert len(after) == 6
    assert before.items() <= {one.id: one.text for one in after}.items()
    assert all(one.logprob is not None for one in after)


def test_references_that_were_not_read_are_read_and_nothing_is_answered_again(
    store: Store, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = asked(store, sound)
    end_at_the_second(monkeypatch, likelihood, "reference_logprob")
    do(store, job.id, Ending())
    assert store.job(job.id).progress["step"] == 6 + 2
    before = [(one.id, one.text) for one in store.suite_answers(run.id)]
    monkeypatch.setattr(generate, "answers", Broken(0, AssertionError("nothing was left to answer")))
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    assert (store.job(job.id).state, store.job(job.id).progress["step"]) == ("completed", 12)
    after = store.suite_answers(run.id)
    assert [(one.id, one.text) for one in after] == before
    assert all(one.logprob is not None for one in after)


@pytest.mark.usefixtures("in_twos")
@pytest.mark.parametrize(("how", "state"), [("cancel", "cancelled"), ("keep", "stopped")])
def test_a_stop_keeps_what_was_answered(
    store: Store, sound: Path, monkeypatch: pytest.MonkeyPatch, how: Any, state: str
) -> None:
    run, job = asked(store, sound)
    real = Pace.step

    def then_stop(pace: Any, count: int) -> None:
        wait_for(lambda: store.job(job.id).progress["stage"] == "Answering", 30, "the word that answers are under way")
        real(pace, count)
        pace._lease.stop = how
        if how == "cancel":
            raise Ended

    monkeypatch.setattr(Pace, "step", then_stop)
    do(store, job.id, Ending())
    count = store.suite_run(run.id).answer_count
    assert 1 <= count <= 2
    says = {"cancel": "Cancelled.", "keep": f"Stopped after {count} of 12 steps."}[how]
    assert store.job(job.id).state == state
    assert job_sentence(store.job(job.id)) == f"{says} What was answered is kept."


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
    assert queued.why.endswith("It goes on with what is left.")


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


def judged_by_the_base(store: Store, run: SuiteRun) -> SuiteRun:
    payload = {**run.sittings[0]["payload"], "seats": [{"adapter": None}]}
    judge = {"name": "base", "value": "base-1", "identity": "the base", "base_model_id": 1, "against": 0}
    return store.set_suite_judge(run.id, {**judge, "payload": payload})


def test_a_judge_reads_every_pair_both_ways_round_and_after_an_interruption_what_is_left(
    store: Store, sound: Path, base: LoadedBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [Prompt([{"role": "user", "content": f"What is {thing}?"}], None) for thing in THINGS]
    run, job = asked(store, sound, questions)
    judged_by_the_base(store, run)
    real = choice.odds
    end_at_the_second(monkeypatch, choice, "odds")
    do(store, job.id, Ending())
    assert (store.job(job.id).state, store.job(job.id).progress["step"]) == ("interrupted", 6 + 1)
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    ended = store.job(job.id)
    assert (ended.state, ended.progress["step"], ended.progress["steps"]) == ("completed", 9, 9)
    answers = {(one.prompt_id, one.place): one.text for one in store.suite_answers(run.id)}
    read = store.suite_verdicts(run.id)
    assert [(one.place, one.problem) for one in read] == [(1, "")] * 3
    for one, thing in zip(read, THINGS, strict=True):
        theirs, first = answers[one.prompt_id, 1], answers[one.prompt_id, 0]
        texts = [
            reading.question(["Be brief.", f"What is {thing}?"], *pair) for pair in ((theirs, first), (first, theirs))
        ]
        assert [one.forward, one.backward] == pytest.approx(real(base, [None, None], texts))
    told = suite_judges.told(store, store.suite_run(run.id))
    assert told is not None
    (row,) = told["rows"]
    assert row["won"] + row["lost"] + row["undecided"] == 3
    assert told["sentences"][0].startswith("base has judged 3 pairs, each both ways round.")
    assert told["sentences"][-1].startswith("Whether base agrees with people is not known")


def test_what_cannot_be_judged_says_why_and_another_judge_begins_anew(store: Store, sound: Path) -> None:
    run, job = asked(store, sound)
    judged_by_the_base(store, run)
    same, missing, long = store.suite_prompts(run.suite_id)
    texts = {same.id: ("Rain.", "Rain."), missing.id: ("Bread.", ""), long.id: ("word " * 300, "Music.")}
    for id, pair in texts.items():
        kept = [
            {**asking_suites._answer(text, problem="" if text else "Too long."), "place": at}
            for at, text in enumerate(pair)
        ]
        store.keep_suite_answers(run.id, id, [{**one, "logprob": -1.0, "reference_tokens": 1} for one in kept])
    do(store, job.id, Ending())
    assert store.job(job.id).state == "completed"
    found = {one.prompt_id: one.problem for one in store.suite_verdicts(run.id)}
    assert (found[same.id], found[missing.id]) == (judging_suites.SAME, judging_suites.MISSING)
    assert found[long.id].startswith("Both answers in one prompt are ")
    told = suite_judges.told(store, store.suite_run(run.id))
    assert told is not None
    assert (told["rows"][0]["words"], told["rows"][0]["left_out"]) == ("–", 3)
    store.set_suite_judge(run.id, {**(store.suite_run(run.id).judge or {}), "against": 1})
    assert store.suite_verdicts(run.id) == []
