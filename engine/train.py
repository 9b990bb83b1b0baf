"""The training loop, top to bottom: rows in, one StepReport per optimizer step out.

What is trained is what a method has put on the model (`methods.fit`), with AdamW (arXiv 1711.05101). The loss of a
step is the sum over the answer tokens of its effective batch, divided by their number, so it does not depend on how the
batch is cut into micro-batches.

Writes no file and knows no database: whoever consumes the reports decides what to keep and when.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice

import torch

from engine.data.batches import epoch_batches
from engine.data.render import Example
from engine.methods.fitted import Fitted
from engine.models import LoadedBase
from engine.passes import Passes, chunks
from engine.position import Position, StepReport
from engine.prepared import Prepared, prepare
from engine.settings import RunSettings

__all__ = [
    "Position",
    "Prepared",
    "StepReport",
    "TrainingError",
    "learning_rate",
    "prepare",
    "train",
]

VALIDATIONS = 10  # per run, spread evenly


class TrainingError(RuntimeError):
    """A run that cannot go on after `step`, and would not if it were done again. The message is for the person."""

    hopeless = True

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def train(
    base: LoadedBase,
    fitted: Fitted,
    prepared: Prepared,
    settings: RunSettings,
    should_stop: Callable[[], bool] = lambda: False,
    position: Position | None = None,
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
    passes: Passes | None = None,
    first_loss: Callable[[float], None] = lambda loss: None,
) -> Iterator[StepReport]:
    """Train what is fitted on `base.model`, yielding a report after each optimizer step.

    While the generator rests between two reports, the model holds the adapter of the step reported last.

    Args:
        fitted: from `methods.fit`, on `base.model`, with these settings.
        should_stop: asked between micro-batches; once true, the unfinished step is dropped, the last step is reported
            again with the validation loss, and the run ends. It may raise, to end the run at once.
        position: of `fitted`; where the run stands, kept up with every whole step. A restored one goes on from there:
            with the same batches, rates and random draws, so bit for bit as if the run had never ended.
        interruptible: entered around what takes long. What is raised in there from outside, such as by a signal,
            leaves `position` whole.
        passes: of `base` with what is fitted; how its rows go through it.
        first_loss: told the mean loss of the first rows as soon as it is there, since a step may take long.

    Raises:
        TrainingError: if loss or gradient is not a finite number, before the optimizer writes: `position` is finite.
    """
    passes = passes or Passes(base)
    parameters = list(fitted.trained.values())
    at = position or Position(fitted, settings, base.device.kind)
    at.seed(settings.seed)
    measure_every = max(1, prepared.steps // VALIDATIONS)
    stopped = False

    def measure() -> float | None:
        with interruptible():
            return passes.measure(prepared.validation, settings.micro_batch)

    def told(report: StepReport) -> StepReport:
        due = report.step % measure_every == 0 or report.step == prepared.steps
        measured = measure() if due else None
        return at.tell(replace(report, validation_loss=measured, seconds=time.monotonic() - began))

    if at.report is None:
        first = measure()
        if first is not None:
            yield StepReport(0, prepared.steps, None, first, 0.0, None, 0, None, 0.0)
    began = time.monotonic() - at.seconds
    if at.report is not None and not at.told:
        yield told(at.report)

    tokens = at.report.tokens if at.report else 0
    for step, batch in islice(enumerate(_all_batches(prepared, settings), 1), at.step, None):
        # --- one optimizer step -------------------------------------------------------------------------------
        step_began = time.monotonic()
        answers = sum(e.answer_tokens for e in batch)
        loss = 0.0
        for micro in chunks(batch, settings.micro_batch):
            stopped = should_stop() or _over(settings.max_seconds, began)
            if stopped:
                break
            with interruptible():
                part = passes.learn(micro, answers)
            if step == 1 and not loss:
                first_loss(part * answers / sum(e.answer_tokens for e in micro))
            loss += part
        if stopped:
            break
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_gradient_norm).item()
        _check_finite(loss, norm, step, settings.learning_rate)
        rate = learning_rate(step - 1, prepared.steps, settings)
        for group in at.optimizer.param_groups:
            group["lr"] = rate * group["ratio"]
        at.optimizer.step()
        at.optimizer.zero_grad(set_to_none=True)
        step_tokens = sum(len(e.ids) for e in batch)
        tokens += step_tokens
        now = time.monotonic()
        speed = step_tokens / (now - step_began)
        report = StepReport(step, prepared.steps, loss, None, rate, norm, tokens, speed, now - began)
        at.moved(report)
        # --- once in a while: how good is it on rows it does not learn? ---------------------------------------
        yield told(report)

    if stopped and at.report:
        at.optimizer.zero_grad(set_to_none=True)
        yield replace(at.report, validation_loss=measure(), seconds=time.monotonic() - began, stopped=True)


def learning_rate(step: int, steps: int, settings: RunSettings) -> float:
    """The rate after `step` whole steps: a linear warm-up, then the schedule down to zero (constant: none)."""
    warm = math.ceil(settings.warmup * steps)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - warm) / max(1, steps - warm)
    factor = 1 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return settings.learning_rate * factor


def _all_batches(prepared: Prepared, settings: RunSettings) -> Iterator[list[Example]]:
    examples, lengths = prepared.train, prepared.train.lengths.tolist()
    for epoch in range(settings.epochs):
        rows = prepared.rows_of_epoch(settings.seed, epoch)
        for batch in epoch_batches([lengths[row] for row in rows], settings.batch_size, settings.seed, epoch):
            yield [examples[rows[i]] for i in batch]


def _over(limit: float | None, began: float) -> bool:
    return limit is not None and time.monotonic() - began > limit


def _check_finite(loss: float, norm: float, step: int, rate: float) -> None:
    what = "loss" if not math.isfinite(loss) else "gradient" if not math.isfinite(norm) else None
    if what:
        raise TrainingError(
            f"Stopped at step {step}: the {what} was no longer a number. Try a learning rate of {rate / 10:.1g}.", step
        )
