"""What the fields of Compare and the options of `compare` ask: read, checked, and said what is wrong."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job, Owner
from jobs.ask import AnswererError
from studio import asking, judging, naming, own_settings, room_beside, way_out
from studio.asked import Own, Question
from studio.asked_on_page import read_question
from studio.contestants import Contestant
from studio.edge import UsageError
from tests.furnish import add_adapter

Furnished = tuple[BaseModel, DataSet]
USUAL: dict[str, Any] = {"temperature": 0.7, "top_p": 0.95, "max_tokens": 200, "samples": 1}


@pytest.fixture
def people(store: Store, furnished: Furnished) -> list[Contestant]:
    base, _ = furnished
    return [Contestant(base, None), Contestant(base, add_adapter(store, base, name="pirate"))]


def wrong(people: list[Contestant], prompt: object = "Rain?", seed: object = 7, how: object = USUAL) -> list[str]:
    return read_question(people, prompt, seed, how, None)[1]


def test_the_fields_become_a_question_and_what_changes_nothing_is_not_kept(people: list[Contestant]) -> None:
    how = {**USUAL, "top_k": 0, "min_p": 0.1, "repetition_penalty": 1, "stop": "END\n\\n\n", "system": " Be kind. "}
    how["own"] = {people[1].value: {"temperature": 0, "system": "", "top_k": None}, "adapter-99": {"top_k": 3}}
    question, problems = read_question(people, "Rain?", 7, {**how, "samples": 2}, 5)
    assert problems == []
    assert question.sampling == {
        "seed": 7,
        "temperature": 0.7,
        "top_p": 0.95,
        "min_p": 0.1,
        "max_tokens": 200,
        "stop": ["END", "\n"],
    }
    assert (question.system, question.sides, len(question.people)) == ("Be kind.", 5, 4)
    assert [one.label for one in question.own] == ["", "", ", temperature 0", ", temperature 0"]
    assert read_question(people, "Rain?", 7, USUAL, None)[0].own == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"temperature": 3}, "Temperature is 3; it has to be a number from 0 to 2."),
        ({"top_k": 1.5}, "Top k is 1.5; it has to be a whole number from 0 to 100,000."),
        ({"repetition_penalty": "loud"}, "Repetition penalty is 'loud'; it has to be a number from 1 to 2."),
        ({"max_tokens": True}, "Most tokens is True; it has to be a whole number from 1 to 1,024."),
        ({"stop": "\n".join("abcdefghijklmnopqr")}, "There are at most 16 stop words, each of at most 100 characters."),
        ({"system": ["x"]}, "A system prompt has at most 20,000 characters. Shorten it."),
        ({"samples": 0}, "Samples each is 0; it has to be a whole number from 1 to 8."),
        ({"samples": 5}, "2 contestants with 5 samples each make 10 columns; 8 are the most here."),
    ],
)
def test_a_value_that_cannot_be_is_named(people: list[Contestant], more: dict[str, Any], said: str) -> None:
    (problem,) = wrong(people, how={**USUAL, **more})
    assert problem.startswith(said)


def test_nothing_from_outside_is_believed(people: list[Contestant]) -> None:
    assert wrong(people, prompt="  ", seed=None, how=None)[1].startswith("Seed is None")
    (problem,) = wrong(people, how={**USUAL, "own": {people[1].value: {"temperature": 9, "__class__": 1}}})[:1]
    assert problem == "Column 2: Temperature is 9; it has to be a number from 0 to 2."
    assert wrong(people, how={**USUAL, "own": [1], "stop": 5}) == []


def test_own_settings_are_typed_by_column_and_all_that_is_wrong_is_told_at_once() -> None:
    own = own_settings.read(["2:temperature=0", "2:system=Be short: yes.", "1:top-k=5"], 2)
    assert own == [Own(None, {"top_k": 5}), Own("Be short: yes.", {"temperature": 0.0})]
    assert own_settings.read([], 2) == []
    with pytest.raises(UsageError) as refused:
        own_settings.read(["nonsense", "3:temperature=0", "1:colour=red", "1:top_p=7"], 2)
    for said in ("write it like 2:temperature=0", "there is no contestant 3", "no setting colour", "Top p is '7'"):
        assert said in str(refused.value)


def test_checkpoints_and_bases_are_named_in_words_and_what_is_not_there_is_said(
    store: Store, furnished: Furnished, people: list[Contestant]
) -> None:
    base, data = furnished
    job = store.submit("train", "long", {"rank": 4}, base_model_id=base.id, data_set_id=data.id)
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        folder = draft.publish()
    store.add_checkpoint(job.id, store.claim(job.id, Owner(1, 2.0, "boot")).token, step=40, folder=folder)
    found = naming.one(store, "long:40@0.5")
    assert (found.name, found.strength) == ("long at step 40@0.5", 0.5)
    assert naming.one(store, f"{job.id}:40").identity == naming.one(store, "long:40").identity
    assert naming.one(store, "base:tiny").is_base
    for text, said in {
        "long:41": "Kept ones: 40",
        "merged:7": "Job 7 left no merged model",
        "pirate@3": "from 0 to 2",
        "nobody": "There is no adapter nobody",
    }.items():
        with pytest.raises(UsageError, match=said):
            naming.one(store, text)


# --- beside a run -------------------------------------------------------------------------------------------------


def under_way(store: Store, job: Job, **told: Any) -> int:
    """A job that a worker works on, and what that has told of itself."""
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    store.move(job.id, "running", who="worker", token=token)
    store.report(job.id, token, progress=told)
    return job.id


@pytest.fixture
def run(store: Store, furnished: Furnished) -> int:
    """A run that trains on a GPU, with memory that comes and goes."""
    base, data = furnished
    job = store.submit("train", "long run", {}, base_model_id=base.id, data_set_id=data.id)
    return under_way(store, job, device="A GPU", memory_bytes=3 * 10**9, peak_memory_bytes=5 * 10**9)


def test_a_question_beside_a_run_leaves_it_the_memory_it_has_needed_before(
    store: Store, run: int, people: list[Contestant]
) -> None:
    question = room_beside.beside_runs(store, Question(people, "Rain?", USUAL))
    assert (question.run, question.spare, question.threads) == ("long run", 2 * 10**9, None)


@pytest.fixture
def suite(store: Store) -> int:
    """A suite that is being answered on the CPU, whose caches are still to grow."""
    job = store.submit("suite", "things", {"suite_run": 1})
    return under_way(store, job, device="CPU", memory_bytes=2 * 10**9, peak_memory_bytes=3 * 10**9)


def test_a_suite_that_is_being_answered_is_no_more_endangered_than_a_run(
    store: Store, suite: int, people: list[Contestant]
) -> None:
    question = room_beside.beside_runs(store, Question(people, "Rain?", USUAL))
    assert (question.run, question.spare, question.threads) == ("things", 10**9, 1)
    store.move(suite, "finishing", who="worker")
    store.move(suite, "completed", who="worker")
    assert room_beside.beside_runs(store, question) == question


def test_whoever_asks_the_model_says_what_is_at_work(store: Store, suite: int, people: list[Contestant]) -> None:
    """The demo's question and the judge's too, not those of Compare alone."""
    asked: list[dict[str, Any]] = []

    class Told:
        def stream(self, kind: str, **payload: Any) -> Iterator[dict[str, Any]]:
            asked.append(payload)
            facts = {"device": "cpu", "dtype": "float32", "threads": 1, "seconds": 1.0, "batches": [[0, 1]]}
            yield {**facts, "texts": ["Wet.", "Arr."], "tokens": [1, 1]}

        def request(self, kind: str, **payload: Any) -> dict[str, Any]:
            asked.append(payload)
            return {"odds": [1.0, -1.0]}

    told: Any = Told()
    assert people[1].adapter is not None
    sampling = asking.Sampling(0.0, 1.0, 4, 7)
    texts = [one["text"] for one in asking.answers_of(told, store, [people[1].adapter], "Rain?", "", sampling)]
    answers = [
        {"name": one.name, "adapter_id": one.adapter and one.adapter.id, "identity": one.identity, "text": text}
        | {"strength": 1.0, "tokens": 1, "finished": True, "tokens_per_second": 1.0}
        for one, text in zip(people, texts, strict=True)
    ]
    more: dict[str, Any] = {"prompt": "Rain?", "system": "", "precision": "full", "sides": None, "ended": "complete"}
    kept = store.add_comparison(base=people[0].base, answers=answers, sampling=USUAL, how={}, **more)
    judging.judge(store, told, kept, people[1])
    assert [(one["threads"], one["run"], one["spare_bytes"]) for one in asked] == [(1, "things", 10**9)] * 2


def ways(store: Store, about: dict[str, str]) -> list[str]:
    return [one["words"] for one in way_out.offered(store, AnswererError("No room.", about=about), {})]


def test_the_ways_out_of_a_refusal_are_those_of_its_device(store: Store, run: int) -> None:
    all_three = ["Answer on the CPU", "Wait for the run", "Pause the run and answer"]
    assert ways(store, {"no_room": "cuda", "run": "long run"}) == all_three
    assert ways(store, {"no_room": "cpu", "run": "long run"}) == all_three[1:]
    assert ways(store, {"no_room": "cpu", "run": ""}) == ways(store, {}) == []


@pytest.mark.usefixtures("suite")
def test_a_suite_is_waited_for_and_not_paused(store: Store) -> None:
    assert ways(store, {"no_room": "cuda", "run": "things"}) == ["Answer on the CPU", "Wait for the suite"]
    waiting = way_out.until_free(store, "pause")
    assert next(waiting) == "Waiting for things to end. Stop gives up."
    assert store.jobs(kinds=["suite"])[0].stop is None


@pytest.mark.usefixtures("no_runner")
def test_waiting_ends_with_the_run_and_pausing_asks_it_to_pause(
    store: Store, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_out, "PERIOD", 0)
    assert list(way_out.until_free(store, "cpu")) == []
    waiting = way_out.until_free(store, "wait")
    assert next(waiting) == "Waiting for long run to end. Stop gives up."
    assert store.job(run).stop is None
    pausing = way_out.until_free(store, "pause")
    assert next(pausing) == "Waiting for long run to pause. Stop gives up."
    assert store.job(run).stop == "pause"
    store.move(run, "paused", who="worker")
    assert list(pausing) == ["long run has paused. Continue it on Runs."]
    assert list(waiting) == []
