"""How likely a reference is: against one token after another by the model itself, and against the loss of training."""

from pathlib import Path

import pytest
import torch

from engine import likelihood
from engine.adapter import AdapterOnDisk
from engine.data.render import prompt_ids
from engine.generate import score
from engine.likelihood import reference_logprob, token_logprobs
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.lora import LowRank
from engine.models import LoadedBase, load
from engine.settings import RunSettings
from tests.workshop import shared_tiny_model

PROMPT = [{"role": "user", "content": "Question 3: what is rain?"}]
REFERENCE = "Arr, rain be a fine thing, matey!"


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load(shared_tiny_model())


@pytest.fixture(scope="module")
def adapter(base: LoadedBase) -> AdapterOnDisk:
    """A rank-4 adapter on every q_proj that changes what the model says."""
    generator = torch.Generator().manual_seed(1)
    fitted = fit(base.model, RunSettings(rank=4, target_modules=["q_proj"]))
    updates = {}
    for path, layer in fitted.model.named_modules():
        if hasattr(layer, "lora_A"):
            b = 0.3 * torch.randn(layer.lora_B.shape, generator=generator)
            updates[path] = LowRank(layer.lora_A.detach().clone(), b, 2.0)
    fitted.remove()
    return AdapterOnDisk(Path(), "lora", updates)


def test_each_token_is_as_likely_as_the_model_says_after_all_before_it(
    base: LoadedBase, adapter: AdapterOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "AT_ONCE", 7)
    prompt = prompt_ids(base.tokenizer, PROMPT)
    answer = base.tokenizer(REFERENCE, add_special_tokens=False)["input_ids"]
    told = token_logprobs(base, [None, adapter], [*prompt, *answer], len(prompt))
    for who, each in zip((None, adapter), told, strict=True):
        with attached(base.model, [who]), torch.no_grad():
            for place, token in enumerate(answer):
                last = base.model(torch.tensor([[*prompt, *answer[:place]]])).logits[0, -1].double()
                assert each[place] == pytest.approx(float(last.log_softmax(0)[token]), rel=1e-4, abs=1e-5)
    assert told[0] != told[1]
    assert len(told[0]) == len(answer) > likelihood.AT_ONCE


def test_a_reference_weighs_what_a_run_with_this_row_would_learn(base: LoadedBase, adapter: AdapterOnDisk) -> None:
    row = {"messages": [*PROMPT, {"role": "assistant", "content": REFERENCE}]}
    losses = score(base, [None, adapter], [row])
    found = reference_logprob(base, [None, adapter], PROMPT, REFERENCE)
    assert [-one.logprob / one.tokens for one in found] == pytest.approx(losses, rel=1e-4)


def test_of_several_turns_only_the_reference_counts(base: LoadedBase) -> None:
    turns = [*PROMPT, {"role": "assistant", "content": "Arr!"}, {"role": "user", "content": "More?"}]
    (found,) = reference_logprob(base, [None], turns, "No.")
    answer = base.tokenizer("No.<|im_end|>", add_special_tokens=False)["input_ids"]
    ids = [*prompt_ids(base.tokenizer, turns), *answer]
    assert found == pytest.approx((sum(token_logprobs(base, [None], ids, len(ids) - len(answer))[0]), len(answer)))


def test_a_reference_longer_than_the_model_is_refused_with_its_length(base: LoadedBase) -> None:
    with pytest.raises(ValueError, match=r"With its reference it has \d+ tokens; this base model takes 256"):
        reference_logprob(base, [None], PROMPT, "word " * 400)
