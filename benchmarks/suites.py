"""A suite in batches of several prompts, beside one prompt after the other: how much sooner it is answered.

    python -m benchmarks.suites MODEL_FOLDER [--threads N] [--quick]

The base and an adapter of rank 16 answer prompts of different lengths, greedily, with answers of different lengths:
many at the same time, up to what a suite lets answer on this machine, and both to one prompt after the other. Answers
are compared token by token. One process, in turns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import processes
from benchmarks.generation import WORDS, Field
from benchmarks.table import Options, Row, markdown
from engine.generate import Asked, answers, prompts_of
from engine.sampling import Sampling
from jobs import room

PROMPTS, LONGEST = 8, 64  # how many, and the longest answer in tokens


def main() -> None:
    """Measure and print the table; as JSON for `rows`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="one round, half the prompts, short answers")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = Options(given.folder, given.quick, given.threads)
    if not given.json:
        print(markdown(rows(options)))
        return
    torch.set_num_threads(given.threads)
    print(json.dumps([asdict(row) for row in _measured(options)]))


def rows(options: Options) -> list[Row]:
    """All figures, measured in a process of their own."""
    given = [str(options.base), "--json", "--threads", str(options.threads), *(["--quick"] if options.quick else [])]
    return [Row(**row) for row in json.loads(processes.run("benchmarks.suites", given, options).splitlines()[-1])]


def _measured(options: Options) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        field = Field(options, Path(scratch), adapters=1, peft=False)
        asked = _asked(field, PROMPTS // 2 if options.quick else PROMPTS, LONGEST // 4 if options.quick else LONGEST)
        longest = max(len(prompt) for prompt in prompts_of(field.base, asked)) + LONGEST
        crowds = sorted({8, room.rows_at_once(field.base, longest, 0)})
        _answered(field, asked[:2], 2)  # does not count: libraries choose their kernels
        rounds = [_round(field, asked, crowds) for _ in range(1 if options.quick else 2)]
    return [_row(rounds, at_once) for at_once in crowds]


def _asked(field: Field, count: int, longest: int) -> list[Asked]:
    """Each prompt for the base and for the adapter; words and lengths from a fixed seed."""
    draw, asked = random.Random(0), list[Asked]()
    for _ in range(count):
        messages = [{"role": "user", "content": " ".join(draw.choices(WORDS, k=draw.randint(4, 60)))}]
        drawn = Sampling(temperature=0, max_tokens=draw.randint(longest // 6, longest))
        asked += [Asked(who, messages, drawn) for who in (None, field.adapters[0])]
    return asked


class Timed(NamedTuple):
    """Answers as tokens, and the seconds they took together."""

    ids: list[list[int]]
    seconds: float


def _round(field: Field, asked: Sequence[Asked], crowds: Sequence[int]) -> dict[int, Timed]:
    """Everything once: by how many answer at the same time, and under 0 one prompt after the other."""
    pairs = [_answered(field, asked[first : first + 2], 2) for first in range(0, len(asked), 2)]
    before = Timed([ids for pair in pairs for ids in pair.ids], sum(pair.seconds for pair in pairs))
    return {0: before, **{at_once: _answered(field, asked, at_once) for at_once in crowds}}


def _answered(field: Field, asked: Sequence[Asked], at_once: int) -> Timed:
    began = time.perf_counter()
    *_, last = answers(field.base, asked, at_once=at_once)
    return Timed(last.ids, time.perf_counter() - began)


def _row(rounds: Sequence[dict[int, Timed]], at_once: int) -> Row:
    ours, before = rounds[0][at_once].ids, rounds[0][0].ids
    same, total = sum(x == y for x, y in zip(ours, before, strict=True)), sum(map(len, before))
    a, b = (statistics.median(one[which].seconds for one in rounds) for which in (at_once, 0))
    return Row(
        f"{len(ours)} answers, {total:,} tokens, {at_once} at the same time; equal answers: {same} of {len(ours)}",
        f"{total / a:.1f} tokens/s",
        f"{total / b:.1f} tokens/s (one prompt after the other)",
        f"{b / a:.2f} x",
    )


if __name__ == "__main__":
    main()
