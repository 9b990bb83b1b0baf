"""What a browser is told of a kept comparison: of a blind one nothing that tells who is who, until the vote."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from adapters_store.comparison_tables import Comparison
from adapters_store.store import Store, StoreError
from adapters_store.tables import BaseModel, DataSet
from jobs.ask import Answerer
from studio import comparing, hearing, kept_grid
from studio.asked import Question
from studio.contestants import Contestant
from studio.past_comparisons import questions
from tests.furnish import add_adapter

Furnished = tuple[BaseModel, DataSet]
SAMPLING = {"seed": 7, "temperature": 0.7, "top_p": 0.95, "max_tokens": 50, "top_k": 40, "repetition_penalty": 1.0}
ANSWERED = {
    "texts": ["Rain is water.", "Arr, wet!", "Drops."],
    "tokens": [4, 50, 2],
    "finished": [True, False, True],
    "seconds": 2.0,
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "batches": [[0, 1, 2]],
    "ids": [[1], [2], [3]],
}


class Told:
    """Stands for the answerer: says what is written here."""

    def stream(self, kind: str, **asked: Any) -> Iterator[dict[str, Any]]:
        yield ANSWERED

    def request_in_spare_time(self, kind: str, **asked: Any) -> dict[str, Any]:
        return {
            "weights": ["aa11", "bb22", "bb22"],
            "divergences": [None, 0.41, 0.0001],
            "templates": ["cc33"] * 3,
            "along": [None] * 3,
        }


@pytest.fixture
def people(store: Store, furnished: Furnished) -> list[Contestant]:
    base, _ = furnished
    adapters = [add_adapter(store, base, name=name, sha256=f"sha256:{name}") for name in ("pirate", "terse")]
    return [Contestant(base, None), *(Contestant(base, one) for one in adapters)]


def keep(store: Store, people: list[Contestant], sides: int | None = 11) -> Comparison:
    """A comparison of all of them, blind unless `sides` is None."""
    return hearing.ask(store, cast(Answerer, Told()), Question(people, "What is rain?", SAMPLING, sides=sides))


def asked(store: Store, name: str, **question: Any) -> dict[str, Any]:
    return next(fn for fn in questions(store) if fn.__name__ == name)(question)


def test_a_blind_comparison_tells_nothing_but_its_texts_before_the_vote(store: Store, people: list[Contestant]) -> None:
    kept = keep(store, people)
    answer = asked(store, "compare_open", id=kept.id)
    grid = answer["grid"]
    places = comparing.order(3, 11)
    assert places != [0, 1, 2]
    assert [column["text"] for column in grid["columns"]] == [ANSWERED["texts"][place] for place in places]
    assert [column["name"] for column in grid["columns"]] == ["A", "B", "C"]
    said = json.dumps(grid)
    for secret in ("pirate", "terse", "base", "sha256", "aa11", "bb22", "tokens/s", "KL", "sides", str(kept.sides)):
        assert secret not in said.replace(f'"id": {kept.id}', "")
    assert grid["status"] == f"3 answers ready. Cut at 50 tokens: {'ABC'[places.index(1)]}."


def test_the_vote_is_for_the_column_that_was_seen_and_tells_the_names(store: Store, people: list[Contestant]) -> None:
    kept = keep(store, people)
    at = comparing.order(3, 11).index(1)
    answer = asked(store, "compare_vote", id=kept.id, choice="best", at=at)
    assert answer["grid"]["vote"] == {"at": at, "words": f"You chose {'ABC'[at]}: pirate."}
    assert [column["name"] for column in answer["grid"]["columns"]][at] == "pirate"
    (ballot,) = store.ballots([one.identity for one in people])
    assert ballot.best == "sha256:pirate"
    assert answer["scores"]["fact"] == "1 blind vote on 1 prompt"


def test_the_proof_names_the_tensors_and_flags_what_is_the_same_or_does_nothing(
    store: Store, people: list[Contestant]
) -> None:
    kept = keep(store, people, sides=None)
    base, pirate, terse = kept_grid.of(store, kept)["columns"]
    assert "KL" not in base["what"]
    assert pirate["what"].endswith(", KL 0.410 from base")
    assert "template cc33" in pirate["whole"]
    assert pirate["how"] == (
        "Seed 7, temperature 0.7, 25.0 tokens/s, top k 40, top p 0.95, tensors bb22, base tiny, template cc33"
    )
    assert [one["flag"] for one in (base, pirate, terse)] == ["", "", "does nothing here (KL 0.000)"]
    twins = store.prove(kept.id, ["aa11", "bb22", "bb22"], [None, 0.41, 0.41])
    assert kept_grid.of(store, twins)["columns"][2]["flag"] == "same weights as pirate"


def test_the_list_tells_no_names_before_the_vote_and_finds_words(store: Store, people: list[Contestant]) -> None:
    kept = keep(store, people[::-1])
    (row,) = asked(store, "compare_past", search="rain")["rows"]
    assert (row["key"], row["names"], row["said"]) == (kept.id, "A, B, C", "waits for your vote")
    store.vote(kept.id, "tie")
    (row,) = asked(store, "compare_past", search="")["rows"]
    assert (row["names"], row["said"]) == ("terse, pirate, base", "tie")
    assert asked(store, "compare_past", search="snow")["rows"] == []


@pytest.mark.parametrize(
    "question",
    [None, {}, {"id": "1"}, {"id": 10**30}, {"id": 1, "choice": "best", "at": 3}, {"id": 1, "choice": "x", "at": 0}],
)
def test_nothing_from_outside_is_believed(store: Store, people: list[Contestant], question: Any) -> None:
    keep(store, people)
    vote = next(fn for fn in questions(store) if fn.__name__ == "compare_vote")
    with pytest.raises(StoreError):
        vote(question)
    assert store.comparison(1).is_secret


def test_a_replay_asks_the_same_of_the_same_or_says_who_is_gone(store: Store, people: list[Contestant]) -> None:
    kept = keep(store, people, sides=None)
    question = comparing.again(store, kept)
    assert [one.identity for one in question.people] == [one.identity for one in people]
    assert (question.prompt, question.sampling, question.threads) == ("What is rain?", SAMPLING, 1)
    assert comparing.differences(kept, keep(store, people)) == "Asked again: all 3 answers exactly as before."
    assert people[2].adapter is not None
    store.delete_adapter(people[2].adapter.id)
    with pytest.raises(StoreError, match="terse is no longer here as it was"):
        comparing.again(store, kept)


def test_a_blind_comparison_is_not_asked_again_openly_before_its_vote(store: Store, people: list[Contestant]) -> None:
    with pytest.raises(StoreError, match="waits for its vote"):
        comparing.again(store, keep(store, people))


def test_a_comparison_of_before_is_shown_and_asked_again_as_it_always_was(
    store: Store, people: list[Contestant]
) -> None:
    now = keep(store, people, sides=None)
    with sqlite3.connect(store.files.database) as library:
        library.execute("UPDATE answer SET seat = NULL")
    library.close()
    then = store.comparison(now.id)
    assert [answer.seat for answer in then.answers] == [None] * 3
    question = comparing.again(store, then)
    assert [one.value for one in question.people] == [one.value for one in people]
    assert [question.sampling_of(place) for place in range(3)] == [SAMPLING] * 3
    assert [column["name"] for column in kept_grid.of(store, then)["columns"]] == ["base", "pirate", "terse"]


def test_whoever_stands_twice_is_shown_and_asked_again_in_both_columns(store: Store, people: list[Contestant]) -> None:
    twice = [people[0], replace(people[0], copy=2), replace(people[1], copy=3)]
    kept = keep(store, twice, sides=None)
    shown = kept_grid.of(store, kept)["columns"]
    assert [one["key"] for one in shown] == ["base-1/0", "base-1/1", "adapter-1/2"]
    assert [one["what"].partition(",")[0] for one in shown] == ["Base model tiny", "Base model tiny", "Adapter pirate"]
    assert [one.value for one in comparing.again(store, kept).people] == ["base-1", "base-1#2", "adapter-1#3"]


def test_samples_of_one_are_one_in_the_scores(store: Store, people: list[Contestant]) -> None:
    kept = keep(store, people)
    with sqlite3.connect(store.files.database) as library:  # the third is a second sample of the second
        library.execute("UPDATE answer SET name = 'pirate #' || place, identity = 'sha256:pirate' WHERE place > 0")
    library.close()
    store.vote(kept.id, "best", 2)
    rows = asked(store, "compare_open", id=kept.id)["scores"]["rows"]
    assert [row["name"] for row in rows] == ["base", "pirate"]
