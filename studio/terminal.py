"""What the command line shows: tables and answers as plain text on stdout, sentences on stderr.

Text made by people or models never reaches the terminal with its control characters. Knows nothing of the library.
"""

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any


def say(sentence: str) -> None:
    """A sentence for the person, on stderr."""
    print(plain(sentence), file=sys.stderr, flush=True)


def print_json(record: object) -> None:
    """One JSON value on stdout, and nothing else."""
    json.dump(record, sys.stdout, ensure_ascii=False, indent=2)
    print(flush=True)


def show(as_json: bool, record: object, text: str) -> None:
    """The answer of a command on stdout: `record` as JSON, or else `text`."""
    if as_json:
        print_json(record)
    else:
        print(text)


def plain(text: str) -> str:
    """`text` without the control characters that make a terminal do things; line ends and tabs stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)


def facts(record: dict[str, Any]) -> str:
    """What a record says, a line each; what is empty, or told by another line, is left out."""
    shown = {key: value for key, value in record.items() if key != "mixture" and value not in (None, "", {}, [])}
    return "\n".join(f"{key:<11}{plain(_short(value))}" for key, value in shown.items())


def _short(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items() if v is not None) if isinstance(value, dict) else str(value)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns of plain text, two spaces apart, under their heads; None is left empty."""
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else plain(str(value)).replace("\n", " ")


def side_by_side(heads: Sequence[str], texts: Sequence[str], width: int | None = None) -> str:
    """Texts in columns next to each other, each wrapped to its share of `width` characters (default: the terminal)."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    share = max(20, (width - 3 * (len(heads) - 1)) // len(heads))
    columns = [
        [*_wrapped(head, share), "-" * share, *_wrapped(text, share)] for head, text in zip(heads, texts, strict=True)
    ]
    lines = zip_longest(*columns, fillvalue="")
    return "\n".join(" | ".join(cell.ljust(share) for cell in line).rstrip() for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return [line for part in plain(text).expandtabs(4).splitlines() for line in textwrap.wrap(part, width) or [""]]
