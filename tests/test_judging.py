"""What a judge's readings come to: only verdicts that hold both ways round, its leaning to a place, its agreement."""

import pytest

from adapters_store.comparison_tables import Verdict
from adapters_store.store_closer import Judged
from engine.votes import sign_test, wilson
from studio import judging
from studio.judging import Record


def read(forward: float, backward: float, best: int | None = None) -> Judged:
    """A reading of answers 1 and 2, and the answer a person voted for."""
    return Judged(Verdict(one_id=1, other_id=2, forward=forward, backward=backward), best)


@pytest.mark.parametrize(
    ("forward", "backward", "better"),
    [(0.5, -0.1, 1), (-0.1, 0.5, 2), (0.5, 0.5, None), (-0.5, -0.5, None), (0.0, -0.5, None)],
)
def test_a_verdict_counts_if_it_is_the_same_both_ways_round(
    forward: float, backward: float, better: int | None
) -> None:
    assert judging.preferred(read(forward, backward).verdict) == better


def test_readings_are_counted_and_a_vote_speaks_for_the_pairs_of_the_best() -> None:
    judged = [read(1, -1, best=1), read(1, -1, best=2), read(1, 1, best=1), read(-1, 1), read(-1, 1, best=7)]
    assert judging.record(judged) == Record(readings=10, firsts=6, consistent=4, compared=3, counted=2, agreed=1)


def test_a_judge_that_takes_what_stands_first_is_told_to_do_so() -> None:
    told = judging.sentences("terse", judging.record([read(1, 1)] * 9 + [read(1, -1)]))
    _, low, high = wilson(19, 20)
    assert told[1] == (
        f"It is drawn to a place: it took the first answer in 95 % ({100 * low:.0f} to {100 * high:.0f}) of its "
        "readings, where 50 % are fair."
    )
    assert told[0].startswith("terse has judged 10 pairs, each both ways round. Its verdict was the same both times ")
    assert told[2] == "Whether terse agrees with people is not known: it has no vote of yours on a pair it judged."
    second = judging.sentences("terse", judging.record([read(-1, -1)] * 10))[1]
    assert "it took the second answer in 100 % (84 to 100) of its readings" in second


def test_agreement_stands_with_its_interval_and_beside_guessing() -> None:
    fair = [read(1, -1, best=1), read(-1, 1, best=2)]
    (_, low, high), p = wilson(16, 20), sign_test(16, 4)
    told = judging.sentences("terse", judging.record(fair * 8 + [read(1, -1, best=2)] * 4))
    assert told[2] == (
        f"It agrees with 20 votes of people in 80 % ({100 * low:.0f} to {100 * high:.0f}) of them, better than "
        f"guessing (p = {p:.2g})."
    )
    assert told[1].startswith("No leaning to a place is seen: ")
    few = judging.sentences("terse", judging.record(fair))[2]
    assert few.endswith("which cannot be told from guessing (50 %; p = 0.5). Fewer than 30 votes tell little.")
    worse = judging.sentences("terse", judging.record([read(1, -1, best=2), read(-1, 1, best=1)] * 10))[2]
    assert "0 % (0 to 16) of them, worse than guessing (p < 0.001)." in worse
    none = judging.sentences("terse", judging.record([read(1, 1, best=1)]))[2]
    assert none.endswith("it was consistent on none of those.")


def test_a_judge_without_readings_says_so() -> None:
    assert judging.sentences("terse", judging.record([])) == ["terse has judged nothing yet."]
