"""Every architecture, trained with the product's own loop, against tables written by hand and against PEFT.

One tiny random model each (see `architectures.py`): its layers are found, it learns, its adapter opens in PEFT and in
our own comparison with the same numbers, and taking the adapter off gives the base back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import adapter_files, models
from engine.data.render import prompt_ids
from engine.generate import Asked, answers, compare
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.inject import linear_layers
from engine.sampling import Sampling
from engine.settings import RunSettings
from engine.sizing import count
from engine.train import prepare, train
from tests.architectures import ALL, ODD, PROMISED, UNNAMED, Architecture, make, make_architecture
from tests.tiny import LENGTH, VOCABULARY, tiny_rows, tiny_tokenizer
from tests.workshop import one_thread

SETTINGS = RunSettings(rank=4, alpha=12, learning_rate=1e-2, batch_size=8, epochs=3, validation_share=0)
ROW_LENGTHS = (9, 40, 23)  # tokens; longer and shorter than a sliding window of 16
GREEDY = {"do_sample": False, "max_new_tokens": 20, "forced_eos_token_id": None}  # BART would end by force
PROMPT = [{"role": "user", "content": "Question 3: what is rain?"}]
CPU = models.Device("cpu", "CPU", torch.float32, "a test")


@dataclass
class Case:
    """One architecture after a short run: what was trained, what it computes, and the files it left."""

    known: Architecture
    base: models.LoadedBase
    facts: dict[str, Any]
    adapter: Path
    found: list[str]
    losses: list[float]
    trained: int
    tied: list[bool]
    before: Tensor
    with_adapter: Tensor
    after: Tensor
    padded: list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module", params=ALL)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with one_thread():
        yield _run(request.param, tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("adapter"))


@torch.no_grad()
def _run(name: str, folder: Path, adapter: Path) -> Case:
    base = models.load(make_architecture(folder, name), CPU)
    found, tied, before = list(linear_layers(base.model)), [_is_tied(base.model)], _logits(base.model)
    fitted = fit(base.model, SETTINGS)
    with torch.enable_grad():
        prepared = prepare(base.tokenizer, tiny_rows(24), SETTINGS, LENGTH)
        losses = [report.loss for report in train(base, fitted, prepared, SETTINGS) if report.loss is not None]
    base.model.eval()
    tied.append(_is_tied(base.model))
    with_adapter, padded, tensors = _logits(base.model), _alone_and_padded(base.model), fitted.tensors()
    fitted.remove()
    tied.append(_is_tied(base.model))
    adapter_files.write(adapter, tensors, base_name="tiny", settings=SETTINGS, model=base.model)
    return Case(
        known=ALL[name],
        base=base,
        facts=models.describe(folder),
        adapter=adapter,
        found=found,
        losses=losses,
        trained=sum(p.numel() for p in fitted.trained.values()),
        tied=tied,
        before=before,
        with_adapter=with_adapter,
        after=_logits(base.model),
        padded=padded,
    )


def _logits(model: Any) -> Tensor:
    """Of three equal rows, (3, T, V)."""
    row = torch.randint(3, 300, (1, 40), generator=torch.Generator().manual_seed(5))
    logits: Tensor = model(input_ids=row.expand(3, -1)).logits
    return logits


def _alone_and_padded(model: Any) -> list[tuple[Tensor, Tensor]]:
    """The logits of rows of different lengths: each alone, and all in one batch, padded on the right without a mask."""
    generator = torch.Generator().manual_seed(6)
    rows = [torch.randint(3, 300, (length,), generator=generator) for length in ROW_LENGTHS]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    together = model(input_ids=batch).logits
    return [(model(input_ids=row[None]).logits[0], together[i, : len(row)]) for i, row in enumerate(rows)]


def _is_tied(model: Any) -> bool:
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_linear_layers_of_the_blocks_are_those_of_the_table(case: Case) -> None:
    assert case.found == case.known.layers
    assert [layer["path"] for layer in case.facts["layers"]] == case.known.layers


# PEFT looks for the experts by names they had in older checkpoints, and says so when they are not wanted.
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match:RuntimeWarning")
def test_peft_finds_the_same_layers_and_those_outside_of_the_text_models_blocks(case: Case) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(case.base.model.config)
    turned = any(module["kind"] == "conv1d" for module in case.facts["modules"])
    config = LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=turned)
    theirs = set(get_peft_model(model, config).base_model.targeted_module_names)
    more = theirs - set(case.found)
    assert set(case.found) <= theirs
    assert all(path.startswith(case.known.outside) for path in more)
    assert bool(more) == bool(case.known.outside)


def test_a_few_steps_lower_the_loss(case: Case) -> None:
    assert len(case.losses) == 9
    assert sum(case.losses[-3:]) < 0.96 * sum(case.losses[:3])


def test_the_adapter_changes_what_the_model_says_and_taking_it_off_gives_the_base_back_bit_for_bit(case: Case) -> None:
    assert float((case.with_adapter - case.before).abs().max()) > 0.05
    assert torch.equal(case.after, case.before)


def test_embeddings_that_were_tied_stay_tied(case: Case) -> None:
    assert case.tied == [case.known.tied] * 3
    assert case.facts["tied"] is case.known.tied


def test_prompts_of_any_length_answer_in_one_batch_as_alone(case: Case) -> None:
    adapter = adapter_files.read(case.adapter)
    texts = ("Rain?", "Question 3: what is rain, and what is the sea that it falls into?", "What is bread?")
    asked = [
        Asked(who, [{"role": "user", "content": text}], Sampling(temperature=0, max_tokens=6))
        for who, text in zip((None, adapter, adapter), texts, strict=True)
    ]
    *_, together = answers(case.base, asked)
    assert together.batches == [[0, 1, 2]]
    assert together.ids == [list(answers(case.base, [one]))[-1].ids[0] for one in asked]


def test_padding_on_the_right_without_a_mask_changes_nothing(case: Case) -> None:
    for alone, together in case.padded:
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


def test_the_written_adapter_opens_in_peft_with_the_same_logits(case: Case) -> None:
    from peft import PeftModel

    fresh = models.load(case.base.path, CPU).model
    with torch.no_grad():
        theirs = _logits(PeftModel.from_pretrained(fresh, case.adapter).eval())
    torch.testing.assert_close(theirs, case.with_adapter, atol=1e-6, rtol=0)


def test_our_own_reader_answers_with_it_as_one_row_of_a_batch(case: Case) -> None:
    adapter = adapter_files.read(case.adapter)
    adapter_files.check_fits(adapter, case.base.model)
    with torch.no_grad(), attached(case.base.model, [None, adapter, None]):
        rows = _logits(case.base.model)
    torch.testing.assert_close(rows[0], case.before[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(rows[1], case.with_adapter[1], atol=2e-5, rtol=0)
    together = list(compare(case.base, [None, adapter], PROMPT, temperature=0, max_tokens=6))[-1]
    alone = [list(compare(case.base, [who], PROMPT, temperature=0, max_tokens=6))[-1] for who in (None, adapter)]
    assert together.texts == [one.texts[0] for one in alone]


def test_the_counts_from_the_config_are_those_of_what_was_trained_and_written(case: Case) -> None:
    counted = count(case.facts, SETTINGS)
    assert counted.trained == case.trained
    assert counted.tensor_bytes == _tensor_bytes(case.adapter / adapter_files.WEIGHTS)
    assert case.facts["parameters"] == sum(p.numel() for p in case.base.model.parameters())
    assert case.facts["frozen_experts"] == 2 * case.known.experts


def _tensor_bytes(file: Path) -> int:
    """The bytes of a safetensors file after the length and the text of its header."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    return file.stat().st_size - 8 - header


