"""Reading an answer again: distances from the base by the definition, and tokens as likely as the model says."""

import pytest
import torch
from torch.nn import functional as F

from engine.along import _pieces, along
from engine.data.render import prompt_ids
from engine.generate import compare
from engine.likelihood import AT_ONCE
from engine.methods.attach import attached
from engine.models import LoadedBase, load
from tests.test_proof import PROMPT, adapter
from tests.tiny import tiny_tokenizer
from tests.workshop import shared_tiny_model


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load(shared_tiny_model())


def test_distance_and_likelihoods_are_those_of_every_next_token_along_the_own_answer(base: LoadedBase) -> None:
    who = adapter(base, 0.3)
    *_, last = compare(base, [None, who], PROMPT, max_tokens=40, temperature=1.0, seed=5)
    assert len(last.ids[1]) == last.tokens[1] > AT_ONCE
    untouched, read = along(base, [None, who], [PROMPT] * 2, last.ids)
    assert untouched is None
    assert read is not None
    prompt, each, ours, theirs = prompt_ids(base.tokenizer, PROMPT), list[float](), list[float](), list[float]()
    for place in range(len(last.ids[1]) + 1):
        ids = torch.tensor([[*prompt, *last.ids[1][:place]]])
        with torch.no_grad():
            q = base.model(ids).logits[0, -1].double().log_softmax(0)
            with attached(base.model, [who]):
                p = base.model(ids).logits[0, -1].double().log_softmax(0)
        each.append(float(F.kl_div(q, p, reduction="sum", log_target=True)))
        for known, chances in ((ours, p), (theirs, q)):
            known += [float(chances[token]) for token in last.ids[1][place : place + 1]]
    assert read.divergence == pytest.approx(sum(each) / len(each), rel=1e-4)
    assert read.divergence > 0.001
    assert sum(piece.logprob for piece in read.pieces) == pytest.approx(sum(ours), rel=1e-4)
    assert sum(piece.base_logprob for piece in read.pieces) == pytest.approx(sum(theirs), rel=1e-4)
    assert "".join(piece.text for piece in read.pieces) == last.texts[1]


def test_an_adapter_without_effect_has_moved_nothing_and_made_nothing_likelier(base: LoadedBase) -> None:
    (read,) = along(base, [adapter(base, 0.0)], [PROMPT], [[35, 36]])
    assert read is not None
    assert read.divergence == 0.0
    assert [piece.logprob for piece in read.pieces] == [piece.base_logprob for piece in read.pieces]


def test_it_stops_between_two_readings(base: LoadedBase) -> None:
    asked = iter([False, True])
    assert along(base, [adapter(base, 0.3)], [PROMPT], [[5]], lambda: next(asked)) == [None]


def test_a_character_of_several_tokens_is_one_piece_with_the_likelihoods_of_all() -> None:
    tokenizer = tiny_tokenizer()
    text = "Rain 🌧 is 水!"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > len(text)
    pieces = list(_pieces(tokenizer, ids, [-1.0] * len(ids), [-2.0] * len(ids)))
    assert "".join(piece.text for piece in pieces) == text
    assert {"🌧", "水"} <= {piece.text.strip() for piece in pieces}
    assert (sum(piece.logprob for piece in pieces), sum(piece.base_logprob for piece in pieces)) == (
        -len(ids),
        -2 * len(ids),
    )
