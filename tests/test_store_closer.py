"""What a closer look finds is kept by comparison, and read back beside the votes of people."""

import pytest

from adapters_store.comparison_tables import Comparison
from adapters_store.store import NotFound, Store
from adapters_store.tables import BaseModel, DataSet
from tests.test_store_comparisons import keep

Furnished = tuple[BaseModel, DataSet]
PIECES = [["Arr", -0.1, -4.0], [", wet", -0.5, -0.25]]


def read_by(store: Store, kept: Comparison, judge: str, forward: float, backward: float) -> None:
    one, other = kept.answers
    pair = {"comparison_id": kept.id, "one_id": one.id, "other_id": other.id}
    store.judge([{**pair, "judge": judge, "name": judge, "forward": forward, "backward": backward}])


def test_pieces_are_kept_by_place_and_replaced(store: Store, furnished: Furnished) -> None:
    kept = keep(store, furnished[0])
    assert store.along(kept.id) == {}
    store.keep_along(kept.id, [None, PIECES[:1]])
    store.keep_along(kept.id, [None, PIECES])
    assert store.along(kept.id) == {1: PIECES}
    with pytest.raises(NotFound):
        store.keep_along(99, [])


def test_a_reference_is_kept_with_its_comparison(store: Store, furnished: Furnished) -> None:
    kept = keep(store, furnished[0])
    assert kept.reference is None
    before = store.changed()["comparisons"]
    told = {"text": "Rain is water.", "logprobs": [-3.5, -2.0], "tokens": [4, 4]}
    assert store.refer(kept.id, told).reference == told == store.comparison(kept.id).reference
    assert store.changed()["comparisons"] > before


def test_a_judge_reads_a_pair_once_and_stands_beside_the_vote(store: Store, furnished: Furnished) -> None:
    kept, other = keep(store, furnished[0]), keep(store, furnished[0])
    read_by(store, kept, "sha256:judge", 1.0, 2.0)
    read_by(store, kept, "sha256:judge", 3.0, -2.0)
    read_by(store, other, "sha256:judge", 1.0, -1.0)
    read_by(store, kept, "sha256:another", 1.0, -1.0)
    store.vote(kept.id, "best", 1)
    first, second = store.verdicts(judge="sha256:judge")
    assert (first.verdict.forward, first.verdict.backward, first.best_id) == (3.0, -2.0, kept.answers[1].id)
    assert (second.verdict.comparison_id, second.best_id) == (other.id, None)
    assert [one.verdict.judge for one in store.verdicts(comparison_id=kept.id)] == ["sha256:judge", "sha256:another"]
