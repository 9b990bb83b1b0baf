"""Runs the benchmarks, prints their tables and writes docs/benchmarks.md.

    make bench        (or: python -m benchmarks [PART...] [--quick] [--base FOLDER] [--threads N] [--prefix WORDS])
    python -m benchmarks training --set short-system

Each part has a section of its own in the document, with the machine and the versions it was measured on, so one part
can be measured again without the others; so can one data set of the part that compares training: the rows about it
are replaced, and a line above the table says when and where. A quick run only prints. Knows nothing about what the
parts measure.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shlex
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.data_sets import TITLES
from benchmarks.table import Options, Row, markdown
from engine import starter

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
STARTER = ROOT / ".bench" / "starter"
PARTS = {
    "training": "Training",
    "generation": "Generation",
    "library": "Library",
    "page": "Page and command line",
    "data": "Data",
    "tokens": "Tokens",
}
HEADER = """# Benchmarks

`make bench` measures all of this in an environment of its own and writes this page; `python -m benchmarks --quick`
prints a shorter version of it. Both sides of every ratio are measured in the same run, in turns, and figures are
medians. A target that was missed says **no**: it is a finding, and what was tried about it is in `docs/decisions.md`.
"""


def main() -> None:
    """Measure the parts that were asked for, all of them by default."""
    given = _arguments()
    options = Options(given.base or _starter(), given.quick, given.threads, tuple(shlex.split(given.prefix)), given.set)
    for part in given.parts or PARTS:
        if importlib.util.find_spec(f"benchmarks.{part}") is None:
            continue
        rows: list[Row] = importlib.import_module(f"benchmarks.{part}").rows(options)
        section = _section(part, rows, options)
        print(section, flush=True)
        if given.set and not given.quick:
            write_some(DOCUMENT, part, TITLES[given.set], section)
        elif not given.quick:
            write(DOCUMENT, part, section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a few minutes; prints, and writes no document")
    parser.add_argument("--base", type=Path, help="folder of the starter model; if not given, fetched once")
    parser.add_argument("--threads", type=int, default=2, help="of every measured process")
    parser.add_argument("--prefix", default="", help="words before every measured command, like 'taskset -c 0,1'")
    parser.add_argument("--set", choices=list(TITLES), default="", help="of training: measure this data set alone")
    given = parser.parse_args()
    if given.set and given.parts != ["training"]:
        parser.error("--set is for training alone: python -m benchmarks training --set NAME")
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return given


def _starter() -> Path:
    """The starter model's folder; fetched and converted the first time."""
    if not (STARTER / "model.safetensors").is_file():
        STARTER.mkdir(parents=True, exist_ok=True)
        print("Fetching the starter model (92 MB), once.", flush=True)
        starter.fetch(STARTER, lambda *_: None)
    return STARTER


def _section(part: str, rows: list[Row], options: Options) -> str:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"## {PARTS[part]}\n\n{day}: {machine.described(options.threads)}\n\n{markdown(rows)}\n"


def write(document: Path, part: str, section: str) -> None:
    """Put a part's section in its place in the document; the others stay as they are."""
    kept = {}
    text = document.read_text("utf-8") if document.is_file() else ""
    for name, title in PARTS.items():
        _, found, after = text.partition(f"## {title}\n")
        if found:
            kept[name] = f"## {title}\n" + after.partition("\n## ")[0].rstrip() + "\n"
    kept[part] = section
    document.write_text("\n".join([HEADER, *(kept[name] for name in PARTS if name in kept)]), "utf-8")


def write_some(document: Path, part: str, about: str, section: str) -> None:
    """Put the rows of `section` whose first cell speaks of `about` in the place of those of the document.

    Raises:
        SystemExit: if the document has no such rows, so that nobody could tell where they belong.
    """
    _, _, after = document.read_text("utf-8").partition(f"## {PARTS[part]}\n")
    old = after.partition("\n## ")[0].strip().splitlines()
    at = [number for number, line in enumerate(old) if _speaks_of(line, about)]
    if not at:
        raise SystemExit(f"{document} has no rows about {about}. Measure the whole part first: benchmarks {part}")
    new = section.splitlines()
    told = f"Rows about {about}, {new[2]}"
    kept = [line for number, line in enumerate(old) if number not in at and not line.startswith(f"Rows about {about},")]
    place = at[0] - sum(line.startswith(f"Rows about {about},") for line in old[: at[0]])
    lines = [*kept[:place], *(line for line in new if _speaks_of(line, about)), *kept[place:]]
    write(document, part, "\n".join([f"## {PARTS[part]}", "", lines[0], told, *lines[1:], ""]))


def _speaks_of(line: str, about: str) -> bool:
    return line.startswith("| ") and about in line.split(" | ")[0]


if __name__ == "__main__":
    main()
