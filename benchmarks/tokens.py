"""Rows as tokens: checking, the chat template, tokenising and keeping them, beside the tokenizer's batch call alone.

    python -m benchmarks.tokens --base FOLDER [--quick]

Both sides get the same short rows, in one process, in turns: ours begins with the file as a person brings it, the other
with texts that are written already. The tokenizer uses as many threads as it is given on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import data, processes
from benchmarks.table import Options, Row, markdown

MANY, QUICK = 50_000, 10_000
ROUNDS = 3
BATCH = 1000  # texts that the other side hands to the tokenizer at once
LEAST = 0.5


def rows(options: Options) -> list[Row]:
    """The rows of the table."""
    count = QUICK if options.quick else MANY
    with tempfile.TemporaryDirectory(prefix="tokens-") as folder:
        file = data.write(Path(folder) / "rows", "JSONL", count)
        given = ["--base", str(options.base), "--file", str(file), "--threads", str(options.threads)]
        told: dict[str, Any] = json.loads(processes.run("benchmarks.tokens", given, options))
    ours, other, kept = (told[name] for name in ("ours", "other", "kept"))
    what = f"{count:,} short rows, {told['tokens']:,} tokens: checked, through the template, tokenised, kept"
    return [
        Row(
            what,
            f"{count / ours:,.0f} rows a second",
            f"{count / other:,.0f} rows a second, the tokenizer's batch call alone",
            f"{other / ours:.2f} x",
            f">= {LEAST} x",
            other / ours >= LEAST,
        ),
        Row("The same rows, kept from an earlier run and checked", f"{kept * 1000:.1f} ms"),
    ]


# --- what runs in a process of its own ------------------------------------------------------------------------------


def measured(base: Path, file: Path) -> dict[str, float]:
    """Medians in seconds: ours, other, and kept; and how many tokens there are."""
    from adapters_store import manifest
    from engine import models
    from engine.data.check import Reading
    from engine.data.render import Speller, encode_all
    from engine.data.tokens import TokenRows, opened, save

    tokenizer = models.load_tokenizer(base)

    def ours(folder: Path) -> TokenRows:
        with Reading(file) as reading:
            save(encode_all(tokenizer, reading, 1024), folder)
        manifest.seal(folder)
        return opened(folder)

    def kept(folder: Path) -> TokenRows:
        assert not manifest.differences(folder)
        return opened(folder)

    def other(texts: list[str]) -> None:
        for start in range(0, len(texts), BATCH):
            tokenizer(texts[start : start + BATCH], add_special_tokens=False)

    with Reading(file) as reading:
        spelt = Speller(tokenizer).spell(list(reading))
    texts = [one.text for one in spelt if not isinstance(one, ValueError)]
    del spelt
    seconds: dict[str, list[float]] = {"ours": [], "other": [], "kept": []}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(ROUNDS):
            folder = Path(place) / str(turn)
            folder.mkdir()
            seconds["other"].append(_took(partial(other, texts)))
            seconds["ours"].append(_took(partial(ours, folder)))
            seconds["kept"].append(_took(partial(kept, folder)))
        tokens = int(opened(folder).lengths.sum())
    return {"tokens": tokens, **{name: statistics.median(times) for name, times in seconds.items()}}


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the table; or, given a file, measure it and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    given = parser.parse_args()
    if given.file is None:
        print(markdown(rows(Options(given.base, quick=given.quick, threads=given.threads))))
        return
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(given.threads)}
    print(json.dumps(measured(given.base, given.file)))


if __name__ == "__main__":
    main()
