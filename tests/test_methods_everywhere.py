"""Every method on every architecture, from the count before the run to the answer beside the base and the export.

What a base has no place for is refused beforehand; all else is trained, stored, reloaded, compared, scored, merged and,
where PEFT has the method, opened in PEFT.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from engine import adapter_files, models
from engine.adapter import AdapterOnDisk
from engine.data.render import Example, encode, prompt_ids
from engine.generate import compare, score
from engine.merge import cannot_merge, merged, save_merged
from engine.methods import fit
from engine.methods.attach import attached
from engine.misfits import misfits
from engine.passes import summed_loss, validation_loss
from engine.settings import parse
from engine.sizing import count
from tests.architectures import ALL, make_architecture
from tests.tiny import LENGTH
from tests.workshop import one_thread

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 3},
    "lora, one block, biases of its layers": {"rank": 3, "layers": "1", "bias": "lora_only"},
    "lora, all biases": {"rank": 3, "bias": "all"},
    "pissa": {"rank": 3, "start": "pissa"},
    "dora": {"method": "dora", "rank": 3, "rank_stabilised": True},
    "bottleneck": {"method": "bottleneck", "bottleneck": 5},
    "prompt": {"method": "prompt", "prompt_tokens": 4},
    "bitfit": {"method": "bitfit"},
    "norms": {"method": "norms"},
    "blocks": {"method": "blocks", "blocks": 1},
    "full": {"method": "full"},
}
OPENED_IN_PEFT = ("dora", "prompt")  # plain LoRA is, in test_architectures.py, and its options in test_methods.py
IDS = torch.arange(3, 40)[None]
ASKED = {"messages": [{"role": "user", "content": "What is rain?"}, {"role": "assistant", "content": "Water."}]}
QUESTION, TOKENS = ASKED["messages"][:1], 2  # the second comes from the cache


@pytest.fixture(scope="module", params=ALL)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[models.LoadedBase]:
    with one_thread():
        yield models.load(make_architecture(tmp_path_factory.mktemp("model"), request.param), CPU)


@pytest.fixture(scope="module")
def facts(base: models.LoadedBase) -> dict[str, Any]:
    return models.describe(base.path)


@pytest.fixture(scope="module")
def plain(base: models.LoadedBase) -> str:
    """What the base says."""
    return _greedy(base)


def _logits(base: models.LoadedBase) -> torch.Tensor:
    logits: torch.Tensor = base.model(input_ids=IDS).logits
    return logits


@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_is_refused_beforehand_or_trains_what_was_counted_and_can_be_read_back(
    base: models.LoadedBase, facts: dict[str, Any], plain: str, name: str, tmp_path: Path
) -> None:
    settings = parse(SETTINGS[name])
    if misfits(facts, settings, "It"):
        with pytest.raises(ValueError, match="Choose"):
            fit(base.model, settings)
        return
    before = _logits(base).detach()
    fitted = fit(base.model, settings)
    counted = count(facts, settings)
    assert counted.trained == sum(p.numel() for p in fitted.trained.values())
    assert counted.tensor_bytes == sum(4 * t.numel() for t in fitted.tensors().values())

    base.model.train()
    ids = list(range(3, 40))
    summed_loss(base, [Example(ids, [-100] * 10 + ids[10:], len(ids))]).backward()
    base.model.eval()
    with torch.no_grad():
        for parameter in fitted.trained.values():
            assert parameter.grad is not None
            parameter.add_(parameter.grad.sign(), alpha=0.01)
        learned, tensors = _logits(base), fitted.tensors()
    fitted.remove()
    assert torch.equal(_logits(base), before)
    assert float((learned - before).abs().max()) > 1e-3

    adapter_files.write(tmp_path, tensors, base_name="tiny", settings=settings, model=base.model)
    read = adapter_files.read(tmp_path)
    adapter_files.check_fits(read, base.model)
    with torch.no_grad(), attached(base.model, [read]):
        torch.testing.assert_close(_logits(base), learned, atol=2e-5, rtol=0)
        greedy, loss = _greedy(base), validation_loss(base, [encode(base.tokenizer, ASKED, LENGTH)], 1)
    _is_compared(base, read, [plain, greedy], loss)
    _is_exported(base, read, name, learned)
    assert torch.equal(_logits(base), before)


@torch.no_grad()
def _greedy(base: models.LoadedBase) -> str:
    """The likeliest tokens after the question, each from all that stands before it: no cache, no neighbours."""
    ids = prompt_ids(base.tokenizer, QUESTION)
    asked = len(ids)
    for _ in range(TOKENS):
        ids.append(int(base.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    answer = [*ids[asked:], base.tokenizer.eos_token_id]
    return str(base.tokenizer.decode(answer[: answer.index(base.tokenizer.eos_token_id)], skip_special_tokens=True))


def _is_compared(base: models.LoadedBase, adapter: AdapterOnDisk, alone: list[str], loss: float | None) -> None:
    """Side by side with the base it says what it says alone, and so does the base; its score is its loss."""
    *_, last = compare(base, [None, adapter], QUESTION, temperature=0, max_tokens=TOKENS)
    assert last.texts == alone
    assert score(base, [adapter], [ASKED]) == [pytest.approx(loss, abs=1e-5)]


def _is_exported(base: models.LoadedBase, adapter: AdapterOnDisk, name: str, learned: torch.Tensor) -> None:
    """PEFT computes the same with the file, and so does the merged model."""
    with torch.no_grad():
        if name in OPENED_IN_PEFT:
            theirs = PeftModel.from_pretrained(copy.deepcopy(base.model), adapter.path).eval()
            logits = theirs(input_ids=IDS).logits[:, -IDS.shape[1] :]
            torch.testing.assert_close(logits, learned, atol=2e-5, rtol=0)
        if not cannot_merge(adapter.method):
            with merged(base.model, adapter):
                torch.testing.assert_close(_logits(base), learned, atol=1e-5, rtol=0)


def test_a_merged_model_is_reloaded_as_a_base_of_its_own(base: models.LoadedBase, tmp_path: Path) -> None:
    settings = parse({"rank": 3})
    fitted = fit(base.model, settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in fitted.trained.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
        learned, tensors = _logits(base), fitted.tensors()
    fitted.remove()
    adapter_files.write(tmp_path, tensors, base_name="tiny", settings=settings, model=base.model)
    save_merged(base, adapter_files.read(tmp_path), tmp_path / "merged")
    again = models.load(tmp_path / "merged", CPU)
    torch.testing.assert_close(_logits(again), learned, atol=1e-5, rtol=0)


@pytest.mark.parametrize("where", ["embedding", "head"])
def test_embeddings_and_heads_can_be_trained_in_full_and_ties_are_counted_once(
    base: models.LoadedBase, facts: dict[str, Any], where: str
) -> None:
    wanted = base.model.get_input_embeddings() if where == "embedding" else base.model.get_output_embeddings()
    name = next(path for path, module in base.model.named_modules() if module is wanted)
    settings = parse({"rank": 2, "train_in_full": [name]})
    assert misfits(facts, settings, "It") == []
    fitted = fit(base.model, settings)
    counted = count(facts, settings)
    assert counted.trained == sum(p.numel() for p in fitted.trained.values())
    assert counted.tensor_bytes == sum(4 * t.numel() for t in fitted.tensors().values())
    tied = base.model.get_input_embeddings().weight is base.model.get_output_embeddings().weight
    assert tied is facts["tied"]
    fitted.remove()
