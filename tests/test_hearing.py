"""Questions with columns of every kind: each answers as it does alone, all is kept, and a replay gives the same."""

import functools
import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from adapters_store.comparison_tables import Comparison
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, Owner
from engine import adapter_files, checkpoint, merge, models
from engine.data.known_templates import KNOWN
from engine.methods import fit
from engine.position import Position, StepReport
from engine.settings import RunSettings
from jobs.ask import Answerer
from studio import comparing, comparison_files, hearing, kept_grid
from studio.asked import Own, Question, with_samples
from studio.contestants import Contestant, find
from tests.at_hand import AtHand
from tests.furnish import add_adapter
from tests.terminal import Terminal
from tests.workshop import add_base, add_rows, shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each")

SAMPLING: dict[str, Any] = {"seed": 5, "temperature": 0.9, "top_p": 0.95, "max_tokens": 8}
SETTINGS = RunSettings(rank=4, alpha=8)


@pytest.fixture(scope="module")
def at_hand() -> AtHand:
    return AtHand()


@pytest.fixture
def answerer(at_hand: AtHand) -> Answerer:
    at_hand.asked.clear()
    return cast(Answerer, at_hand)


@pytest.fixture
def base(store: Store) -> BaseModel:
    return add_base(store)


load = functools.cache(models.load)


