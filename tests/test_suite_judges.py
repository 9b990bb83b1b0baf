"""What a judge's verdicts on a suite come to: the share of wins with its interval, and the word better or worse."""

import pytest

from adapters_store.suite_tables import SuiteVerdict
from engine.votes import sign_test, wilson
from studio import suite_judges


def read(forward: float | None, backward: float | None, place: int = 1) -> SuiteVerdict:
    return SuiteVerdict(prompt_id=1, place=place, forward=forward, backward=backward, problem="")


def test_only_verdicts_that_hold_both_ways_round_are_won_or_lost() -> None:
    all_of_them = [read(1, -1), read(-1, 1), read(1, 1), read(None, None), read(2, -2, place=2)]
    assert suite_judges._counts(all_of_them, 1) == {"won": 1, "lost": 1, "undecided": 1, "left_out": 1}


@pytest.mark.parametrize(
    ("won", "lost", "said"), [(12, 1, "is better than"), (1, 12, "is worse than"), (3, 2, "cannot be")]
)
def test_the_share_of_wins_has_its_interval_and_the_sentence_its_test(won: int, lost: int, said: str) -> None:
    counts = {"won": won, "lost": lost, "undecided": 2, "left_out": 0}
    told = suite_judges._in_words("pirate", "base", counts, p := sign_test(won, lost))
    value, low, high = wilson(won, won + lost)
    assert told["words"] == f"{100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    assert said in told["said"]
    assert f"(better on {won}, worse on {lost} prompts, no verdict on 2; p = {p:.2g})" in told["said"]
