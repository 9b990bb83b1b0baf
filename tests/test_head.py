"""The loss made a piece at a time: that of all logits at once, with the same gradients."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from engine import head, models
from tests.architectures import ALL, make
from tests.tiny import make_tiny_model

CPU = models.Device("cpu", "CPU", torch.float32, "a test")


@given(st.integers(1, 40), st.integers(1, 5), st.booleans())
def test_pieces_add_up_to_the_loss_and_gradients_of_all_logits(count: int, rows_at_once: int, trained: bool) -> None:
    torch.manual_seed(count)
    last = nn.Linear(6, 11).requires_grad_(trained)
    hidden, wanted = torch.randn(count, 6, requires_grad=True), torch.randint(11, (count,))
    whole = F.cross_entropy(last(hidden), wanted, reduction="sum") / 3
    learning = [hidden, *(last.parameters() if trained else ())]
    expected = torch.autograd.grad(whole, learning)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "AT_ONCE", 11 * rows_at_once)
        pieces = head.summed_cross_entropy(hidden, last, wanted) / 3
        found = torch.autograd.grad(pieces, learning)
        with torch.no_grad():
            measured = head.summed_cross_entropy(hidden, last, wanted) / 3
    assert pieces.item() == pytest.approx(whole.item(), rel=1e-5)
    assert measured.item() == pytest.approx(whole.item(), rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_no_piece_of_logits_is_larger_than_is_allowed() -> None:
    class Watched(nn.Linear):
        largest = 0

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            logits = super().forward(states)
            self.largest = max(self.largest, logits.numel())
            return logits

    last, count = Watched(4, 1000), 3 * head.AT_ONCE // 1000
    head.summed_cross_entropy(torch.randn(count, 4, requires_grad=True), last, torch.zeros(count, dtype=torch.int64))
    assert 0 < last.largest <= head.AT_ONCE


def test_a_model_that_does_more_to_its_logits_is_taken_whole(tmp_path: Path) -> None:
    bent = models.load(make(tmp_path / "gemma2", ALL["Gemma 2"]), CPU)
    plain = models.load(make_tiny_model(tmp_path / "llama"), CPU)
    assert head.decoder_and_head(bent.model) is None
    assert head.decoder_and_head(plain.model) == (plain.model.model, plain.model.lm_head)
