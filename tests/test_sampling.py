"""Drawing tokens: as likely as they are, only from the likeliest, and the same with or without a full sort."""

import pytest
import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

from engine import sampling
from engine.sampling import Narrowing, narrowed, sample


def _draws(logits: Tensor, temperature: float, top_p: float) -> list[int]:
    draw = torch.Generator().manual_seed(5)
    return [sample(logits, temperature, top_p, draw) for _ in range(60)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_p", [0.1, 0.7, 0.95, 1.0])
def test_ordering_the_first_few_tokens_draws_what_ordering_all_does(
    temperature: float, top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = 3 * torch.randn(500, generator=torch.Generator().manual_seed(1))
    few = {}
    for first in (1, 8, 64, 500, 5000):
        monkeypatch.setattr(sampling, "FIRST", first)
        few[first] = _draws(logits, temperature, top_p)
    assert few[1] == few[8] == few[64] == few[500] == few[5000]
    assert few[8] == _by_hand(logits, temperature, top_p)


def _by_hand(logits: Tensor, temperature: float, top_p: float) -> list[int]:
    """By the definition: drop the unlikely tail, then walk down the list until the point is passed."""
    likely = sorted(enumerate((logits / temperature).softmax(0).tolist()), key=lambda one: -one[1])
    kept, held = [], 0.0
    for token, probability in likely:
        if held >= top_p:
            break
        kept.append((token, probability))
        held += probability
    draw = torch.Generator().manual_seed(5)
    return [_walk(kept, float(torch.rand((), generator=draw)) * held) for _ in range(60)]


def _walk(kept: list[tuple[int, float]], left: float) -> int:
    for token, probability in kept:
        left -= probability
        if left <= 0:
            return token
    return kept[-1][0]


def test_sampling_draws_each_token_as_often_as_it_is_likely() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    draw = torch.Generator().manual_seed(0)
    drawn = [sample(logits, 1.0, 1.0, draw) for _ in range(4000)]
    shares = [drawn.count(i) / 4000 for i in range(4)]
    assert shares == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_top_p_leaves_only_the_likeliest_tokens() -> None:
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    draw = torch.Generator().manual_seed(0)
    drawn = {sample(logits, 1.0, 0.6, draw) for _ in range(500)}
    assert drawn == {1, 3}
    assert {sample(logits, 1.0, 0.01, draw) for _ in range(50)} == {1}


def test_a_temperature_of_zero_takes_the_likeliest_and_still_uses_one_draw() -> None:
    draw, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    assert sample(torch.tensor([0.0, 2.0, 1.0]), 0, 1.0, draw) == 1
    sample(torch.tensor([0.0, 2.0, 1.0]), 1.0, 1.0, other)
    assert torch.rand((), generator=draw) == torch.rand((), generator=other)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize(
    "by", [Narrowing(5), Narrowing(min_p=0.2), Narrowing(0, 0.0, 1.3), Narrowing(20, 0.05, 1.8), Narrowing()]
)
def test_what_may_be_drawn_is_what_transformers_leaves(temperature: float, by: Narrowing) -> None:
    logits = 3 * torch.randn(300, generator=torch.Generator().manual_seed(2))
    seen = [int(token) for token in logits.topk(4).indices] + [7, 7, 9]
    steps: list[LogitsProcessor] = [
        RepetitionPenaltyLogitsProcessor(by.repetition_penalty),
        TemperatureLogitsWarper(temperature),
        *([TopKLogitsWarper(by.top_k)] if by.top_k else []),
        *([MinPLogitsWarper(by.min_p)] if by.min_p else []),
    ]
    expected = logits[None]
    for step in steps:
        expected = step(torch.tensor([seen]), expected)
    before = logits.clone()
    ours = (narrowed(logits, temperature, seen, by) / temperature).softmax(0)
    torch.testing.assert_close(ours, expected[0].softmax(0))
    assert torch.equal(logits, before)
