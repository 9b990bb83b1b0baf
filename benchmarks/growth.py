"""How the cost of a run grows with its rows: time outside forward and backward, memory, and the wait before step 1.

    python -m benchmarks.growth times|memory|ready ... --base FOLDER

A step of the starter takes seconds, so 200 of them at two sizes would take an hour. What does not depend on the model,
choosing, collating and reporting a batch, is timed on a tiny one, 1,000 and 100,000 rows in turns; what depends on it
is timed on the starter by the contestants. Knows nothing about other libraries.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import processes
from benchmarks.table import Options, Row

FEW, MANY = 1_000, 100_000
STEPS, QUICK_STEPS = 200, 40
OUTSIDE, MEMORY, READY = 0.02, 50e6, 7.0
WORDS = "the sea wind bay heron moth stone path tide nest moor gull slate cove rain oar lamp"


def rows(options: Options, contestants: Sequence[dict[str, Any]]) -> list[Row]:
    """The rows of the table. `contestants`: our own figures on the starter."""
    return [*_time_rows(options, contestants), _memory_row(options), _ready_row(options)]


def _time_rows(options: Options, contestants: Sequence[dict[str, Any]]) -> list[Row]:
    steps = QUICK_STEPS if options.quick else STEPS
    told = json.loads(processes.run("benchmarks.growth", ["times", *_common(options), "--steps", str(steps)], options))
    step = statistics.median(sum(one["seconds"]) / len(one["seconds"]) for one in contestants)
    starter = statistics.median(one["outside"] / len(one["seconds"]) for one in contestants)
    made = []
    for count, outside in zip((FEW, MANY), told, strict=True):
        total = starter + max(0.0, outside - told[0])
        share = total / step
        what = f"Time outside forward and backward, {count:,} rows, {steps} steps in turns"
        ours = f"{total * 1000:.0f} ms of a step of {step:.1f} s ({outside * 1000:.1f} ms of it on a tiny model)"
        made.append(Row(what, ours, "", f"{share:.1%}", f"<= {OUTSIDE:.0%} of a step", share <= OUTSIDE))
    return made


def _memory_row(options: Options) -> Row:
    few, many = (_memory(options, count) for count in (FEW, MANY))
    what, target = f"Memory while training on {MANY:,} rows, against {FEW:,}", f"<= {MEMORY / 1e6:.0f} MB more"
    if few is None or many is None:
        return Row(what, "not measured: needs Linux", target=target)
    ours, other = f"{many / 1e6:,.0f} MB", f"{few / 1e6:,.0f} MB with {FEW:,} rows"
    return Row(what, ours, other, f"{(many - few) / 1e6:+,.0f} MB", target, many - few <= MEMORY)


def _memory(options: Options, count: int) -> int | None:
    told: int | None = json.loads(
        processes.run("benchmarks.growth", ["memory", *_common(options), "--rows", str(count)], options)
    )
    return told


def _ready_row(options: Options) -> Row:
    given, times = ["ready", *_common(options)], 1 if options.quick else 3
    seconds = statistics.median(float(processes.run("benchmarks.growth", given, options)) for _ in range(times))
    what = "Ready to compute on the starter, from the start of the process, files warm"
    return Row(what, f"{seconds:.1f} s", "", "", f"<= {READY:.0f} s", seconds <= READY)


def _common(options: Options) -> list[str]:
    return ["--base", str(options.base), "--threads", str(options.threads)]


# --- what runs in a process of its own ------------------------------------------------------------------------------


def main() -> None:
    """Measure one thing and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("times", "memory", "ready"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=FEW)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    if given.what == "ready":
        _get_ready(given.base)
        print(time.time() - psutil.Process().create_time())
    elif given.what == "memory":
        print(json.dumps(_held(given.base, given.rows)))
    else:
        print(json.dumps(_outside(given.base, given.steps)))


def _get_ready(folder: Path) -> None:
    """What a worker does between its claim and the first forward pass."""
    from engine import models, starter
    from engine.data.check import read_rows
    from engine.methods import fit
    from engine.settings import RunSettings
    from engine.train import prepare

    settings = RunSettings()
    base = models.load(folder)
    rows = read_rows(_stored_sample(starter.samples()[1]))
    prepare(base.tokenizer, rows, settings, models.max_length(base.model.config))
    fit(base.model, settings)


def _stored_sample(sample: Any) -> Path:
    """A sample as the library keeps it."""
    from engine.data.check import read, write_rows

    path = Path(tempfile.mkdtemp()) / "rows.jsonl"
    write_rows(read(sample.path).rows, path)
    return path


def _held(folder: Path, count: int) -> int | None:
    """Bytes of its own that a process holds in the midst of training on `count` rows."""
    from benchmarks.machine import own_bytes

    run = _tiny_run(folder, count)
    for _ in range(10):
        next(run)
    return own_bytes()


def _outside(folder: Path, steps: int) -> list[float]:
    """Seconds per step outside forward and backward, for few and for many rows, measured in turns; medians."""
    runs = [_tiny_run(folder, count) for count in (FEW, MANY)]
    times: list[list[float]] = [[], []]
    for _ in range(steps):
        for run, taken in zip(runs, times, strict=True):
            taken.append(next(run))
    return [statistics.median(taken) for taken in times]


def _tiny_run(folder: Path, count: int) -> Iterator[float]:
    """Train a tiny model on `count` rows; yields for each step the seconds outside forward and backward."""
    import torch

    from benchmarks.work import Parted
    from engine.data.check import read_rows
    from engine.methods import fit
    from engine.settings import RunSettings
    from engine.train import prepare, train

    base = _tiny_base(folder)
    settings = RunSettings(epochs=1 + 4000 // count, validation_share=0)
    with tempfile.TemporaryDirectory() as place:
        rows = read_rows(_written(Path(place), count))
        prepared = prepare(base.tokenizer, rows, settings, 128)
        reports = train(base, fit(base.model, settings), prepared, settings)
        del rows
        torch.manual_seed(0)
        while True:
            parted = Parted()
            with parted.watching(base.model):
                began = time.perf_counter()
                next(reports)
                taken = time.perf_counter() - began
            yield taken - parted.computing


def _tiny_base(folder: Path) -> Any:
    """A model of one narrow block with the starter's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine import models

    tokenizer = models.load_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).requires_grad_(False).eval()
    return models.LoadedBase(model, tokenizer, models.Device("cpu", "CPU", torch.float32, "a benchmark"), folder)


def _written(place: Path, count: int) -> Path:
    """A file of `count` rows of a dozen words."""
    draw, words = random.Random(0), WORDS.split()
    path = place / "rows.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for _ in range(count):
            out.write(json.dumps({"text": " ".join(draw.choices(words, k=draw.randint(6, 18)))}) + "\n")
    return path


if __name__ == "__main__":
    main()
