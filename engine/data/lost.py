"""What is lost of the rows of a run, and from when on it is much: rows that are cut, and rows left without an answer.

Knows nothing about tokens: it is told how many rows there are of each.
"""

from __future__ import annotations

MUCH = 0.2  # share of the rows, beyond which it is warned of


def warnings(rows: int, cut: int, masked: int, length: int) -> list[str]:
    """A sentence for each loss that concerns much of the rows.

    Args:
        cut: rows that are longer than `length` tokens, and lose their end.
        masked: rows that are left with nothing to learn.
    """
    told = []
    if cut > MUCH * rows:
        told.append(
            f"{_share(cut, rows)} are longer than {length:,} tokens and lose their end. "
            "Raise Length to keep them whole."
        )
    if masked > MUCH * rows:
        told.append(
            f"{_share(masked, rows)} are left with nothing to learn and are passed over. Their answers are cut off, "
            "empty, or have the weight 0."
        )
    return told


def _share(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} rows ({count / rows:.0%})".replace("%", "\N{NO-BREAK SPACE}%")
