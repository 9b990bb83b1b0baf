"""Which rows of a mixture come in which epoch: counted over all epochs, row by row."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.data.mixture import Part, an_epoch, rows_of_epoch

parts = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([0.001, 0.1, 0.5, 1.0, 1.3, 2.0, 3.7])), min_size=1, max_size=4
)
seeds = st.integers(0, 2**31 - 1)


def mixed(given_parts: list[tuple[int, float]]) -> list[Part]:
    return [Part(rows, an_epoch(rows, weight)) for rows, weight in given_parts]


@given(parts, seeds, st.integers(1, 6))
def test_each_set_gives_as_many_rows_as_its_weight_says_and_its_rows_take_turns(
    given_parts: list[tuple[int, float]], seed: int, epochs: int
) -> None:
    seen: Counter[int] = Counter()
    for epoch in range(epochs):
        rows = rows_of_epoch(mixed(given_parts), seed, epoch)
        assert list(rows) == list(rows_of_epoch(mixed(given_parts), seed, epoch))
        seen.update(rows)
        first = 0
        for count, weight in given_parts:
            own = sum(first <= row < first + count for row in rows)
            assert own == (max(1, int(count * weight + 0.5)) if count else 0)
            times = [seen[row] for row in range(first, first + count)]
            assert max(times, default=0) - min(times, default=0) <= 1
            first += count
    assert set(seen) <= set(range(sum(count for count, _ in given_parts)))


def test_a_set_of_weight_one_is_all_of_its_rows_in_their_order_in_every_epoch() -> None:
    assert rows_of_epoch(mixed([(5, 1.0), (3, 1.0)]), 7, 4) == range(8)
    assert list(rows_of_epoch(mixed([(5, 1.0), (3, 2.0)]), 7, 4)) == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7]


def test_another_seed_takes_other_halves() -> None:
    half = mixed([(40, 0.5)])
    assert rows_of_epoch(half, 0, 0) != rows_of_epoch(half, 1, 0)
    assert sorted([*rows_of_epoch(half, 0, 0), *rows_of_epoch(half, 0, 1)]) == list(range(40))
