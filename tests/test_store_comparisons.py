"""Comparisons in the library: nothing is lost, each has one vote at most, and a search finds them."""

from typing import Any

import pytest

from adapters_store import store_comparisons
from adapters_store.comparison_tables import Comparison
from adapters_store.store import NotFound, Store, StoreError
from adapters_store.tables import BaseModel, DataSet

Furnished = tuple[BaseModel, DataSet]


def keep(store: Store, base: BaseModel, prompt: str = "What is rain?", **facts: Any) -> Comparison:
    """A comparison of the base and one adapter, blind and complete unless `facts` say otherwise."""
    names = facts.pop("names", ("base", "pirate-r4"))
    answers = [
        {
            "name": name,
            "adapter_id": None,
            "strength": 1.0,
            "identity": f"sha256:{name}",
            "text": f"{name} says rain.",
            "tokens": 4,
            "finished": True,
            "tokens_per_second": 2.5,
        }
        for name in names
    ]
    usual: dict[str, Any] = {
        "prompt": prompt,
        "system": "",
        "precision": "full",
        "sampling": {"seed": 7, "temperature": 0.7},
        "how": {"device": "cpu", "threads": 1},
        "sides": 3,
        "ended": "complete",
    }
    return store.add_comparison(base=base, answers=answers, **(usual | facts))


def test_a_comparison_reads_back_as_it_was_kept(store: Store, furnished: Furnished) -> None:
    base, _ = furnished
    before = store.changed()["comparisons"]
    kept = store.comparison(keep(store, base).id)
    assert (kept.prompt, kept.base_name, kept.base_fingerprint) == ("What is rain?", base.name, base.fingerprint)
    assert kept.sampling == {"seed": 7, "temperature": 0.7}
    assert [(one.place, one.name, one.text) for one in kept.answers] == [
        (0, "base", "base says rain."),
        (1, "pirate-r4", "pirate-r4 says rain."),
    ]
    assert kept.is_secret
    assert store.changed()["comparisons"] > before
    with pytest.raises(NotFound, match="no comparison with the number 99"):
        store.comparison(99)


def test_proof_is_added_to_each_answer(store: Store, furnished: Furnished) -> None:
    proven = store.prove(keep(store, furnished[0]).id, ["aa", "bb"], [None, 0.41], template="cc")
    assert [(one.weights, one.divergence) for one in proven.answers] == [("aa", None), ("bb", 0.41)]
    assert proven.how == {"device": "cpu", "threads": 1, "template": "cc"}


@pytest.mark.parametrize(("choice", "place", "best"), [("best", 1, "sha256:pirate-r4"), ("tie", None, None)])
def test_a_vote_ends_the_secret_and_is_counted_once(
    store: Store, furnished: Furnished, choice: Any, place: int | None, best: str | None
) -> None:
    kept = keep(store, furnished[0])
    assert not store.vote(kept.id, choice, place).is_secret
    with pytest.raises(StoreError, match="has its vote already"):
        store.vote(kept.id, "best", 0)
    (ballot,) = store.ballots(["sha256:base", "sha256:pirate-r4"])
    assert (ballot.prompt, ballot.choice, ballot.best) == ("What is rain?", choice, best)
    assert ballot.stood == ["sha256:base", "sha256:pirate-r4"]
    assert store.ballots(["sha256:base", "sha256:other"]) == []


@pytest.mark.parametrize(
    ("facts", "place", "why"),
    [
        ({"sides": None}, 0, "Only blind comparisons"),
        ({"ended": "stopped"}, 0, "did not come to its end"),
        ({}, 5, "has no answer 5"),
    ],
)
def test_what_cannot_be_voted_on_is_refused(
    store: Store, furnished: Furnished, facts: dict[str, Any], place: int, why: str
) -> None:
    kept = keep(store, furnished[0], **facts)
    with pytest.raises(StoreError, match=why):
        store.vote(kept.id, "best", place)
    assert store.comparison(kept.id).vote is None


def test_where_all_are_wanted_none_is_left_out_however_many_there_are(
    store: Store, furnished: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_comparisons, "PAGE", 2)
    kept = [
        keep(store, furnished[0], prompt=f"What is {thing}?").id
        for thing in ("rain", "a hill", "wind", "a hut", "a sea")
    ]
    assert [one.id for one in store.every_comparison()] == kept[::-1]
    assert [one.id for one in store.every_comparison("hut")] == [kept[3]]


def test_a_search_looks_into_prompts_names_and_answers_and_takes_nothing_for_a_pattern(
    store: Store, furnished: Furnished
) -> None:
    base, _ = furnished
    rain = keep(store, base, "What is 100 % rain?")
    sea = keep(store, base, "And the sea?", names=("base", "terse"))

    def found(search: str) -> list[int]:
        return [one.id for one in store.comparisons(search=search)]

    assert found("") == [sea.id, rain.id]
    assert found("100 %") == [rain.id]
    assert found("PIRATE") == [rain.id]
    assert found("terse says sea") == [sea.id]
    assert found("_") == []
    assert [one.id for one in store.comparisons(limit=1)] == [sea.id]


def test_one_vote_tells_the_names_of_a_whole_conversation(store: Store, furnished: Furnished) -> None:
    base, _ = furnished
    first = keep(store, base)
    second = keep(store, base, "And snow?", follows=first)
    third = keep(store, base, "And hail?", follows=second)
    alone = keep(store, base)
    assert [one.id for one in store.turns(third)] == [first.id, second.id]
    assert all(store.comparison(one.id).is_secret for one in (first, second, third))
    store.vote(second.id, "best", 1)
    assert not any(store.comparison(one.id).is_secret for one in (first, second, third))
    assert store.comparison(alone.id).is_secret
    with pytest.raises(StoreError, match="names of this conversation are told"):
        store.vote(third.id, "tie")


def test_a_blind_conversation_that_is_stopped_tells_its_names_so_no_earlier_turn_is_voted_on(
    store: Store, furnished: Furnished
) -> None:
    first = keep(store, furnished[0])
    keep(store, furnished[0], "And snow?", follows=first, ended="stopped")
    assert not store.comparison(first.id).is_secret
