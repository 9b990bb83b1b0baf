"""The line between rows that are learned and rows that are measured on, against brute force over every pair."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from engine.data.split import MOST_VALIDATION_ROWS, Split, allotted, aside, split

seeds = st.integers(0, 2**31 - 1)
shares = st.floats(0.02, 0.5)
pairs = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=60)


def related(links: Sequence[tuple[int, int]]) -> Callable[[Sequence[int]], list[list[int] | None]]:
    """Rows that are alike as these pairs say."""

    def like(rows: Sequence[int]) -> list[list[int] | None]:
        return [[*(b for a, b in links if a == row), *(a for a, b in links if b == row)] for row in rows]

    return like


def crossing(line: Split, links: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in links if (a in line.train) != (b in line.train)]


@given(st.integers(2, 60), shares, seeds, pairs)
def test_rows_that_are_alike_are_on_one_side_or_it_is_said_that_they_are_not(
    count: int, share: float, seed: int, links: list[tuple[int, int]]
) -> None:
    links = [(a, b) for a, b in links if a < count and b < count]
    line = split(range(count), share, seed, like=related(links))
    assert sorted(line.train + line.validation) == list(range(count))
    assert line.train
    assert line.validation
    assert line.across or not crossing(line, links)
    free = set(range(count)) - {row for link in links for row in link}
    assert not line.across or not free, "a row that is like no other can be measured on"
    plain = split(range(count), share, seed)
    assert line.regrouped == (line.validation != plain.validation)


def in_turn(*sizes: int) -> list[int]:
    """The source of each row, where sources of these sizes stand one after another."""
    return [source for source, size in enumerate(sizes) for _ in range(size)]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=120), shares, seeds, st.booleans())
def test_each_source_gives_the_rows_it_gives_by_itself(sources: list[int], share: float, seed: int, turn: bool) -> None:
    sources = sorted(sources) if turn else sources
    line = split(range(len(sources)), share, seed, sources)
    small, together = [], 0
    for source in set(sources):
        places = [row for row, its in enumerate(sources) if its == source]
        own = [places.index(row) for row in line.validation if row in places]
        if len(places) * share >= 1:
            assert own == split(range(len(places)), share, seed).validation
        else:
            small += own
            together += len(places)
    assert len(small) == aside(together, share)


@example([0, 0, 0, 1], 0.5, 0, None)
@given(st.lists(st.integers(0, 12), min_size=4, max_size=60), shares, seeds, st.data())
def test_copies_stay_together_across_sources(
    marks: list[int], share: float, seed: int, data: st.DataObject | None
) -> None:
    cut = data.draw(st.integers(0, len(marks))) if data else 1
    line = split(marks, share, seed, in_turn(cut, len(marks) - cut), related([]))
    assert not {marks[row] for row in line.train} & {marks[row] for row in line.validation}
    assert (len(line.validation) > 0) == (len(set(marks)) > 1)


def test_where_no_row_is_like_another_the_line_is_where_it_always_was() -> None:
    line = split(range(40), 0.1, 0, in_turn(40), related([]))
    assert line == Split(line.train, sorted(random.Random("split 0").sample(range(40), 4)), False, False)


def test_weights_of_sources_are_kept_when_all_together_are_too_many() -> None:
    line = split(range(40_000), 0.1, 0, in_turn(30_000, 9_990, 10))
    measured = [sum(low <= row < high for row in line.validation) for low, high in ((0, 30_000), (30_000, 39_990))]
    assert len(line.validation) == MOST_VALIDATION_ROWS
    assert measured == [250, 249], "either would have given 500, and the third gives its one"
    assert set(line.validation[:250]) <= set(split(range(30_000), 0.1, 0).validation), "and learns no row of them alone"


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 500))
def test_what_is_allotted_is_whole_in_proportion_and_leaves_nobody_out(wanted: list[int], most: int) -> None:
    given_out = allotted(wanted, most)
    assert sum(given_out) == min(sum(wanted), most)
    assert all(got <= asked for got, asked in zip(given_out, wanted, strict=True))
    if sum(1 for asked in wanted if asked) <= most:
        assert all(got >= 1 for got, asked in zip(given_out, wanted, strict=True) if asked)


def test_a_crowd_of_like_rows_is_learned_and_others_are_measured_on() -> None:
    def like(rows: Sequence[int]) -> list[Any]:
        return [None if row < 900 else [] for row in rows]

    line = split(range(1000), 0.05, 3, like=like)
    assert min(line.validation) >= 900
    assert len(line.validation) > 10
    assert split(range(1000), 0.05, 3, like=lambda rows: [None] * len(rows)).across


def test_a_few_rows_that_are_all_alike_in_threes_are_kept_aside_by_three() -> None:
    links = [(row, row + 8) for row in range(16)]
    line = split(range(24), 0.1, 0, like=related(links))
    assert crossing(line, links) == []
    assert len(line.validation) == 3
