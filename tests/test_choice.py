"""The odds of two letters are those of the next token, by the model itself."""

import pytest
import torch

from engine import choice
from engine.data.render import prompt_ids
from engine.methods.attach import attached
from engine.models import LoadedBase, load
from tests.test_proof import PROMPT, adapter
from tests.workshop import shared_tiny_model


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load(shared_tiny_model())


def test_odds_are_the_difference_of_the_log_probabilities_of_the_first_token(base: LoadedBase) -> None:
    who = adapter(base, 0.3)
    a, b = (base.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "AB")
    told = choice.odds(base, [None, who], [PROMPT, PROMPT])
    for one, odds in zip((None, who), told, strict=True):
        with attached(base.model, [one]), torch.no_grad():
            chances = base.model(torch.tensor([prompt_ids(base.tokenizer, PROMPT)])).logits[0, -1].double().softmax(0)
        assert odds == pytest.approx(float((chances[a] / chances[b]).log()), rel=1e-3, abs=1e-5)
    assert told[0] != told[1]


def test_what_letters_have_in_common_stands_before_them() -> None:
    def tokenizer(letter: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [9, ord(letter)]}

    assert choice._marks(tokenizer) == choice.Marks([9], ord("A"), ord("B"))
    with pytest.raises(ValueError, match="does not tell A from B"):
        choice._marks(lambda letter, add_special_tokens: {"input_ids": [3]})


def test_a_pair_that_does_not_fit_is_refused_and_a_judge_can_be_stopped(base: LoadedBase) -> None:
    long = [{"role": "user", "content": "word " * 400}]
    with pytest.raises(ValueError, match=r"Both answers in one prompt are \d+ tokens; this base model takes 256"):
        choice.odds(base, [None], [long])
    assert choice.odds(base, [None], [PROMPT], lambda: True) == []
