"""The words of the Scores card, from real votes in a store."""

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet
from engine import votes
from studio import scores
from studio.scores import Standing
from tests.test_store_comparisons import keep

Furnished = tuple[BaseModel, DataSet]
TWO = [Standing("base", "sha256:base"), Standing("pirate-r4", "sha256:pirate-r4")]
THREE = [*TWO, Standing("terse", "sha256:terse")]


def voted(store: Store, base: BaseModel, people: list[Standing], winners: str) -> None:
    """A vote for each character: a place, T for a tie, 0 for all bad."""
    for number, winner in enumerate(winners):
        kept = keep(store, base, f"Question {number}", names=tuple(one.name for one in people))
        if winner == "T":
            store.vote(kept.id, "tie")
        elif winner == "x":
            store.vote(kept.id, "bad")
        else:
            store.vote(kept.id, "best", int(winner))


def test_without_votes_the_way_to_some_is_told(store: Store) -> None:
    card = scores.card(store, TWO)
    assert (card["rows"], card["sentences"]) == ([], [scores.NONE_YET])
    assert votes.votes_needed(3, 1) == 30


def test_two_have_shares_with_intervals_and_ties_are_left_out_openly(store: Store, furnished: Furnished) -> None:
    voted(store, furnished[0], TWO, "1" * 14 + "0" * 8 + "TTx")
    card = scores.card(store, TWO)
    assert card["fact"] == "25 blind votes on 25 prompts"
    assert [row["words"] for row in card["rows"]] == ["36 % (20 to 57)", "64 % (43 to 80)"]
    assert card["sentences"] == [
        "pirate-r4 looks better than the base, not yet for sure (p = 0.29). About 86 more votes would tell."
    ]
    assert card["note"].startswith("Left out: 2 ties, 1 all bad. ")


@pytest.mark.parametrize(
    ("winners", "told"),
    [
        ("111111", "pirate-r4 is better than the base (p = 0.031)."),
        ("0" * 12, "The base is better than pirate-r4 (p < 0.001)."),
        ("01", "The base and pirate-r4 cannot be told apart so far (1 to 1)."),
        ("T", "The base and pirate-r4 cannot be told apart so far (no vote yet names one of them)."),
    ],
)
def test_how_sure_it_is_stands_in_words(store: Store, furnished: Furnished, winners: str, told: str) -> None:
    voted(store, furnished[0], TWO, winners)
    assert scores.card(store, TWO)["sentences"] == [told]


def test_three_have_strengths_and_votes_of_two_of_them_count(store: Store, furnished: Furnished) -> None:
    base, _ = furnished
    voted(store, base, THREE, "1111111112")
    voted(store, base, TWO, "111")
    card = scores.card(store, THREE)
    assert "Bradley-Terry" in card["note"]
    chances = {row["name"]: row["value"] for row in card["rows"]}
    assert chances["pirate-r4"] > chances["terse"] > chances["base"]
    assert sum(chances.values()) == pytest.approx(1.5)
    assert card["sentences"][0] == "pirate-r4 is better than terse (p = 0.043)."  # 9 to 1 is 0.021, by Holm twice it
    assert card["sentences"][1] == "pirate-r4 is better than the base (p = 0.0015)."
    assert scores.card(store, TWO)["fact"] == "13 blind votes on 10 prompts"
    assert "1 for somebody not chosen now" in scores.card(store, TWO)["note"]
