"""Where a run stands between two optimizer steps: what was trained, AdamW's memory of it, and the random draws to come.

A position changes by whole steps only, so that a run broken off at any moment can go on after its last whole step.
Knows nothing about files (`checkpoint.py`) or about how a step is made (`train.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.methods.fitted import Fitted, Named
from engine.settings import RunSettings


@dataclass(frozen=True)
class StepReport:
    """What happened in one optimizer step. Step 0 is the start, measured only: the base, or a stored adapter."""

    step: int
    steps: int
    loss: float | None  # mean over the answer tokens of the batch, before the step
    validation_loss: float | None  # after the step, where it was measured
    learning_rate: float
    gradient_norm: float | None  # before it was limited
    tokens: int  # seen so far, padding not counted
    tokens_per_second: float | None  # of this step
    seconds: float  # since the first step began; what an interruption took is not counted
    stopped: bool = False  # the run ends here because it was asked to


class Position:
    """A run after its last whole step.

    Attributes:
        fitted: what is trained.
        optimizer: AdamW (arXiv 1711.05101) over it.
        report: of the last whole step; None before the first. Without its validation loss until it was told.
        told: whether that report was given out, with the validation loss where one is due.
    """

    def __init__(self, fitted: Fitted, settings: RunSettings, device: str = "cpu") -> None:
        """A run at its start. `device` is cpu, cuda or mps: where the model lies."""
        self.fitted = fitted
        self.optimizer = torch.optim.AdamW(
            parameter_groups(fitted, settings),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=device == "cuda",
        )
        self.report: StepReport | None = None
        self.told = False
        self._device = device
        self._generators: Named = {}

    @property
    def step(self) -> int:
        """Whole steps done."""
        return self.report.step if self.report else 0

    @property
    def seconds(self) -> float:
        """How long the run took so far."""
        return self.report.seconds if self.report else 0.0

    def seed(self, seed: int) -> None:
        """Let the random draws begin with `seed`; or go on where they were, if steps were done already."""
        torch.manual_seed(seed)
        _draw_from(self._generators)

    def moved(self, report: StepReport) -> None:
        """Note that a step is whole: parameters, optimizer and random draws are those after it."""
        self.report, self.told = report, False
        self._generators = _generators(self._device)

    def tell(self, report: StepReport) -> StepReport:
        """Note that the last whole step is given out as this report, and return it."""
        self.report, self.told = report, True
        return report

    # --- all of it, to keep and to put back -----------------------------------------------------------------------

    def tensors(self) -> dict[str, Named]:
        """What the run needs to go on, in groups: trained, optimizer, generators. On the CPU; may share its memory."""
        named = self.fitted.trained.items()
        memory = {
            f"{name}/{what}": value for name, p in named for what, value in self.optimizer.state.get(p, {}).items()
        }
        trained = {name: p.detach() for name, p in named}
        groups = {"trained": trained, "optimizer": memory, "generators": self._generators}
        return {group: {name: t.cpu().contiguous() for name, t in part.items()} for group, part in groups.items()}

    def restore(self, report: StepReport, told: bool, tensors: Mapping[str, Named]) -> None:
        """Stand where another run of the same settings stood.

        Raises:
            ValueError: in a sentence, if the tensors do not fit; nothing is changed then.
        """
        memory = self._memory(tensors["optimizer"])
        self.fitted.load(tensors["trained"])
        self.optimizer.state.clear()
        self.optimizer.state.update(memory)
        self._generators = dict(tensors["generators"])
        self.report, self.told = report, told

    def _memory(self, stored: Named) -> dict[Tensor, dict[str, Tensor]]:
        memory: dict[Tensor, dict[str, Tensor]] = {}
        for key, value in stored.items():
            name, _, what = key.rpartition("/")
            parameter = self.fitted.trained.get(name)
            if parameter is None or (what != "step" and value.shape != parameter.shape):
                raise ValueError(f"What the optimizer remembers of {name or key} does not fit this run.")
            # AdamW counts steps on the CPU, unless it is fused with the work on the device.
            on_device = what != "step" or self._device == "cuda"
            memory.setdefault(parameter, {})[what] = value.to(parameter.device) if on_device else value
        return memory


def parameter_groups(fitted: Fitted, settings: RunSettings) -> list[dict[str, Any]]:
    """The trained parameters by their learning rate as a multiple of the common one.

    B learns `b_ratio` times faster than A: LoRA+, Hayou et al. 2024, arXiv 2402.12354, section 4.
    """
    fast = [p for name, p in fitted.trained.items() if name.endswith("lora_B.weight")]
    rest = [p for name, p in fitted.trained.items() if not name.endswith("lora_B.weight")]
    groups = [{"params": rest, "ratio": 1.0}, {"params": fast, "ratio": settings.b_ratio}]
    return [group for group in groups if group["params"]]


def _generators(device: str) -> Named:
    """The state of torch's generators that a step draws from, such as for dropout."""
    states = {"cpu": torch.get_rng_state()}
    if device == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    elif device == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _draw_from(states: Named) -> None:
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