def test_at_least_three_of_them_are_named_nowhere_in_the_code() -> None:
    root = Path(__file__).parent.parent
    code = "".join(p.read_text("utf-8") for part in ("engine", "jobs", "studio") for p in (root / part).rglob("*.py"))
    words = set(re.findall(r"\w+", code.lower()))
    nowhere = {known.kind for known in (UNNAMED | ODD).values()} - words
    assert len(nowhere) >= 3
    assert not nowhere & {known.kind for known in PROMISED.values()}


@one_thread()
@pytest.mark.parametrize("name", ODD)
def test_a_model_that_keeps_something_else_than_keys_and_values_trains_and_answers(name: str, tmp_path: Path) -> None:
    base = models.load(make(tmp_path / "model", ODD[name]), CPU)
    if ODD[name].linear:
        assert list(linear_layers(base.model)) == ODD[name].layers
    settings = SETTINGS.model_copy(update={"epochs": 12})  # enough to say more than one token again and again
    fitted = fit(base.model, settings)
    prepared = prepare(base.tokenizer, tiny_rows(24), settings, LENGTH)
    losses = [report.loss or 0 for report in train(base, fitted, prepared, settings)]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    base.model.eval()
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(tmp_path, tensors, base_name="tiny", settings=settings, model=base.model)
    adapter = adapter_files.read(tmp_path)
    answers = list(compare(base, [None, adapter], PROMPT, temperature=0, max_tokens=20))[-1]
    ids = torch.tensor([prompt_ids(base.tokenizer, PROMPT)])
    for text, who in zip(answers.texts, (None, adapter), strict=True):
        with torch.no_grad(), attached(base.model, [who]):
            said = base.model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)
        assert text == base.tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_model_that_reads_in_both_directions_is_refused_in_words(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(1)
    BertLMHeadModel(BertConfig(vocab_size=VOCABULARY, initializer_range=0.1, **sizes)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(models.ModelError, match="reads in both directions"):
        models.load(tmp_path, CPU)
