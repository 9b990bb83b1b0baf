"""What votes tell, against published figures, exact counting and numerical derivatives."""

import itertools
import math
from fractions import Fraction

import pytest

from engine import votes
from engine.votes import Choice, corrected, head_to_head, sign_test, strengths, votes_needed, wilson


@pytest.mark.parametrize(
    ("wins", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombe_1998(wins: int, count: int, low: float, high: float) -> None:
    """Two-sided confidence intervals for the single proportion, Stat. Med. 17, table I, method 3."""
    share = wilson(wins, count)
    assert share.value == wins / count
    assert (share.low, share.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_without_votes_nothing_is_ruled_out() -> None:
    assert wilson(0, 0)[1:] == (0, 1)
    assert sign_test(0, 0) == 1
    assert votes_needed(0, 0) is None


def test_the_sign_test_counts_all_outcomes_at_least_as_uneven() -> None:
    for count in range(1, 11):
        outcomes = [sum(one) for one in itertools.product((0, 1), repeat=count)]
        for wins in range(count + 1):
            uneven = abs(2 * wins - count)
            as_uneven = sum(abs(2 * one - count) >= uneven for one in outcomes)
            assert sign_test(wins, count - wins) == pytest.approx(as_uneven / len(outcomes), abs=1e-12)


def test_the_votes_needed_are_the_first_number_with_that_power() -> None:
    def power(share: Fraction, count: int, level: float) -> float:
        return float(
            sum(
                math.comb(count, wins) * share**wins * (1 - share) ** (count - wins)
                for wins in range(count + 1)
                if sign_test(wins, count - wins) <= level
            )
        )

    for wins, losses, tests in ((3, 0, 1), (14, 8, 1), (9, 2, 3)):
        needed = votes_needed(wins, losses, tests)
        assert needed is not None
        share = Fraction(wins, wins + losses)
        assert needed == next(count for count in itertools.count(1) if power(share, count, 0.05 / tests) >= 0.8)
    assert votes_needed(1, 0) == 6  # five in a row are p = 0.0625


def test_many_votes_are_estimated_and_endless_ones_are_not_named() -> None:
    needed = votes_needed(58, 42)
    assert needed is not None
    assert votes.MOST_EXACT < needed < 400
    assert votes._power(0.58, needed, 0.05) == pytest.approx(0.8, abs=0.04)
    assert votes_needed(501, 499) is None
    assert votes_needed(7, 7) is None


VOTED = [
    *[Choice(frozenset({0, 1, 2}), best) for best in (0, 0, 0, 1, 1, 2)],
    *[Choice(frozenset({0, 1}), best) for best in (1, 0)],
    *[Choice(frozenset({1, 2}), best) for best in (1, 1, 2, 1)],
]


def likelihood(logs: list[float]) -> float:
    """The logarithm of the likelihood, by its definition, with half a win and half a loss against strength 1."""
    chosen = sum(logs[one.best] - math.log(sum(math.exp(logs[i]) for i in one.stood)) for one in VOTED)
    return chosen + sum(0.5 * log - math.log(1 + math.exp(log)) for log in logs)


def test_strengths_stand_where_the_likelihood_is_highest_and_intervals_are_its_curvature() -> None:
    found = strengths(3, VOTED)
    logs, step = [math.log(one.value / (1 - one.value)) for one in found], 1e-3

    def moved(*steps: tuple[int, float]) -> float:
        return likelihood([log + sum(by for at, by in steps if at == i) for i, log in enumerate(logs)])

    for i in range(3):
        assert moved((i, step)) == pytest.approx(moved((i, -step)), abs=1e-7)
    h = [
        [
            (moved((i, step), (j, step)) - moved((i, step), (j, -step)) - moved((i, -step), (j, step))
             + moved((i, -step), (j, -step))) / (4 * step**2)
            for j in range(3)
        ]
        for i in range(3)
    ]  # fmt: skip
    minor = h[1][1] * h[2][2] - h[1][2] ** 2
    determinant = (
        h[0][0] * minor
        - h[0][1] * (h[0][1] * h[2][2] - h[1][2] * h[0][2])
        + h[0][2] * (h[0][1] * h[1][2] - h[1][1] * h[0][2])
    )
    width = math.sqrt(-minor / determinant)
    low, high = (1 / (1 + math.exp(-logs[0] - sign * 1.959964 * width)) for sign in (-1, 1))
    assert found[0] == pytest.approx((found[0].value, low, high), abs=1e-4)
    assert sum(one.value for one in found) == pytest.approx(1.5)


def test_who_never_won_has_a_finite_strength_and_more_votes_narrow_it() -> None:
    lost = [Choice(frozenset({0, 1}), 0)]
    few, many = strengths(2, lost * 5), strengths(2, lost * 50)
    assert 0 < few[1].value < 0.5 < few[0].value < 1
    assert many[1].value < few[1].value
    assert strengths(2, [])[0].value == 0.5


def test_two_are_compared_by_the_votes_in_which_one_of_them_was_best() -> None:
    assert head_to_head(VOTED, 0, 1) == (4, 3)
    assert head_to_head(VOTED, 2, 0) == (1, 3)


def test_several_tests_are_corrected_as_holm_did() -> None:
    assert corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert corrected([0.9, 0.8]) == [1.0, 1.0]
    assert corrected([0.04]) == [0.04]
