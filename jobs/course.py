"""The course of a run: what its reports amount to, for the chart, the progress line and the adapter that is kept.

Knows nothing about the library, or about how a run is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.methods.fitted import Fitted
from engine.position import StepReport
from jobs import process
from jobs.progress import seconds_left, smooth


@dataclass
class Kept:
    """The adapter of one step, on the CPU."""

    step: int
    loss: float | None
    validation_loss: float | None
    tensors: dict[str, Tensor] = field(repr=False)


class Course:
    """What is known of a run so far: makes metrics and progress of its reports, and keeps its best step.

    Args:
        base_validation_loss: of the base alone, where step 0 is not the base but a start of its own.
        goes_on: whether step 0 is an adapter of the library, against which the run is then measured too.
    """

    def __init__(self, base_validation_loss: float | None = None, goes_on: bool = False) -> None:
        self.loss: float | None = None
        self.first_loss: float | None = None
        self.base_validation_loss = base_validation_loss
        self.start_validation_loss: float | None = None
        self.goes_on = goes_on
        self.best: Kept | None = None
        self.last: StepReport | None = None
        self.pace: float | None = None  # smoothed seconds a step, validation included

    def take(self, report: StepReport, fitted: Fitted) -> None:
        """Note a report; `fitted` holds the adapter of that step."""
        before, self.last = self.last, report
        if report.step == 0:
            self.start_validation_loss = report.validation_loss if self.goes_on else None
            if self.base_validation_loss is None:
                self.base_validation_loss = report.validation_loss
            return
        if report.loss is not None:
            self.loss = report.loss
            self.first_loss = report.loss if self.first_loss is None else self.first_loss
            self.pace = smooth(self.pace, report.seconds - (before.seconds if before else 0.0))
        if self._improves(report):
            self.best = None  # let go before the copy is made: after a full fine-tune it is a whole model
            self.best = Kept(report.step, self.loss, report.validation_loss, fitted.tensors())

    def _improves(self, report: StepReport) -> bool:
        """Best among the trained steps: a run that never beats its base still keeps the step that came closest."""
        now = report.validation_loss
        if now is None:
            return False
        return self.best is None or self.best.validation_loss is None or now < self.best.validation_loss

    def kept(self, fitted: Fitted) -> Kept | None:
        """What the run leaves: its best step by validation, or the last one where nothing was measured."""
        if self.last is None or self.last.step == 0:
            return None
        return self.best or Kept(self.last.step, self.loss, None, fitted.tensors())

    def progress(self) -> dict[str, Any]:
        """The job's progress after the last report."""
        assert self.last is not None
        last, best = self.last, self.best
        said = {
            "stage": "",
            "step": last.step,
            "steps": last.steps,
            "loss": self.loss,
            "first_loss": self.first_loss,
            "first_validation_loss": self.base_validation_loss,
            "start_validation_loss": self.start_validation_loss,
            "best_validation_loss": best.validation_loss if best else None,
            "best_step": best.step if best else None,
            "seconds_left": seconds_left(last.step, last.steps, last.seconds, self.pace),
            "memory_bytes": memory_now(),
            "peak_memory_bytes": memory_peak(),
        }
        if last.validation_loss is not None:
            said["validation_loss"] = last.validation_loss
        if last.tokens_per_second is not None:
            said["tokens_per_second"] = last.tokens_per_second
        return said

    # --- to be written down, and read again -----------------------------------------------------------------------

    def noted(self) -> dict[str, Any]:
        """The course as JSON, but for the tensors of its best step."""
        plain = ("loss", "first_loss", "base_validation_loss", "start_validation_loss", "goes_on", "pace")
        best = self.best
        return {
            **{name: getattr(self, name) for name in plain},
            "last": asdict(self.last) if self.last else None,
            "best": {"step": best.step, "loss": best.loss, "validation_loss": best.validation_loss} if best else None,
        }

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any], kept: dict[str, Tensor]) -> Course:
        """The course that `noted` wrote down; `kept` are the tensors of its best step."""
        course = cls(notes["base_validation_loss"], notes["goes_on"])
        course.loss, course.first_loss = notes["loss"], notes["first_loss"]
        course.start_validation_loss, course.pace = notes["start_validation_loss"], notes["pace"]
        course.last = StepReport(**notes["last"]) if notes["last"] else None
        course.best = Kept(**notes["best"], tensors=kept) if notes["best"] else None
        return course


def metric(report: StepReport) -> dict[str, Any]:
    """A report as the chart's row of its step."""
    return {
        "step": report.step,
        "loss": report.loss,
        "validation_loss": report.validation_loss,
        "learning_rate": report.learning_rate,
        "gradient_norm": report.gradient_norm,
        "tokens": report.tokens,
        "tokens_per_second": report.tokens_per_second,
        "memory_bytes": memory_now(),
        "seconds": report.seconds,
    }


def memory_now() -> int:
    """Bytes the run holds now: of the GPU where one is used, of the machine else."""
    return torch.cuda.memory_allocated() if _on_gpu() else process.memory_bytes()


def memory_peak() -> int:
    """The most bytes the run has held so far, counted like `memory_now`."""
    return torch.cuda.max_memory_allocated() if _on_gpu() else process.peak_memory_bytes()


def _on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
