"""Means of scores and differences between contestants: against all resamples, normal theory and counting."""

import itertools
import math

import numpy as np
import pytest

from engine.suites import means
from engine.votes import wilson


def test_the_interval_is_that_of_all_resamples_there_are() -> None:
    values = [0.1, 0.2, 0.4, 0.4, 0.9]
    every = [sum(drawn) / 5 for drawn in itertools.product(values, repeat=5)]
    told = means.mean(values)
    assert (told.value, told.prompts) == (pytest.approx(0.4), 5)
    assert told.low == pytest.approx(np.quantile(every, 0.025), abs=0.021)
    assert told.high == pytest.approx(np.quantile(every, 0.975), abs=0.021)


def test_of_many_values_the_interval_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(3).beta(2, 5, 400)
    told = means.mean(values.tolist())
    half = 1.96 * values.std() / math.sqrt(400)
    assert told.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert told.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_scores_of_right_or_wrong_have_the_interval_of_a_share() -> None:
    assert means.mean([1.0, 0.0, 1.0, None, 1.0]) == (*wilson(3, 4), 4)


def test_few_values_tell_no_interval_and_none_no_mean() -> None:
    assert means.mean([0.5, 0.25]) == (0.375, None, None, 2)
    assert math.isnan(means.mean([None]).value)
    assert math.isnan(means.perplexity([None], [0]).value)


def test_perplexity_weighs_every_token_alike_and_its_interval_is_of_the_ratio() -> None:
    logprobs, tokens = [-2.0, -30.0, -4.0, -9.0, -1.0, None], [2, 10, 4, 3, 2, 0]
    told = means.perplexity(logprobs, tokens)
    assert told.value == pytest.approx(math.exp(46 / 21))
    assert told.prompts == 5
    losses = list(zip([-value for value in logprobs if value is not None], tokens, strict=False))
    every = [
        math.exp(sum(loss for loss, _ in drawn) / sum(count for _, count in drawn))
        for drawn in itertools.product(losses, repeat=5)
    ]
    assert told.low == pytest.approx(np.quantile(every, 0.025), rel=0.05)
    assert told.high == pytest.approx(np.quantile(every, 0.975), rel=0.05)


def test_two_contestants_are_compared_on_the_prompts_that_both_answered() -> None:
    ones, others = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    (told,) = means.differences([ones, others])
    assert (told.first, told.other, told.higher, told.lower) == (0, 1, 5, 0)
    assert told.value == pytest.approx(5 / 6)
    assert told.p == pytest.approx(2 * 0.5**5)  # all five the same way, or all the other


def test_a_difference_is_surer_than_its_two_means_where_prompts_differ_more_than_contestants() -> None:
    hard = np.random.default_rng(1).uniform(0, 1, 60)
    ones, others = (hard * 0.9 + 0.05).tolist(), (hard * 0.9).tolist()
    (told,) = means.differences([ones, others])
    assert told.low is not None
    assert told.low > 0.04
    (one, other) = means.mean(ones), means.mean(others)
    assert one.low is not None
    assert other.high is not None
    assert one.low < other.high


def test_with_three_contestants_p_is_corrected_for_three_pairs() -> None:
    ones, others = [1.0] * 8, [0.0] * 8
    told = means.differences([ones, others, others])
    assert [(one.first, one.other) for one in told] == [(0, 1), (0, 2), (1, 2)]
    assert [one.p for one in told] == pytest.approx([3 * 2 * 0.5**8, 3 * 2 * 0.5**8, 1.0])