@pytest.fixture(autouse=True)
def each_model_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading and checking the tiny models again and again would be most of the time."""
    monkeypatch.setattr(models, "load", lambda path, **_: load(path))


def trained(base: BaseModel, seed: int) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """A base with an adapter that does something on it, and what an adapter file would hold."""
    loaded = load(Path(str(base.path)))
    fitted = fit(loaded.model, SETTINGS)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in fitted.trained.values():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return loaded, fitted, fitted.tensors()


def adapter(store: Store, base: BaseModel, seed: int, name: str, template: str | None = None) -> Adapter:
    loaded, fitted, tensors = trained(base, seed)
    fitted.remove()
    with store.files.draft("adapters") as draft:
        adapter_files.write(
            draft.path, tensors, base_name="t", settings=SETTINGS, model=loaded.model, template=template
        )
        folder = draft.publish()
    made = add_adapter(store, base, name=name, sha256=f"sha256:{name}")
    store.files.discard("adapters", made.folder)
    store.files.path("adapters", folder).rename(store.files.path("adapters", made.folder))
    return made


def the_checkpoint(store: Store, base: BaseModel, seed: int) -> Contestant:
    """A checkpoint of step 3 of a run that still trains."""
    _, fitted, _ = trained(base, seed)
    position = Position(fitted, SETTINGS)
    position.moved(StepReport(3, 9, 1.0, None, 1e-4, 1.0, 10, None, 1.0))
    fitted.remove()
    run = {"settings": SETTINGS.model_dump(mode="json")}
    job = store.submit("train", "long", run["settings"], base_model_id=base.id, data_set_id=add_rows(store).id)
    with store.files.draft("checkpoints") as draft:
        checkpoint.write(draft.path, checkpoint.taken(position, kept={}, course={}, run=run, device="CPU"))
        folder = draft.publish()
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    found = find(store, f"checkpoint-{store.add_checkpoint(job.id, token, step=3, folder=folder).id}")
    assert found is not None
    return found


def merged(store: Store, base: BaseModel, of: Adapter, folder: Path) -> Contestant:
    read = adapter_files.read(store.adapter_path(of))
    folder.mkdir()
    merge.save_merged(load(Path(str(base.path))), read, folder)
    job = store.submit("export", "one, merged", {"adapter_id": of.id, "folder": str(folder)}, base_model_id=base.id)
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    for state in ("running", "finishing", "completed"):
        store.move(job.id, state, who="worker", token=token)
    found = find(store, f"merged-{job.id}")
    assert found is not None
    return found


def texts(kept: Comparison) -> list[str]:
    return [one.text for one in kept.answers]


def test_columns_of_every_kind_answer_as_they_do_alone_and_a_replay_gives_the_same(
    store: Store, base: BaseModel, answerer: Answerer, at_hand: AtHand, tmp_path: Path
) -> None:
    gpt2 = add_base(store, shared_tiny_model("gpt2"), name="gpt2")
    one = adapter(store, base, 1, "one")
    as_run = adapter(store, base, 2, "as-run")
    whole = merged(store, base, one, tmp_path / "merged")
    people = [
        Contestant(base, None),
        Contestant(gpt2, None),
        Contestant(base, one),
        Contestant(base, as_run),
        the_checkpoint(store, base, 2),
        whole,
    ]
    question = Question(people, "What is rain?", {**SAMPLING, "temperature": 0.0})
    kept = hearing.ask(store, answerer, question)
    assert [kind for kind, _ in at_hand.asked] == ["compare", "proof"] * 3  # each model is loaded once
    assert kept.how["batches"] == [[0, 2, 3, 4], [1], [5]]
    plain, other, first, run, at_step, on_its_own = kept.answers
    assert at_step.text == run.text != first.text
    assert at_step.weights == run.weights != first.weights
    assert on_its_own.text == first.text
    assert [one.divergence is None for one in kept.answers] == [True, True, False, False, False, True]
    assert len({plain.weights, other.weights, on_its_own.weights}) == 3
    assert ((other.seat or {})["base"], other.name, plain.name) == ("gpt2", "base: gpt2", "base: tiny")
    for place, text in enumerate(texts(kept)):
        alone = hearing.ask(store, answerer, replace(question, people=[people[place]]))
        assert alone.answers[0].text == text
    turned = hearing.ask(store, answerer, replace(question, people=people[::-1]))
    assert texts(turned) == texts(kept)[::-1]
    replayed = hearing.ask(store, answerer, comparing.again(store, kept))
    assert "all 6 answers exactly as before" in comparing.differences(kept, replayed)
    (tmp_path / "merged" / "config.json").unlink()
    with pytest.raises(comparing.StoreError, match=r"one, merged is no longer here.*folder"):
        comparing.again(store, kept)
    shown = kept_grid.of(store, kept)["columns"]
    assert shown[4]["what"].startswith("Checkpoint ")
    assert "no KL" in shown[5]["what"]


def test_the_proof_names_the_template_that_wrote_each_prompt(store: Store, base: BaseModel, answerer: Answerer) -> None:
    alpaca = KNOWN["alpaca"].text
    taught = Contestant(base, adapter(store, base, 2, "taught", alpaca))
    people = [Contestant(base, None), Contestant(base, adapter(store, base, 1, "one")), taught]
    kept = hearing.ask(store, answerer, Question(people, "What is rain?", SAMPLING))
    plain = load(Path(str(base.path))).tokenizer.chat_template
    own, other = (hashlib.sha256(text.encode()).hexdigest() for text in (plain, alpaca))
    assert kept.how["templates"] == {"0": own, "1": own, "2": other}
    shown = kept_grid.of(store, kept)["columns"]
    assert [one["how"].rpartition("template ")[2] for one in shown] == [own[:7], own[:7], other[:7]]
    alone = hearing.ask(store, answerer, Question([taught], "What is rain?", SAMPLING))
    assert (alone.how["template"], alone.answers[0].text) == (other, kept.answers[2].text)


def test_samples_and_columns_of_their_own_are_drawn_openly_and_replayed(
    store: Store, base: BaseModel, answerer: Answerer
) -> None:
    one = Contestant(base, adapter(store, base, 1, "one"))
    own = [Own(), Own("Be short.", {"temperature": 0.3})]
    question = with_samples(Question([Contestant(base, None), one], "What is rain?", SAMPLING, own=own), 2)
    kept = hearing.ask(store, answerer, question)
    assert [answer.name for answer in kept.answers][2:] == [
        f"one #{n}, own system prompt, temperature 0.3" for n in (1, 2)
    ]
    assert kept.how["batches"] == [[0, 1, 2, 3]]
    assert len(set(texts(kept))) == 4
    for place, answer in enumerate(kept.answers):
        alone = replace(question, people=[question.people[place]], own=[question.own[place]])
        assert hearing.ask(store, answerer, alone).answers[0].text == answer.text
    seeded = replace(question, people=[question.people[1]], own=[], sampling={**SAMPLING, "seed": 6})
    assert hearing.ask(store, answerer, seeded).answers[0].text == kept.answers[1].text
    assert texts(hearing.ask(store, answerer, comparing.again(store, kept))) == texts(kept)
    (record,) = [comparison_files.record(kept)]
    assert [answer["sampling"]["seed"] for answer in record["answers"]] == [5, 6, 5, 6]
    assert [answer["system"] for answer in record["answers"]] == ["", "", "Be short.", "Be short."]
    reseeded = comparing.otherwise(store, kept)
    assert reseeded.sampling["seed"] != 5
    assert [one.value for one in reseeded.people] == [one.value for one in question.people]
    assert reseeded.own == question.own


def test_a_conversation_goes_on_with_each_columns_own_answers_and_every_turn_is_replayed(
    store: Store, base: BaseModel, answerer: Answerer, at_hand: AtHand
) -> None:
    one = Contestant(base, adapter(store, base, 1, "one"))
    first = hearing.ask(store, answerer, Question([Contestant(base, None), one], "What is rain?", SAMPLING, "Be kind."))
    second = hearing.ask(store, answerer, comparing.onwards(store, first, "And snow?"))
    at_hand.asked.clear()
    third = hearing.ask(store, answerer, comparing.onwards(store, second, "And hail?"))
    assert (third.follows_id, third.conversation_id) == (second.id, first.id)
    for place, seat in enumerate(at_hand.asked[0][1]["seats"]):
        assert [message["content"] for message in seat["messages"]] == [
            "Be kind.",
            "What is rain?",
            first.answers[place].text,
            "And snow?",
            second.answers[place].text,
            "And hail?",
        ]
    for kept in (second, third):
        assert texts(hearing.ask(store, answerer, comparing.again(store, kept))) == texts(kept)
    shown = kept_grid.of(store, third)
    assert [turn["text"] for turn in shown["columns"][1]["earlier"]] == [
        first.answers[1].text,
        second.answers[1].text,
    ]
    assert (shown["turn"], comparison_files.record(third)["follows"]) == (3, second.id)


def test_a_blind_conversation_stays_blind_with_the_same_columns_until_the_vote(
    store: Store, base: BaseModel, answerer: Answerer
) -> None:
    one = Contestant(base, adapter(store, base, 1, "pirate"))
    asked = Question([Contestant(base, None), one], "What is rain?", SAMPLING, sides=3)
    first = hearing.ask(store, answerer, asked)
    second = hearing.ask(store, answerer, comparing.onwards(store, first, "And snow?"))
    assert (second.sides, second.is_secret) == (first.sides, True)
    assert "pirate" not in str(kept_grid.of(store, second))
    assert comparing.otherwise(store, second).sides == first.sides
    store.vote(second.id, "best", 1)
    first = store.comparison(first.id)
    assert not first.is_secret
    assert comparing.onwards(store, first, "And hail?").sides is None


@pytest.mark.usefixtures("answerer")
def test_the_command_asks_turns_samples_and_columns_of_their_own(
    store: Store, base: BaseModel, at_hand: AtHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter(store, base, 1, "one")
    monkeypatch.setattr("jobs.ask.Answerer", lambda log: at_hand)
    terminal = Terminal(store.files.root)
    words = "compare --prompt rain? --prompt snow? --contestant base:tiny --contestant one --samples 2 --max-tokens 6"
    first, second = terminal.json(*words.split(), "--column", "2:system=Be short.", "--stop", "zzz", "--seed", "9")
    assert [turn["prompt"] for turn in (first, second)] == ["rain?", "snow?"]
    assert (second["follows"], first["sampling"]["stop"]) == (first["id"], ["zzz"])
    assert [answer["sampling"]["seed"] for answer in second["answers"]] == [9, 10, 9, 10]
    assert [answer["system"] for answer in second["answers"]] == ["", "", "Be short.", "Be short."]
    replayed = terminal.run("comparisons", "replay", str(second["id"]))
    assert "all 4 answers exactly as before" in replayed.stderr
    refused = terminal.run("compare", "--prompt", "rain?", "--contestant", "one", "--column", "2:temperature=0")
    assert (refused.returncode, "there is no contestant 2" in refused.stderr) == (2, True)


def test_what_is_broken_off_is_kept_as_far_as_it_came_and_a_replay_does_not_differ_up_to_there(
    store: Store, base: BaseModel, answerer: Answerer
) -> None:
    people = [Contestant(base, None), Contestant(base, adapter(store, base, 1, "one"))]
    heard = hearing.Hearing(store, answerer, Question(people, "What is rain?", SAMPLING))
    with closing(heard.listen()) as tokens:
        for _ in range(5):
            next(tokens)
    kept = heard.keep()
    assert (kept.ended, [one.tokens for one in kept.answers]) == ("stopped", [4, 4])
    whole = hearing.ask(store, answerer, comparing.again(store, kept))
    assert whole.ended == "complete"
    assert all(now.text.startswith(then.text) for then, now in zip(kept.answers, whole.answers, strict=True))
    with pytest.raises(comparing.StoreError, match="broke off"):
        comparing.onwards(store, kept, "And snow?")
