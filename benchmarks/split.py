"""What it costs to keep near copies on one side of the line, over many rows, some of which are near copies.

    python -m benchmarks.split [--rows 1000000]

Rows are made of tokens as often as words are in a language (Zipf), with a system prompt that all share; in one of a
hundred a few tokens differ from the row before it. No base model is needed: the line is drawn from tokens.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.machine import described
from benchmarks.table import Row, markdown
from engine.data.near import NearRows
from engine.data.split import split
from engine.data.tokens import TokenRows, Tokens

MANY = 1_000_000
LENGTH, SYSTEM, VOCABULARY = 60, 20, 49_152  # tokens
SHARE, SEED = 0.1, 0
COPIED = 100  # one row of so many is a near copy


def made(count: int) -> TokenRows:
    """The rows; those after a multiple of COPIED differ from the one before them in two tokens."""
    draw = np.random.default_rng(SEED)
    often = np.cumsum(1 / (np.arange(VOCABULARY) + 2.7))
    ids = np.searchsorted(often / often[-1], draw.random((count, LENGTH), np.float32)).astype(np.int32)
    ids = np.minimum(ids, VOCABULARY - 1)
    ids[:, :SYSTEM] = np.arange(SYSTEM)
    copies = np.arange(1, count, COPIED)
    ids[copies, : LENGTH - 2] = ids[copies - 1, : LENGTH - 2]
    lengths, starts = np.full(count, LENGTH), np.arange(count) * LENGTH
    file = Tokens(ids.reshape(-1), np.ones(ids.size, np.bool_))
    counts = np.stack([lengths, lengths, lengths, np.arange(count)])
    return TokenRows([file], np.stack([np.zeros_like(starts), starts]), counts)


def rows(count: int) -> list[Row]:
    """The rows of the table."""
    given = made(count)
    marks = given.marks.tolist()
    began = time.perf_counter()
    plain = split(marks, SHARE, SEED)
    between = time.perf_counter()
    line = split(marks, SHARE, SEED, [count], NearRows(given, [count]).of)
    took = time.perf_counter() - between
    parted = sum((copy in line.train) != (copy - 1 in line.train) for copy in _near_the_line(line.validation, count))
    what = f"{count:,} rows of {LENGTH} tokens, {len(line.validation)} kept aside"
    return [
        Row(f"{what}, only copies kept together", f"{between - began:.1f} s"),
        Row(f"{what}, near copies too", f"{took:.1f} s"),
        Row("Near copies parted by the line", f"{parted}", "", "", "0", parted == 0),
        Row("Rows kept aside otherwise than by the seed alone", f"{len(set(line.validation) - set(plain.validation))}"),
    ]


def _near_the_line(validation: list[int], count: int) -> list[int]:
    """The near copies that are kept aside, or whose original is."""
    near = {row if row % COPIED == 1 else row + 1 for row in validation if row % COPIED in (0, 1)}
    return sorted(copy for copy in near if copy < count)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=MANY)
    given = parser.parse_args()
    print(described(1), end="\n\n")
    print(markdown(rows(given.rows)))


if __name__ == "__main__":
    main()
