"""What a base in few bits costs and saves: weights, speed of training and of answering, and the untuned loss.

    python -m benchmarks.base_precision MODEL_FOLDER [--threads N]

Prints one row for each precision. Training is forward and backward of LoRA with default settings on two rows of 128
random tokens; answering is one row, token by token. Each figure is the median of several. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from engine import models, starter
from engine.data.check import read
from engine.data.render import encode
from engine.methods import fit
from engine.passes import validation_loss
from engine.settings import RunSettings

PRECISIONS = ("full", "nf4", "int8")
ROWS, TOKENS, ANSWER = 2, 128, 8
REPEATS = 3


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| base | computes in | weights | training, tokens/s | answering, tokens/s | untuned held-out loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    for precision in PRECISIONS:
        print(_row(given.folder, precision), flush=True)


def _row(folder: Path, precision: str) -> str:
    base = models.load(folder, precision=precision)
    loss = _held_out_loss(base)
    answering = ANSWER / _median(lambda: _answer(base))
    fitted = fit(base.model, RunSettings())
    base.model.train()
    training = ROWS * TOKENS / _median(lambda: _learn(base))
    fitted.remove()
    computes = str(base.device.compute_dtype if precision != "full" else base.device.dtype).removeprefix("torch.")
    weights = sum(parameter.nbytes for parameter in base.model.parameters()) / 1e6
    return f"| {precision} | {computes} | {weights:.0f} MB | {training:.0f} | {answering:.1f} | {loss:.3f} |"


def _median(work: Callable[[], None]) -> float:
    """Seconds of the middle one of several, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _learn(base: models.LoadedBase) -> None:
    vocabulary = base.model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    logits = base.model(ids).logits[:, :-1]
    torch.autograd.backward(F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten()))


@torch.inference_mode()
def _answer(base: models.LoadedBase) -> None:
    ids = torch.arange(3, 35)[None]
    cache = None
    for _ in range(ANSWER):
        out = base.model(ids, past_key_values=cache, use_cache=True)
        ids, cache = out.logits[:, -1:].argmax(-1), out.past_key_values


def _held_out_loss(base: models.LoadedBase) -> float | None:
    sample = next(sample for sample in starter.samples() if sample.name == "pirate-style")
    rows = read(sample.held_out).rows
    return validation_loss(base, [encode(base.tokenizer, row, 1024) for row in rows], 8)


if __name__ == "__main__":
    main()
