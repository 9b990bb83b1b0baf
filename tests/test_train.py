"""The training loop on a tiny real model: it learns, it repeats, it stops, and it does what a plain PEFT loop does."""

import math
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import models
from engine.data.check import DataError
from engine.methods import fit
from engine.methods.inject import targets
from engine.misfits import misfits
from engine.passes import summed_loss, validation_loss
from engine.settings import RunSettings
from engine.train import (
    Prepared,
    StepReport,
    TrainingError,
    _all_batches,
    learning_rate,
    prepare,
    train,
)
from tests.tiny import make_tiny_model, tiny_rows

CPU = models.Device("cpu", "CPU", torch.float32, "a test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def _ready(folder: Path, **values: Any) -> tuple[models.LoadedBase, Prepared, RunSettings]:
    settings = RunSettings.model_validate({"batch_size": 8, "learning_rate": 1e-2, "epochs": 2} | values)
    base = models.load(folder, CPU)
    return base, prepare(base.tokenizer, tiny_rows(48), settings, 256), settings


def _train(base: models.LoadedBase, prepared: Prepared, settings: RunSettings) -> Iterator[StepReport]:
    return train(base, fit(base.model, settings), prepared, settings)


def test_the_loss_falls_and_the_figures_add_up(folder: Path) -> None:
    base, prepared, settings = _ready(folder)
    reports = list(_train(base, prepared, settings))
    first, *steps = reports
    assert (first.step, first.loss) == (0, None)
    assert [r.step for r in steps] == list(range(1, prepared.steps + 1))
    assert first.validation_loss is not None
    assert steps[-1].validation_loss is not None
    assert steps[-1].validation_loss < 0.7 * first.validation_loss
    assert steps[-1].tokens == prepared.tokens_per_epoch * settings.epochs
    assert all(r.gradient_norm and r.tokens_per_second for r in steps)


def test_the_base_is_measured_before_anything_is_trained(folder: Path) -> None:
    base, prepared, settings = _ready(folder)
    untouched = validation_loss(base, prepared.validation, 4)
    report = next(_train(base, prepared, settings))
    assert report.validation_loss == pytest.approx(untouched, abs=1e-6)


def test_the_frozen_weights_do_not_move(folder: Path) -> None:
    base, prepared, settings = _ready(folder, epochs=1)
    list(_train(base, prepared, settings))
    fresh = dict(models.load(folder, CPU).model.named_parameters())
    for name, parameter in base.model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, fresh[name.replace(".base.", ".")])


def _run(folder: Path, **values: Any) -> tuple[list[StepReport], dict[str, torch.Tensor]]:
    base, prepared, settings = _ready(folder, **values)
    fitted = fit(base.model, settings)
    return list(train(base, fitted, prepared, settings)), fitted.tensors()


def test_the_same_seed_gives_the_same_run_bit_for_bit(folder: Path) -> None:
    one, first = _run(folder, dropout=0.1)
    two, again = _run(folder, dropout=0.1)
    assert [r.loss for r in one] == [r.loss for r in two]
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_cutting_a_batch_into_smaller_parts_changes_nothing(folder: Path) -> None:
    whole, _ = _run(folder, micro_batch=8, epochs=1)
    parts, _ = _run(folder, micro_batch=3, epochs=1)
    for one, two in zip(whole, parts, strict=True):
        if one.loss is not None:
            assert one.loss == pytest.approx(two.loss, rel=1e-4)
        if one.validation_loss is not None:
            assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-4)


def test_the_loss_curve_is_that_of_a_plain_loop_on_peft(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    base, prepared, settings = _ready(folder, rank=4, alpha=8, learning_rate=2e-3, validation_share=0, epochs=9)
    names = sorted({path.rpartition(".")[2] for path in targets(base.model, None)})
    other = models.load(folder, CPU)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=names, task_type="CAUSAL_LM")
    other.model = get_peft_model(other.model, config)
    start = models.load(folder, CPU).model
    set_peft_model_state_dict(other.model, fit(start, settings).tensors())

    trained = [p for p in other.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0)
    theirs = []
    for step, batch in enumerate(_all_batches(prepared, settings)):
        loss = torch.zeros(())
        for example in batch:  # row by row, no padding at all: as independent as it gets
            logits = other.model(torch.tensor([example.ids])).logits[0, :-1]
            loss = loss + torch.nn.functional.cross_entropy(
                logits, torch.tensor(example.labels[1:]), ignore_index=-100, reduction="sum"
            )
        loss = loss / sum(e.answer_tokens for e in batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.max_gradient_norm)
        optimizer.param_groups[0]["lr"] = learning_rate(step, prepared.steps, settings)
        optimizer.step()
        theirs.append(loss.item())
    ours = [r.loss for r in _train(base, prepared, settings)]
    assert len(ours) >= 50
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_stopping_ends_within_a_micro_batch_and_measures_a_last_time(folder: Path) -> None:
    base, prepared, settings = _ready(folder, micro_batch=2)
    asked = iter([False] * 9 + [True])  # two whole steps of four parts, then in the middle of the third
    fitted = fit(base.model, settings)
    *_, before, last = train(base, fitted, prepared, settings, lambda: next(asked))
    assert last.stopped
    assert (before.step, last.step) == (2, 2)
    assert last.loss == before.loss
    assert last.validation_loss == pytest.approx(validation_loss(base, prepared.validation, 8), rel=1e-5)
    assert all(p.grad is None for p in fitted.trained.values())


