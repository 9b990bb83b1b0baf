"""What a part of the benchmarks hands over, and how it becomes a table of docs/benchmarks.md.

A part is a module with `def rows(options: Options) -> list[Row]`. Knows nothing about what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HEADS = ("What", "LoRA Studio", "Other", "Ratio", "Target", "Met")


@dataclass(frozen=True)
class Options:
    """What the person at the command line chose.

    Attributes:
        base: the folder of the starter model, ready to load.
        quick: a few minutes in all: fewer rounds, steps and rows.
        threads: of every process that computes.
        prefix: words put before each command that is measured, such as `taskset -c 0,1`.
        set: the one data set that training is compared on; all if empty.
    """

    base: Path
    quick: bool = False
    threads: int = 2
    prefix: tuple[str, ...] = ()
    set: str = ""


@dataclass(frozen=True)
class Row:
    """One measured thing. Texts as they are shown; empty where there is nothing to say.

    Attributes:
        what: what was measured, in words, with its size.
        ours: the figure with its unit.
        other: the same of what it is held against, and its name.
        ratio: of the two, such as "2.1 x".
        target: what was aimed at, such as ">= 2.0 x".
        met: None where there is no target, or it could not be measured here.
    """

    what: str
    ours: str
    other: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown. A target that was missed says so in bold."""
    return "\n".join([_line(HEADS), _line(["---"] * len(HEADS)), *(_line(_cells(row)) for row in rows)])


def _cells(row: Row) -> list[str]:
    met = "" if row.met is None else "yes" if row.met else "**no**"
    return [row.what, row.ours, row.other, row.ratio, row.target, met]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
