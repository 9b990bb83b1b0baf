"""How long the rows of a data set are in tokens: a histogram, what is cut, and what is left without an answer.

Knows nothing about how rows became tokens, or about a page that draws them.
"""

from typing import Any

import numpy as np

from engine.data.lost import warnings
from engine.data.tokens import Numbers, TokenRows

MOST_LISTED = 100  # rows that are listed by number; beyond that only how many there are
MOST_BINS = 40


def lengths(kept: TokenRows, length: int) -> dict[str, Any]:
    """Figures of rows that were cut to `length` tokens; rows are numbered from 0.

    Returns:
        rows; tokens and answer_tokens of all rows as they are cut; max and p95 (tokens that 95 % of the rows do not
        exceed) before; bins as [from, to, count], `to` not included; cut (rows longer than `length`) and masked (rows
        without anything to learn), the first 100 of each by number, and how many there are as cut_total and
        masked_total; cut_lengths, tokens of the rows that are listed as cut; length; warnings, see `lost.py`.
    """
    whole = kept.full_lengths
    cut, masked = whole > length, kept.answers == 0
    return {
        "rows": len(kept),
        "tokens": int(kept.lengths.sum()),
        "answer_tokens": int(kept.answers.sum()),
        "max": int(whole.max(initial=0)),
        "p95": int(np.quantile(whole, 0.95, method="inverted_cdf")) if len(whole) else 0,
        "bins": _bins(whole),
        **_listed("cut", cut),
        "cut_lengths": whole[cut][:MOST_LISTED].tolist(),
        **_listed("masked", masked),
        "length": length,
        "warnings": warnings(len(kept), int(cut.sum()), int(masked.sum()), length),
    }


def _bins(whole: Numbers) -> list[list[int]]:
    if not len(whole):
        return []
    width = _round_width(int(whole.max()) + 1)
    first, last = int(whole.min()) // width, int(whole.max()) // width
    counts = np.bincount(whole // width - first, minlength=last - first + 1).tolist()
    return [[(first + at) * width, (first + at + 1) * width, count] for at, count in enumerate(counts)]


def _round_width(most: int) -> int:
    """The least of 1, 2, 5, 10, 20, 50, ... with which MOST_BINS bins reach as far as `most`."""
    widths = (unit * power for power in (1, 10, 100, 1000, 10_000, 100_000, 10**6, 10**7) for unit in (1, 2, 5))
    return next(width for width in widths if width * MOST_BINS >= most)


def _listed(name: str, which: Numbers) -> dict[str, Any]:
    (rows,) = which.nonzero()
    return {name: rows[:MOST_LISTED].tolist(), f"{name}_total": len(rows)}
