"""Near copies among rows of tokens, against the comparison of every pair of rows."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import near
from engine.data.near import NearRows
from engine.data.render import Marked
from engine.data.tokens import TokenRows, store

Rows = list[list[int]]
texts = st.lists(st.integers(1, 6), max_size=14)


@st.composite
def rows_with_near_copies(draw: st.DrawFn) -> Rows:
    rows = draw(st.lists(texts, min_size=1, max_size=12))
    for _ in range(draw(st.integers(0, 8))):
        copy = list(draw(st.sampled_from(rows)))
        if copy:
            copy[draw(st.integers(0, len(copy) - 1))] = draw(st.integers(1, 6))
        rows.append(copy)
    return rows


def kept(rows: Rows) -> TokenRows:
    return store(Marked(row, b"\1" * len(row), len(row)) for row in rows)


def by_hand(rows: Rows, sizes: list[int]) -> list[list[int]]:
    """Every row against every other, in fractions."""
    pairs = [set(pairwise(row)) for row in rows]
    common, first = set(), 0
    for size in sizes:
        if size >= 10:
            counts = Counter(pair for own in pairs[first : first + size] for pair in own)
            common |= {pair for pair, count in counts.items() if count >= 0.9 * size}
        first += size
    pairs = [own - common for own in pairs]

    def alike(a: set[tuple[int, int]], b: set[tuple[int, int]]) -> bool:
        return bool(a & b) and Fraction(len(a & b), len(a | b)) >= Fraction(4, 5)

    return [
        [other for other, theirs in enumerate(pairs) if other != row and alike(own, theirs)]
        for row, own in enumerate(pairs)
    ]


@given(rows_with_near_copies(), st.data())
def test_near_rows_are_those_of_comparing_every_pair(rows: Rows, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    joined = TokenRows.joined([kept(rows[:cut]), kept(rows[cut:])])
    found = NearRows(joined, [cut, len(rows) - cut]).of(range(len(rows)))
    assert found == by_hand(rows, [cut, len(rows) - cut])


@given(rows_with_near_copies(), st.data())
def test_of_some_rows_only_those_are_compared(rows: Rows, data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True, min_size=1))
    found = NearRows(kept(rows).part(some), [len(some)]).of(range(len(some)))
    assert found == by_hand([rows[row] for row in some], [len(some)])


def test_what_a_whole_set_has_in_common_makes_no_two_rows_alike() -> None:
    system = list(range(100, 250))
    rows = [[*system, *range(1000 * n, 1000 * n + 12)] for n in range(1, 21)]
    assert NearRows(kept(rows), [20]).of(range(20)) == [[]] * 20
    assert NearRows(kept(rows[:5]), [5]).of([0]) == [[1, 2, 3, 4]], "of so few it cannot be told"


def test_rows_are_found_wherever_they_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(near, "AT_ONCE", 50)
    rows = [list(range(100 * n, 100 * n + 9 + n % 7)) for n in range(1, 60)]
    rows[57] = [*rows[3][:-1], 7]
    assert NearRows(kept(rows), [59]).of([3, 4]) == [[57], []]


def test_a_row_with_a_crowd_of_like_ones_is_told_from_one_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "CROWD", 5)
    rows = [[*range(50), 60 + n] for n in range(8)] + [list(range(200 + 30 * n, 230 + 30 * n)) for n in range(20)]
    assert NearRows(kept(rows), [28]).of([0, 9]) == [None, []]
