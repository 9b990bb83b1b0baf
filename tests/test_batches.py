"""Splits, order and padding: properties that hold for every size and seed."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.data.batches import collate, epoch_batches
from engine.data.render import IGNORED, Example
from engine.data.split import MOST_VALIDATION_ROWS, split

counts = st.integers(1, 400)
seeds = st.integers(0, 2**31 - 1)


@given(counts, st.floats(0, 0.5), seeds)
def test_a_split_uses_every_row_once_and_leaves_one_to_train_on(count: int, share: float, seed: int) -> None:
    train, validation, *_ = split(range(count), share, seed)
    assert sorted(train + validation) == list(range(count))
    assert train
    assert (len(validation) > 0) == (share > 0 and count > 1)
    assert (train, validation) == split(range(count), share, seed)[:2]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.floats(0, 0.5), seeds)
def test_rows_that_are_the_same_stay_on_one_side(marks: list[int], share: float, seed: int) -> None:
    train, validation, *_ = split(marks, share, seed)
    assert sorted(train + validation) == list(range(len(marks)))
    assert not {marks[row] for row in train} & {marks[row] for row in validation}
    assert (len(validation) > 0) == (share > 0 and len(set(marks)) > 1)


def test_without_copies_the_split_is_that_of_the_row_numbers_as_it_always_was() -> None:
    assert split(range(40), 0.1, 0)[1] == sorted(random.Random("split 0").sample(range(40), 4))


def test_rows_copied_often_are_learned_rather_than_measured() -> None:
    marks = [7] * 60 + list(range(100, 140))
    assert all(7 not in [marks[row] for row in split(marks, 0.1, seed)[1]] for seed in range(50))


def test_validation_stays_small_on_large_sets() -> None:
    assert len(split(range(100_000), 0.1, 0)[1]) == MOST_VALIDATION_ROWS


def test_another_seed_splits_and_orders_otherwise() -> None:
    assert split(range(100), 0.1, 0) != split(range(100), 0.1, 1)
    assert epoch_batches([9] * 50, 4, 0, 0) != epoch_batches([9] * 50, 4, 1, 0)
    assert epoch_batches([9] * 50, 4, 0, 0) != epoch_batches([9] * 50, 4, 0, 1)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.integers(1, 40), seeds)
def test_an_epoch_shows_every_row_once_in_full_batches_but_one(lengths: list[int], size: int, seed: int) -> None:
    batches = epoch_batches(lengths, size, seed, 0)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert sum(len(batch) != size for batch in batches) <= 1


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = [10, 200] * 64
    padded = sum(len(b) * max(lengths[i] for i in b) for b in epoch_batches(lengths, 8, 0, 0))
    assert padded < 1.15 * sum(lengths)


def test_padding_stands_on_the_right_and_carries_no_label() -> None:
    ids, labels = collate([Example([5, 6, 7], [IGNORED, 6, 7], 3), Example([8], [8], 1)], pad=1)
    assert torch.equal(ids, torch.tensor([[5, 6, 7], [8, 1, 1]]))
    assert torch.equal(labels, torch.tensor([[IGNORED, 6, 7], [8, IGNORED, IGNORED]]))
