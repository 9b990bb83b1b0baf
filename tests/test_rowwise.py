"""Rows of one batch, each with its own adapter: both ways of computing them agree, and no row depends on another."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.methods.inject import Surgery
from engine.methods.lora import LowRank
from engine.methods.one_token import MOST_ROWS, linear, quicken
from engine.methods.rowwise import RowwiseLoRA

INSIDE, OUTSIDE = 24, 40


def _update(rank: int, magnitude: bool = False) -> LowRank:
    made = torch.Generator().manual_seed(rank)
    a, b = torch.randn(rank, INSIDE, generator=made), torch.randn(OUTSIDE, rank, generator=made)
    return LowRank(a, b, 0.5, torch.rand(OUTSIDE, generator=made) + 0.5 if magnitude else None)


def _layer(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(INSIDE, OUTSIDE, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stacked_or_apart_the_rows_get_the_same_updates(tokens: int, dtype: torch.dtype) -> None:
    updates = [_update(3), None, _update(5, magnitude=True), _update(2)]
    x, layer = torch.randn(4, tokens, INSIDE).to(dtype), _layer().to(dtype)
    apart, stacked = (RowwiseLoRA(layer, updates, stacked=way)(x) for way in (False, True))
    assert apart.dtype == stacked.dtype == dtype
    torch.testing.assert_close(apart, stacked, **({"atol": 0.1, "rtol": 0.02} if dtype == torch.bfloat16 else {}))
    torch.testing.assert_close(apart[1], layer(x)[1])
    assert float((apart[0] - layer(x)[0]).abs().max()) > 0.1


@pytest.mark.parametrize("stacked", [False, True])
def test_rows_get_the_updates_of_whoever_is_seated_there(stacked: bool) -> None:
    rows = RowwiseLoRA(_layer(), [None, _update(3), _update(5, magnitude=True)], stacked=stacked)
    x = torch.randn(3, 4, INSIDE)
    before = rows(x)
    rows.seat([0, 2])
    torch.testing.assert_close(rows(x[[0, 2]]), before[[0, 2]])
    rows.seat([2, 1, 2])
    torch.testing.assert_close(rows(x[[2, 1, 2]]), before[[2, 1, 2]])
    rows.seat([0, 1, 2])
    torch.testing.assert_close(rows(x), before)


def test_a_crowd_gets_the_updates_that_its_rows_get_alone() -> None:
    updates = [None, _update(3), _update(5, magnitude=True)]
    layer, who = _layer(), [number % 3 for number in range(MOST_ROWS + 4)]
    x = torch.randn(len(who), 1, INSIDE)
    rows = RowwiseLoRA(layer, updates)
    rows.seat(who)
    alone = [RowwiseLoRA(layer, [updates[at]])(x[row : row + 1]) for row, at in enumerate(who)]
    torch.testing.assert_close(rows(x), torch.cat(alone))


def test_on_a_cpu_a_row_gets_the_same_bits_alone_and_in_company() -> None:
    updates, x = [_update(3), None, _update(16), _update(3, magnitude=True)], torch.randn(4, 1, INSIDE)
    together = _quick(updates, x)
    for row, update in enumerate(updates):
        assert torch.equal(_quick([update], x[row : row + 1])[0], together[row])


def _quick(updates: list[LowRank | None], x: Tensor) -> Tensor:
    model = nn.Sequential(_layer())
    quicken(Surgery(model))
    return RowwiseLoRA(model[0], updates)(x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", range(1, MOST_ROWS + 3))
def test_one_token_a_row_gives_the_layers_own_product_and_the_same_bits_in_any_company(rows: int, bias: bool) -> None:
    layer, x = _layer(bias), torch.randn(rows, 1, INSIDE)
    h = linear(layer, x)
    torch.testing.assert_close(h, F.linear(x, layer.weight, layer.bias), atol=1e-5, rtol=1e-5)
    if rows <= MOST_ROWS:
        assert all(torch.equal(linear(layer, x[row : row + 1])[0], h[row]) for row in range(rows))
        assert torch.equal(linear(layer, x[:, 0]), h[:, 0]), "flattened rows are rows"


def test_prompts_and_other_dtypes_are_computed_as_the_layer_does() -> None:
    layer, x = _layer(), torch.randn(2, 3, INSIDE)
    assert torch.equal(linear(layer, x), layer(x))
    assert linear(layer, x[:0]).shape == (0, 3, OUTSIDE)
    quicken(surgery := Surgery(nn.Sequential(half := _layer().bfloat16(), whole := _layer())))
    assert "forward" not in vars(half)
    assert ("forward" in vars(whole)) == torch.backends.mkl.is_available()
    surgery.undo()
    assert "forward" not in vars(whole)
