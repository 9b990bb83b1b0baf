"""The low-rank formulas over any shape, rank, scale and pattern, against brute force."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine.merge import merged_weight
from engine.methods.dora import DoRALinear
from engine.methods.lora import LoRALinear, LowRank, weight_of
from engine.methods.pissa import PiSSALinear, principal
from engine.methods.rowwise import RowwiseLoRA
from engine.settings import RunSettings, parse

SIDES = st.integers(1, 12)
RANKS = st.integers(1, 16)
SCALES = st.floats(0.01, 20)


def _layer(inside: int, outside: int, turned: bool, seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    layer: nn.Linear = Conv1D(outside, inside) if turned else nn.Linear(inside, outside)
    return layer.double()


def _moved(layer: LoRALinear, seed: int) -> LoRALinear:
    generator = torch.Generator().manual_seed(seed)
    layer.double()
    with torch.no_grad():
        for parameter in layer.trained().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def _expected(layer: LoRALinear, x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.T + layer.base.bias


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, RANKS, SCALES, st.booleans(), st.sampled_from([LoRALinear, DoRALinear]), st.integers(0, 99))
def test_a_layer_its_merge_and_its_row_of_a_batch_compute_the_same_formula(
    inside: int, outside: int, rank: int, scaling: float, turned: bool, kind: type[LoRALinear], seed: int
) -> None:
    base = _layer(inside, outside, turned, seed)
    layer = _moved(kind(base, rank, scaling, 0.0, torch.Generator().manual_seed(seed)), seed)
    weight = base.weight.T if turned else base.weight
    total = weight + scaling * layer.lora_B @ layer.lora_A
    magnitude = None
    if isinstance(layer, DoRALinear):
        magnitude = layer.magnitude.detach()
        lengths = torch.stack([(row * row).sum().sqrt() for row in total])
        total = torch.stack([m / n * row for m, n, row in zip(magnitude, lengths, total, strict=True)])
    x = torch.randn(3, 5, inside, dtype=torch.float64)
    expected = _expected(layer, x, total)
    close = {"rtol": 1e-4, "atol": 1e-4 * float(expected.detach().abs().max() + 1)}  # DoRA's norms and merges are fp32
    torch.testing.assert_close(layer(x), expected, **close)
    update = LowRank(layer.lora_A.detach(), layer.lora_B.detach(), scaling, magnitude)
    torch.testing.assert_close(merged_weight(base, update).double(), total, **close)
    rows = RowwiseLoRA(base.float(), [None, update])(x[:2].float())
    torch.testing.assert_close(rows[1].double(), expected[1], **close)
    torch.testing.assert_close(rows[0], base(x[0].float()))


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(1, 12), SCALES, st.integers(0, 99))
def test_pissa_starts_from_the_best_approximation_and_equals_a_lora_of_twice_the_rank(
    inside: int, outside: int, rank: int, scaling: float, seed: int
) -> None:
    base = _layer(inside, outside, False, seed).float()
    if rank > min(inside, outside):
        with pytest.raises(ValueError, match=f"has only {min(inside, outside)}"):
            principal(weight_of(base), rank)
        return
    layer = PiSSALinear(base, rank, scaling, 0.0, torch.Generator())
    x = torch.randn(4, inside)
    assert torch.equal(layer(x), base(x))
    # Eckart-Young: what is left over is as small as any matrix of this rank can leave it.
    left = weight_of(base) - scaling * layer.lora_B.detach() @ layer.lora_A.detach()
    values = torch.linalg.svdvals(weight_of(base))
    rest = float((values[rank:] ** 2).sum().sqrt())
    assert float(left.norm()) == pytest.approx(rest, abs=1e-4)
    _moved(layer, seed).float()
    a, b = layer.as_lora()
    assert a.shape[0] == b.shape[1] == 2 * rank
    torch.testing.assert_close(layer(x), base(x) + scaling * x @ a.T @ b.T, atol=1e-3, rtol=1e-4)


NAMES = st.sampled_from(["q_proj", "v_proj", "down_proj", "model.layers.0.self_attn.q_proj"])
PATHS = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.integers(1, 512)), st.dictionaries(NAMES, st.integers(1, 4096)))
def test_a_layer_takes_its_own_rank_by_path_before_name_before_the_common_one(
    ranks: dict[str, int], alphas: dict[str, int]
) -> None:
    chosen = RunSettings(rank=7, alpha=9, rank_pattern=ranks or None, alpha_pattern=alphas or None)
    for path in PATHS:
        name = path.rpartition(".")[2]
        rank = ranks[path] if path in ranks else ranks.get(name, 7)
        alpha = alphas[path] if path in alphas else alphas.get(name, 9)
        assert chosen.shape_of(path) == (rank, alpha)
    spelt = ", ".join(f"{name}={rank}" for name, rank in ranks.items())
    assert parse({"rank_pattern": spelt}).rank_pattern == (ranks or None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=8))
def test_blocks_are_read_as_numbers_and_ranges(blocks: list[int]) -> None:
    spelt = ", ".join(str(block) for block in blocks)
    assert parse({"layers": spelt}).layers == (sorted(set(blocks)) or None)
    if blocks:
        low, high = min(blocks), max(blocks)
        assert parse({"layers": f"{low}-{high}"}).layers == list(range(low, high + 1))
        assert re.fullmatch(r"[\d, ]*", spelt)
