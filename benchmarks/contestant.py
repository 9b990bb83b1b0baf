"""One contestant trains one epoch in a process of its own, so that every one starts with fresh memory.

    python -m benchmarks.contestant NAME SET --base FOLDER --rows N --out FILE

NAME is ours, ours-checkpointing or one of `rivals.RIVALS`. Writes its figures as JSON. Knows nothing about the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import rivals
from benchmarks.data_sets import DataSet, data_set
from benchmarks.machine import Peak, high_water, reset_high_water
from benchmarks.work import Parted, operations, size_of
from engine import models
from engine.data.batches import epoch_batches
from engine.data.render import IGNORED, Example, encode
from engine.methods import fit
from engine.passes import Passes
from engine.settings import RunSettings, parse
from engine.train import prepare, train

BATCH = 8  # rows of a step: what the page proposes for small sets
LENGTH = 1024
CPU = models.Device("cpu", "CPU", torch.float32, "what is compared")
LIGHT = "ours-checkpointing"  # ours with states computed again on the way back


@dataclass
class Figures:
    """What a contestant did: seconds and loss of each optimizer step, and what it took."""

    tokens: int = 0  # of all rows; padding not counted
    seconds: list[float] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)
    outside: float | None = None  # seconds of all steps outside forward and backward
    memory: int | None = None  # bytes above the loaded weights, at most
    validation_loss: float = 0.0
    operations: int = 0  # useful ones of all steps
    peak: float = 0.0  # operations a second this machine multiplies matrices with, measured between the steps
    notes: list[str] = field(default_factory=list)


class Laps:
    """Notes the time of each step; between steps, untimed, the peak of the machine is probed."""

    def __init__(self, figures: Figures, peak: Peak) -> None:
        self._figures, self._peak = figures, peak
        self._last = 0.0

    def begin(self, _: float | None = None) -> None:
        """The first step begins now."""
        self._peak.probe()
        self._last = time.perf_counter()

    def lap(self, loss: float | None) -> None:
        """A step is done."""
        self._figures.seconds.append(time.perf_counter() - self._last)
        self._figures.losses.append(loss)
        self.begin()


def main() -> None:
    """Train as told and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("set")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(given.threads)
    figures = measured(given.name, data_set(given.set, given.rows), given.base)
    given.out.write_text(json.dumps(asdict(figures)), "utf-8")


def measured(name: str, data: DataSet, folder: Path) -> Figures:
    """Let the contestant of that name train on `data`."""
    _import_rivals(name)
    base = models.load(folder, CPU)
    settings = run_settings()
    rows = [encode(base.tokenizer, row, LENGTH) for row in data.train]
    batches = our_batches(rows, settings)
    size = size_of(base.model, _trained(base, settings))
    figures = Figures(sum(len(row.ids) for row in rows), operations=sum(operations(b, size) for b in batches))
    peak = Peak(_shapes(base, figures.tokens // len(batches)))
    _warm_up(base)
    laps = Laps(figures, peak)
    weights = reset_high_water()
    if name in rivals.RIVALS:
        rival = rivals.RIVALS[name]
        in_order = [row for batch in batches for row in batch] if rival.order == "recorded" else rows
        model = rivals.train(rival, base, in_order, settings, laps.begin, laps.lap)
    else:
        model = _train_ours(base, data, settings, name == LIGHT, figures, laps)
    most = high_water()
    figures.memory = most - weights if most and weights else None
    figures.peak = peak.flops
    held_out = [encode(base.tokenizer, row, LENGTH) for row in data.validation]
    figures.validation_loss = mean_loss(model, held_out)
    return figures


def run_settings() -> RunSettings:
    """The defaults for a small set: one epoch, and no validation, which is measured apart and alike for everybody.

    There is no warm-up: transformers begins one with a rate of zero, which would cost its users one of few steps here.
    """
    fixed = {"batch_size": BATCH, "micro_batch": BATCH, "epochs": 1, "validation_share": 0, "warmup": 0}
    return parse({**fixed, "length": LENGTH})


def _import_rivals(name: str) -> None:
    """Load a rival's code before memory is measured: code is not what training takes."""
    if name.startswith("peft"):
        import peft  # noqa: F401
    elif name.startswith("trl"):
        import trl.trainer.sft_trainer  # noqa: F401


def our_batches(rows: list[Example], settings: RunSettings) -> list[list[Example]]:
    """The batches that our own loop learns from, in its order."""
    order = epoch_batches([len(row.ids) for row in rows], settings.batch_size, settings.seed, 0)
    return [[rows[i] for i in batch] for batch in order]


def _trained(base: models.LoadedBase, settings: RunSettings) -> int:
    fitted = fit(base.model, settings)
    trained = sum(parameter.numel() for parameter in fitted.trained.values())
    fitted.remove()
    return trained


def _shapes(base: models.LoadedBase, tokens: int) -> list[tuple[int, int, int]]:
    """The products of the feed-forward part and of the head, with as many rows as a step has tokens."""
    config = base.model.config.get_text_config()
    wide, inner = config.hidden_size, config.intermediate_size
    return [(tokens, wide, inner), (tokens, inner, wide), (tokens // 4, wide, config.vocab_size)]


def _warm_up(base: models.LoadedBase) -> None:
    """A small forward and backward: weights are read into memory and the libraries choose their kernels."""
    ids = torch.arange(100, 164).view(2, 32)
    embedded = base.model.get_input_embeddings()(ids).requires_grad_()
    torch.autograd.backward(base.model(inputs_embeds=embedded, use_cache=False).logits.mean())


def _train_ours(
    base: models.LoadedBase, data: DataSet, settings: RunSettings, light: bool, figures: Figures, laps: Laps
) -> Any:
    prepared = prepare(base.tokenizer, data.train, settings, models.max_length(base.model.config))
    fitted = fit(base.model, settings)
    passes = Passes(base, light=light)
    figures.notes.append(passes.told)
    parted = Parted()
    with parted.watching(base.model):
        reports = train(base, fitted, prepared, settings, passes=passes)
        laps.begin()
        for report in reports:
            laps.lap(report.loss)
    figures.outside = sum(figures.seconds) - parted.computing
    return base.model


@torch.no_grad()
def mean_loss(model: Any, rows: Sequence[Example]) -> float:
    """Mean cross-entropy per answer token, row by row: the same for everybody."""
    model.eval()
    total = sum(float(_loss(model, row)) for row in rows)
    return total / sum(row.answer_tokens for row in rows)


def _loss(model: Any, row: Example) -> Tensor:
    logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1]
    return F.cross_entropy(logits.float(), torch.tensor(row.labels[1:]), ignore_index=IGNORED, reduction="sum")


if __name__ == "__main__":
    main()
