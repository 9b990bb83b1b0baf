"""Rows kept as tokens in a file: what goes in comes out, and what is held of it in memory is small."""

import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine.data.render import Marked
from engine.data.tokens import store

numbers = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), max_size=12)


def _marked(row: list[tuple[int, bool]]) -> Marked:
    return Marked([token for token, _ in row], bytes(mark for _, mark in row), len(row) + 3)


@given(st.lists(numbers, max_size=8))
def test_rows_come_out_as_they_went_in(given_rows: list[list[tuple[int, bool]]]) -> None:
    rows = [_marked(row) for row in given_rows]
    kept, examples = store(rows), [row.example() for row in rows]
    assert list(kept) == examples
    assert kept.lengths.tolist() == [len(example.ids) for example in examples]
    assert kept.answers.tolist() == [example.answer_tokens for example in examples]
    backwards = list(range(len(examples)))[::-1]
    assert list(kept.part(backwards)) == examples[::-1]
    assert list(kept[1:]) == examples[1:]
    same = [[one.ids == other.ids for other in examples] for one in examples]
    assert [[one == other for other in kept.marks] for one in kept.marks] == same


def test_many_rows_take_no_memory_for_their_tokens_and_leave_no_file(tmp_path: Path) -> None:
    row = Marked(list(range(300, 400)), bytes(50) + b"\1" * 50, 100)
    tracemalloc.start()
    kept = store((row for _ in range(20_000)), tmp_path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 20_000
    assert held < 20_000 * 100  # bytes: less than one for each token
    assert not list(tmp_path.iterdir())