def test_a_time_limit_stops_the_run_and_keeps_what_was_learned(folder: Path) -> None:
    reports, _ = _run(folder, epochs=1000, max_seconds=0.5)
    assert reports[-1].stopped
    assert 0 < reports[-1].step < reports[-1].steps


def test_a_stop_may_also_raise_and_end_the_run_at_once(folder: Path) -> None:
    base, prepared, settings = _ready(folder)

    def cancelled() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train(base, fit(base.model, settings), prepared, settings, cancelled))


def test_a_loss_that_is_no_number_stops_before_the_optimizer_writes(folder: Path) -> None:
    base, prepared, settings = _ready(folder)
    fitted = fit(base.model, settings)
    reports = train(base, fitted, prepared, settings)
    list(islice(reports, 3))
    before = fitted.tensors()
    with torch.no_grad():
        base.model.model.norm.weight[0] = float("nan")
    with pytest.raises(
        TrainingError, match=r"Stopped at step 3: the loss was no longer a number. Try a learning rate of 0.001"
    ):
        next(reports)
    after = fitted.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_validation_the_first_report_is_step_one(folder: Path) -> None:
    reports, _ = _run(folder, validation_share=0, epochs=1)
    assert reports[0].step == 1
    assert all(r.validation_loss is None for r in reports)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_learning_rate_warms_up_and_then_only_falls(schedule: str) -> None:
    settings = RunSettings.model_validate({"schedule": schedule, "warmup": 0.1, "learning_rate": 1.0})
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert all(one >= two for one, two in pairwise(rates[9:]))
    assert rates[-1] == 1.0 if schedule == "constant" else rates[-1] < 0.02
    half = rates[55]
    assert half == pytest.approx({"cosine": 0.5 * (1 + math.cos(math.pi / 2)), "linear": 0.5, "constant": 1}[schedule])


def test_what_is_known_before_the_start_is_counted_right(folder: Path) -> None:
    base, prepared, _ = _ready(folder, validation_share=0.25)
    assert (len(prepared.train), len(prepared.validation)) == (36, 12)
    assert (prepared.steps_per_epoch, prepared.steps) == (5, 10)
    assert prepared.tokens_per_epoch == sum(len(e.ids) for e in prepared.train)
    assert prepared.cut == prepared.unusable == 0
    longest = max(e.full_length for e in [*prepared.train, *prepared.validation])
    assert prepared.longest == prepared.length == longest
    short = prepare(base.tokenizer, tiny_rows(48), RunSettings(length=longest - 1), 256)
    assert short.cut > 0
    assert short.length == longest - 1


def test_copies_of_a_row_are_all_learned_or_all_measured(folder: Path) -> None:
    base = models.load(folder)
    prepared = prepare(base.tokenizer, [*tiny_rows(24), *tiny_rows(16)], RunSettings(validation_share=0.3), 256)
    learned, measured = ({tuple(row.ids) for row in rows} for rows in (prepared.train, prepared.validation))
    assert prepared.copies == 16
    assert measured
    assert not learned & measured


def test_rows_that_lose_their_whole_answer_are_left_out_and_counted(folder: Path) -> None:
    base, _, settings = _ready(folder)
    hopeless = {"messages": [{"role": "user", "content": "x " * 300}, {"role": "assistant", "content": "y"}]}
    prepared = prepare(base.tokenizer, [*tiny_rows(4), hopeless], settings, 256)
    assert prepared.unusable == 1
    with pytest.raises(DataError, match="No row has an answer within the first 256 tokens"):
        prepare(base.tokenizer, [hopeless], settings, 256)


@pytest.mark.parametrize("tokens", [256, 300])
def test_a_soft_prompt_that_fills_the_model_is_told_before_the_run_and_never_cuts_from_the_end(
    folder: Path, tokens: int
) -> None:
    settings = RunSettings(method="prompt", prompt_tokens=tokens)
    base = models.load(folder, CPU)
    with pytest.raises(DataError, match=rf"soft prompt of {tokens} tokens leaves no room .* takes 256"):
        prepare(base.tokenizer, tiny_rows(4), settings, 256)
    (told,) = misfits(models.describe(folder), settings, "tiny")
    assert told.startswith(f"tiny takes rows of 256 tokens, and a soft prompt of {tokens}")
    assert misfits(models.describe(folder), RunSettings(method="prompt", prompt_tokens=200), "tiny") == []


def test_the_loss_of_the_first_rows_is_told_before_the_first_step_is_done(folder: Path) -> None:
    base, prepared, settings = _ready(folder, micro_batch=2, validation_share=0)
    heard: list[float] = []
    fitted = fit(base.model, settings)
    first, *_ = _all_batches(prepared, settings)
    rows = first[:2]
    expected = summed_loss(base, rows).item() / sum(row.answer_tokens for row in rows)
    reports = train(base, fitted, prepared, settings, first_loss=heard.append)
    for _ in islice(reports, 3):
        assert heard == [pytest.approx(expected, rel=1e-5)]
    fitted.remove()
