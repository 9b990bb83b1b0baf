"""Packed rows against rows one by one: the same loss and gradients, on every architecture that is packed."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine import compiling, models, packing
from engine.data.render import IGNORED, Example
from engine.methods import fit
from engine.methods.fitted import Fitted
from engine.passes import Passes, summed_loss
from engine.settings import RunSettings
from tests.architectures import ALL, Architecture, make
from tests.tiny import VOCABULARY, make_tiny_model
from tests.workshop import one_thread

WINDOW = 16  # shorter than the rows, and than what they share
SHARED = list(range(5, 25))
CPU = models.Device("cpu", "CPU", torch.float32, "a test")

PACKED = {name: made for name, made in ALL.items() if made.kind in packing.PACKED or made.kind == "gemma3"}
# Of the others that can have a window, the tiny configs have none.
WINDOWED = {
    "Qwen 2, window": ("Qwen 2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "Qwen 3, window": ("Qwen 3", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "Phi-3, window": ("Phi-3", {"sliding_window": WINDOW}),
    "StarCoder2, window": ("StarCoder2", {"sliding_window": WINDOW}),
    "Mixtral, window": ("Mixtral", {"sliding_window": WINDOW}),
}


def _known(name: str) -> Architecture:
    if name in PACKED:
        return PACKED[name]
    like, more = WINDOWED[name]
    return dataclasses.replace(ALL[like], config=ALL[like].config | more)


def _rows(*own: int) -> list[Example]:
    """Rows that begin with SHARED, and learn all of their own part but its first four tokens and its last."""
    draw = torch.Generator().manual_seed(3)
    rows = []
    for count in own:
        ids = SHARED + torch.randint(5, VOCABULARY, (count,), generator=draw).tolist()
        first = len(SHARED) + 4
        rows.append(Example(ids, [IGNORED] * first + ids[first:-1] + [IGNORED], len(ids)))
    return rows


ROWS = _rows(9, 40, 23)
ANSWERS = sum(row.answer_tokens for row in ROWS)


def _without_dropout(model: nn.Module) -> None:
    for part in [*model.modules(), model.config.get_text_config()]:  # type: ignore[operator, union-attr]
        for name, value in list(vars(part).items()):
            if isinstance(value, float) and ("drop" in name or (isinstance(part, nn.Dropout) and name == "p")):
                setattr(part, name, 0.0)


def _fitted(base: models.LoadedBase) -> Fitted:
    """LoRA with a B that is not zero, so that all of it has gradients."""
    fitted = fit(base.model, RunSettings(rank=4))
    draw = torch.Generator().manual_seed(0)
    for name, parameter in fitted.trained.items():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.3
    return fitted


def _gradients(fitted: Fitted) -> dict[str, torch.Tensor]:
    taken = {name: p.grad for name, p in fitted.trained.items() if p.grad is not None}
    for parameter in fitted.trained.values():
        parameter.grad = None
    return taken


def _one_by_one(base: models.LoadedBase) -> float:
    base.model.train()
    parts = [summed_loss(base, [row]) / ANSWERS for row in ROWS]
    for part in parts:
        part.backward()
    return sum(part.item() for part in parts)


def _assert_same(passes: Passes, fitted: Fitted) -> None:
    expected, gradients = _one_by_one(passes.base), _gradients(fitted)
    assert passes.learn(ROWS, ANSWERS) == pytest.approx(expected, rel=1e-6)
    for name, gradient in _gradients(fitted).items():
        size = gradients[name].abs().max()
        assert (gradient - gradients[name]).abs().max() <= 1e-4 * size, name
    assert passes.measure(ROWS, 2) == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module", params=[*PACKED, *WINDOWED])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[models.LoadedBase]:
    with one_thread():
        loaded = models.load(make(tmp_path_factory.mktemp("model"), _known(request.param)), CPU)
        _without_dropout(loaded.model)
        yield loaded


def test_packed_rows_have_the_loss_and_gradients_of_rows_one_by_one(base: models.LoadedBase) -> None:
    fitted, passes = _fitted(base), Passes(base)
    assert passes.packed
    assert passes.share
    _assert_same(passes, fitted)
    passes.share = False
    _assert_same(passes, fitted)


def test_every_packed_architecture_is_held_against_rows_one_by_one() -> None:
    assert {made.kind for made in PACKED.values()} - {"gemma3"} == packing.PACKED


@pytest.mark.parametrize("name", ["MPT", "Gemma 2", "BLOOM"])
def test_an_architecture_that_no_test_vouches_for_is_padded_and_the_log_says_so(name: str, tmp_path: Path) -> None:
    base = models.load(make(tmp_path, ALL[name]), CPU)
    _without_dropout(base.model)
    fitted, passes = _fitted(base), Passes(base)
    assert not passes.packed
    assert "padded" in passes.told
    assert ALL[name].kind in passes.told
    _assert_same(passes, fitted)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> models.LoadedBase:
    return models.load(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny"), CPU)


def test_what_is_computed_again_on_the_way_back_changes_no_gradient(llama: models.LoadedBase) -> None:
    fitted = _fitted(llama)
    plain, light = Passes(llama), Passes(llama, light=True)
    assert light.light
    told, gradients = plain.learn(ROWS, ANSWERS), _gradients(fitted)
    assert light.learn(ROWS, ANSWERS) == told
    assert all(torch.equal(gradient, gradients[name]) for name, gradient in _gradients(fitted).items())
    fitted.remove()


@pytest.mark.filterwarnings("ignore::")  # torch's compiler does what torch itself warns of
def test_compiled_blocks_learn_the_same(llama: models.LoadedBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")  # all of the compiler but making code, which takes a minute
    monkeypatch.setattr(compiling.shutil, "which", lambda name: name)
    fitted = _fitted(llama)
    plain, compiled = Passes(llama), Passes(llama, compiled=True)
    told, gradients = plain.learn(ROWS, ANSWERS), _gradients(fitted)
    frames = Counter(torch._dynamo.utils.counters["frames"])
    assert compiled.learn(ROWS, ANSWERS) == pytest.approx(told, rel=1e-6)
    assert Counter(torch._dynamo.utils.counters["frames"])["ok"] > frames["ok"]
    for name, gradient in _gradients(fitted).items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-6)
    assert not any("forward" in vars(block) for block in compiling.blocks(llama.model))
    fitted.remove()


@pytest.mark.parametrize(
    ("kind", "reason"), [("cpu", "no C\\+\\+ compiler"), ("cuda", "triton"), ("mps", "not used on mps")]
)
def test_why_blocks_are_not_compiled_is_told(kind: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert re.search(reason, compiling.hindrance(kind))


def test_a_run_that_cannot_compile_says_so_and_learns(
    llama: models.LoadedBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    passes = Passes(llama, compiled=True)
    assert passes.compiled is None
    assert "Blocks are not compiled: no C++ compiler was found" in passes.told


def test_the_model_is_as_before_when_a_pass_is_over_or_broken_off(llama: models.LoadedBase) -> None:
    before, logits = llama.model.config._attn_implementation, _logits(llama)
    passes = Passes(llama, light=True)
    passes.measure(ROWS, 2)
    with pytest.raises(IndexError):
        passes.measure([Example([5, VOCABULARY + 9, 7], [5, 6, 7], 3)], 2)
    assert llama.model.config._attn_implementation == before
    assert not llama.model.is_gradient_checkpointing
    assert torch.equal(_logits(llama), logits)


def _logits(base: models.LoadedBase) -> torch.Tensor:
    with torch.inference_mode():
        answered: torch.Tensor = base.model.eval()(torch.tensor([ROWS[0].ids])).logits
    return answered


def test_where_something_is_dropped_at_random_nothing_is_shared(llama: models.LoadedBase) -> None:
    fitted = fit(llama.model, RunSettings(rank=4, dropout=0.1))
    passes = Passes(llama)
    fitted.remove()
    assert passes.packed
    assert not passes.share


tokens = st.lists(st.integers(0, 3), min_size=2, max_size=12)


@st.composite
def rows(draw: Any) -> Example:
    ids = draw(tokens)
    learned = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    learned[draw(st.integers(1, len(ids) - 1))] = True
    return Example(ids, [token if mark else IGNORED for token, mark in zip(ids, learned, strict=True)], len(ids))


@given(st.lists(rows(), min_size=1, max_size=6), st.booleans())
def test_every_learned_token_is_predicted_from_all_that_stands_before_it_in_its_row(
    examples: list[Example], share: bool
) -> None:
    batch = packing.pack(examples, share)
    ids, positions = batch.ids[0].tolist(), batch.positions[0].tolist()
    starts = [batch.shared + sum(batch.own[:row]) for row in range(len(examples))]
    expected = []
    for row, example in enumerate(examples):
        stretch = ids[: batch.shared] + ids[starts[row] : starts[row] + batch.own[row]]
        assert stretch == example.ids[: len(stretch)]
        assert positions[starts[row] : starts[row] + batch.own[row]] == list(range(batch.shared, len(stretch)))
        for place in range(1, len(example.ids)):
            if example.labels[place] != IGNORED:
                assert place - 1 >= batch.shared or batch.shared == 0
                expected.append((starts[row] + place - 1 - batch.shared, example.labels[place]))
    assert list(zip(batch.asked.tolist(), batch.wanted.tolist(), strict=True)) == expected
    assert len(ids) == batch.shared + sum(batch.own)
