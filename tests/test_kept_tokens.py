"""Tokens kept between runs: made once for what they follow from, made anew when damaged, bounded, and swept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from engine.data.check import read_rows
from engine.data.render import Marked, encode_all
from engine.models import load_tokenizer
from jobs import kept_tokens, training
from jobs.ending import Ending
from jobs.kept_tokens import KeptTokens
from jobs.worker import do
from tests.workshop import add_base, add_rows, shared_tiny_model, submit_run

HOW = {"length": 64, "loss_on": "answers"}


class Making:
    """Makes the tokens of a data set, and counts how often it is asked."""

    def __init__(self, store: Store, count: int = 24) -> None:
        self.data, self.tokenizer, self.times = add_rows(store, count), load_tokenizer(shared_tiny_model()), 0
        self._rows = read_rows(store.rows_path(self.data))

    def __call__(self) -> Iterator[Marked]:
        self.times += 1
        return encode_all(self.tokenizer, self._rows, 64)

    def asked(self, kept: KeptTokens, **how: Any) -> list[Any]:
        return list(kept.rows(self.data, self.tokenizer, {**HOW, **how}, self))


def folders(store: Store) -> list[Path]:
    return sorted((store.files.root / "cache" / "tokens").iterdir())


def test_the_same_rows_are_tokenised_once_and_anything_else_anew(store: Store) -> None:
    make = Making(store)
    first = make.asked(KeptTokens(store))
    assert make.asked(KeptTokens(store)) == first == [row.example() for row in make()]
    make.times = 0
    make.asked(KeptTokens(store), loss_on="last")
    make.tokenizer.chat_template += "{# anew #}"
    make.asked(KeptTokens(store))
    make.tokenizer.add_tokens(["matey"])
    make.asked(KeptTokens(store))
    assert make.times == 3
    assert not any(store.files.temporary.iterdir())


@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_damaged_tokens_are_made_anew(store: Store, damage: str) -> None:
    make = Making(store)
    first = make.asked(KeptTokens(store))
    (folder,) = folders(store)
    file = folder / "ids.bin"
    content = bytearray(file.read_bytes())
    content[9] ^= 1
    if damage == "lose":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[:-4])
    assert make.asked(KeptTokens(store)) == first
    assert make.times == 2


def test_what_was_asked_for_longest_ago_goes_first_and_what_belongs_to_no_data_set_goes(store: Store) -> None:
    make = Making(store)
    kept = KeptTokens(store)
    make.asked(kept)
    (folder,) = folders(store)
    size = sum(file.stat().st_size for file in folder.iterdir())
    small = KeptTokens(store, most_bytes=3 * size)
    for loss_on in ("last", "all"):
        make.asked(small, loss_on=loss_on)
    make.asked(small)
    make.asked(small, length=63)
    make.times = 0
    make.asked(small)
    assert make.times == 0, "asked for a moment ago, so it stays"
    make.asked(small, loss_on="last")
    assert make.times == 1, "the longest unasked went"
    store.delete_data_set(make.data.id)
    kept.tidy()
    assert folders(store) == []


def test_a_disk_without_room_keeps_nothing_and_ends_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Making(store)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_tokens.manifest, "seal", full)
    assert make.asked(KeptTokens(store)) == [row.example() for row in make()]
    assert not any(store.files.temporary.iterdir())


def test_a_template_that_writes_the_date_is_not_kept(store: Store) -> None:
    make = Making(store)
    make.tokenizer.chat_template += "{# strftime_now #}"
    make.asked(KeptTokens(store))
    make.asked(KeptTokens(store))
    assert make.times == 2


@pytest.mark.usefixtures("one_thread_each")
def test_a_second_run_starts_without_tokenising(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    base, times = add_base(store), []

    def noted(*given: Any) -> Iterator[Marked]:
        times.append(given[2:])
        return encode_all(*given)

    monkeypatch.setattr(training, "encode_all", noted)
    for settings in ({}, {"learning_rate": 1e-3}, {"loss_on": "all"}):
        job = submit_run(store, base, epochs=1, **settings)
        do(store, job.id, Ending())
        assert store.job(job.id).state == "completed"
    assert [loss_on for _, loss_on in times] == ["answers", "all"]
    losses = {adapter.settings["loss_on"]: adapter.training_loss for adapter in store.adapters(limit=10)[0]}
    assert losses["answers"] != losses["all"]
