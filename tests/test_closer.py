"""A closer look as the page gets it: whole texts, shades by how much likelier, figures in words, and no secrets."""

import math
from typing import Any

import pytest

from adapters_store.comparison_tables import Comparison
from adapters_store.store import Store, StoreError
from adapters_store.tables import BaseModel
from studio import closer, hearing, judging
from studio.asked import Question
from studio.contestants import Contestant
from tests.at_hand import AtHand
from tests.test_hearing import SAMPLING, adapter
from tests.workshop import add_base

pytestmark = pytest.mark.usefixtures("one_thread_each")


@pytest.fixture(scope="module")
def answerer() -> Any:
    return AtHand()


@pytest.fixture
def base(store: Store) -> BaseModel:
    base = add_base(store)
    adapter(store, base, 1, "pirate")
    return base


def ask(store: Store, base: BaseModel, answerer: Any, **more: Any) -> Comparison:
    people = [Contestant(base, None), Contestant(base, store.adapter(1))]
    return hearing.ask(
        store, answerer, Question(people, "What is rain?", {**SAMPLING, **more.pop("drawn", {})}, **more)
    )


def asked(store: Store, answerer: Any, name: str, **question: Any) -> dict[str, Any]:
    return next(fn for fn in closer.questions(store, answerer) if fn.__name__ == name)(question)


def test_all_that_is_known_of_a_comparison_is_told_in_words(store: Store, base: BaseModel, answerer: Any) -> None:
    kept = ask(store, base, answerer)
    told = asked(store, answerer, "closer_look", id=kept.id)
    assert told["names"] == ["base", "pirate"]
    plain, trained = told["tokens"]
    assert (plain["tokens"], "measured against" in plain["said"]) == ([], True)
    assert "".join(text for text, _, _ in trained["tokens"]) == kept.answers[1].text
    assert trained["said"].startswith(f"Of {len(trained['tokens'])} tokens, ")
    assert (told["reference"], told["verdicts"], told["no_judge"]) == (None, [], "")
    assert {one["name"] for one in told["judges"]} == {"base", "pirate"}

    told = asked(store, answerer, "closer_reference", id=kept.id, text="Rain is water.")
    assert told["reference"]["text"] == "Rain is water."
    assert [row["name"] for row in told["reference"]["rows"]] == ["base", "pirate"]
    assert "likel" in told["reference"]["said"]

    told = asked(store, answerer, "closer_judge", id=kept.id, judge="adapter-1")
    (judge,) = told["verdicts"]
    assert (judge["judge"], judge["rows"][0]["pair"]) == ("pirate", "base or pirate")
    assert judge["sentences"][0] == judging.OWN
    with pytest.raises(StoreError, match="no longer in the library"):
        asked(store, answerer, "closer_judge", id=kept.id, judge="adapter-99")


def test_an_answer_cut_by_a_stop_word_ends_where_it_was_cut(store: Store, base: BaseModel, answerer: Any) -> None:
    whole = ask(store, base, answerer).answers[1].text
    kept = ask(store, base, answerer, drawn={"stop": [whole[4:6]]})
    assert kept.answers[1].text == whole[: whole.index(whole[4:6])]
    (_, trained) = asked(store, answerer, "closer_look", id=kept.id)["tokens"]
    assert "".join(text for text, _, _ in trained["tokens"]) == kept.answers[1].text


def test_a_piece_that_reaches_behind_the_cut_is_shown_up_to_it_and_pieces_of_another_text_are_not() -> None:
    pieces = [["Arr", -1.0, -2.0], [", wet", -1.0, -3.0], ["!", -1.0, -1.0]]
    assert closer._within("Arr, w", pieces) == [("Arr", -1.0, -2.0), (", w", -1.0, -3.0)]
    assert closer._within("Rain", pieces) == closer._within("Arr, wet! More.", pieces) == []


@pytest.mark.parametrize(
    ("factor", "shade", "words"),
    [(1.9, 0, "about as likely"), (2.5, 1, "2.5 times likelier"), (40, 2, "40 times likelier"), (0.004, -3, "less")],
)
def test_shades_go_by_how_many_times_likelier_a_token_was(factor: float, shade: int, words: str) -> None:
    told = closer.token("x", math.log(0.2), math.log(0.2 / factor))
    assert told.shade == shade
    assert words in told.words
    assert told.words.startswith("20 % with the adapter, ")


def test_differences_need_two_columns_and_count_words(store: Store, base: BaseModel, answerer: Any) -> None:
    kept = ask(store, base, answerer)
    told = asked(store, answerer, "closer_difference", id=kept.id, one=1, other=0)
    assert "".join(text for kind, text in told["spans"] if kind != "new") == kept.answers[1].text
    assert " only in pirate, " in told["said"]
    for wrong in ({}, {"one": 0, "other": 0}, {"one": 0, "other": 2}, {"one": "0", "other": 1}):
        with pytest.raises(StoreError, match="two different columns"):
            asked(store, answerer, "closer_difference", id=kept.id, **wrong)


def test_a_blind_comparison_is_not_looked_at_before_its_vote(store: Store, base: BaseModel, answerer: Any) -> None:
    kept = ask(store, base, answerer, sides=3)
    for fn in closer.questions(store, answerer):
        with pytest.raises(StoreError, match="blind and waits for its vote"):
            fn({"id": kept.id, "one": 0, "other": 1, "text": "x", "judge": "adapter-1"})
    store.vote(kept.id, "tie")
    order = asked(store, answerer, "closer_look", id=kept.id)["names"]
    assert sorted(order) == ["base", "pirate"]


def test_a_comparison_of_before_says_why_nothing_is_known_of_its_tokens(
    store: Store, base: BaseModel, answerer: Any
) -> None:
    heard = hearing.Hearing(store, answerer, Question([Contestant(base, store.adapter(1))], "What is rain?", SAMPLING))
    for _ in heard.listen():
        pass
    told = asked(store, answerer, "closer_look", id=heard.keep().id)
    assert told["tokens"][0] == {"tokens": [], "said": f"pirate: {closer.UNPROVEN}"}
    assert told["no_judge"].endswith("so there is nothing to judge.")
