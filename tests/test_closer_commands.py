"""A closer look from the command line: what differs, how likely a reference is, and what a judge says."""

import math
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel
from engine import likelihood, models
from studio import hearing
from studio.asked import Question
from studio.contestants import Contestant
from tests.at_hand import AtHand
from tests.terminal import Terminal
from tests.test_hearing import SAMPLING, adapter
from tests.workshop import add_base, shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each")

ASKED = [{"role": "user", "content": "What is rain?"}]


class Here(AtHand):
    """Stands for the answerer's process in commands."""

    def close(self) -> None:
        """Kept for the next command."""


@pytest.fixture
def terminal(store: Store, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    here = Here()
    monkeypatch.setattr("jobs.ask.Answerer", lambda log: here)
    return Terminal(store.files.root)


@pytest.fixture
def base(store: Store) -> BaseModel:
    base = add_base(store, source="starter")
    adapter(store, base, 1, "pirate")
    return base


def asked(store: Store, base: BaseModel, **more: Any) -> int:
    """A comparison of the base and its adapter."""
    people = [Contestant(base, None), Contestant(base, store.adapter(1))]
    answerer: Any = AtHand()
    return hearing.ask(store, answerer, Question(people, "What is rain?", SAMPLING, **more)).id


def test_a_reference_is_measured_as_each_was_asked_and_kept(terminal: Terminal, base: BaseModel, store: Store) -> None:
    who = ("--contestant", "base", "--contestant", "pirate", "--max-tokens", "4")
    kept = terminal.json("compare", "--prompt", "What is rain?", *who, "--reference", " Rain is water. ")
    loaded = models.load(shared_tiny_model())
    (plain,) = likelihood.reference_logprob(loaded, [None], ASKED, "Rain is water.")
    told = kept["reference"]
    assert told["text"] == "Rain is water."
    first, second = told["likelihoods"]
    assert (first["name"], first["tokens"]) == ("base", plain.tokens)
    assert first["logprob"] == pytest.approx(plain.logprob, rel=1e-5)
    assert first["perplexity"] == pytest.approx(math.exp(-plain.logprob / plain.tokens), rel=1e-5)
    assert second["logprob"] != first["logprob"]
    shown = terminal.run("comparisons", "show", str(kept["id"])).stdout
    assert "Reference answer  In all" in shown
    assert "is likeliest to give it" in shown
    refused = terminal.run("compare", "--prompt", "What is rain?", *who, "--reference", " ")
    assert (refused.returncode, "has 1 to 20,000 characters" in refused.stderr) == (1, True)


def test_what_differs_is_marked_without_colours(terminal: Terminal, base: BaseModel, store: Store) -> None:
    number = str(asked(store, base))
    shown = terminal.run("comparisons", "show", number, "--diff").stdout
    assert "[-" in shown
    assert "{+" in shown
    told = terminal.json("comparisons", "show", number, "--diff", "--between", "2,1")
    assert told["between"] == ["pirate", "base"]
    texts = [one.text for one in store.comparison(int(number)).answers]
    assert "".join(one["text"] for one in told["differences"] if one["kind"] != "gone") == texts[0]
    for wrong in ("1,1", "1,3", "0,1", "1", "a,b"):
        refused = terminal.run("comparisons", "show", number, "--diff", "--between", wrong)
        assert (refused.returncode, "two different columns from 1 to 2" in refused.stderr) == (2, True)


def test_a_judge_reads_all_it_has_not_read_and_says_how_far_it_can_be_trusted(
    terminal: Terminal, base: BaseModel, store: Store
) -> None:
    first, blind = asked(store, base), asked(store, base, sides=3)
    told = terminal.json("comparisons", "judge", "--judge", "pirate")
    assert [row["comparison"] for row in told["verdicts"]] == [first]
    assert (told["judge"], told["readings"], told["counted"]) == ("pirate", 2, 0)
    refused = terminal.run("comparisons", "judge", str(blind), "--judge", "base")
    assert (refused.returncode, "waits for its vote" in refused.stderr) == (2, True)
    store.vote(blind, "best", 1)
    again = terminal.json("comparisons", "judge", "--judge", "pirate")
    assert [row["comparison"] for row in again["verdicts"]] == [blind]
    assert (again["readings"], again["compared"]) == (4, 1)
    assert again["sentences"][0].startswith("pirate has judged 2 pairs, each both ways round.")
    shown = terminal.run("comparisons", "judge", str(first), "--judge", "base")
    assert shown.stdout.splitlines()[0].split() == ["Comparison", "Pair", "Better"]
    assert "base has judged 1 pair" in shown.stdout


def test_a_library_without_comparisons_has_nothing_to_judge(terminal: Terminal, base: BaseModel) -> None:
    refused = terminal.run("comparisons", "judge", "--judge", "base")
    assert (refused.returncode, "no comparison with two different answers" in refused.stderr) == (2, True)
