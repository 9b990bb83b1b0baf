"""Files of many rows: how soon their format and first rows are shown, and what reading all of them takes and holds.

    python -m benchmarks.data [--quick]

Everything is measured in a process of its own, files warm, by the clock and by the most memory that the process held
beyond what it held before. Nothing stands beside it: what is measured is how long a person waits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.table import Options, Row, markdown

MANY, TWICE = 1_000_000, 2_000_000
QUICK = 50_000
PREVIEW, MEMORY = 3.0, 300e6
WORDS = "the sea wind bay heron moth stone path tide nest moor gull slate cove rain oar lamp"
KINDS = ("JSONL", "JSON list", "CSV", "JSONL in gzip", "Parquet")


def rows(options: Options) -> list[Row]:
    """The rows of the table."""
    few, many = (QUICK, 2 * QUICK) if options.quick else (MANY, TWICE)
    with tempfile.TemporaryDirectory(prefix="data-") as folder:
        made = {kind: write(Path(folder) / "rows", kind, few) for kind in KINDS}
        table = [_preview_row(kind, few, path, options) for kind, path in made.items()]
        large = write(Path(folder) / "large", "JSONL", many)
        return [*table, *_reading_rows(many, large, options)]


def _preview_row(kind: str, count: int, path: Path, options: Options) -> Row:
    seconds = _measured("preview", path, options)["seconds"]
    what = f"Format and first rows of {count:,} short rows, {kind}"
    return Row(what, f"{seconds:.2f} s", target=f"<= {PREVIEW:.0f} s", met=seconds <= PREVIEW)


def _reading_rows(count: int, path: Path, options: Options) -> list[Row]:
    told = _measured("read", path, options)
    what = f"{count:,} short rows read, checked and kept, JSONL of {path.stat().st_size / 1e6:,.0f} MB"
    took = Row(what, f"{told['seconds']:.1f} s", ratio=f"{count / told['seconds']:,.0f} rows a second")
    if told["bytes"] is None:
        return [took, Row("Memory for that", "not measured: needs Linux")]
    met = told["bytes"] <= MEMORY
    return [
        took,
        Row("Memory for that", f"{told['bytes'] / 1e6:.0f} MB more", target=f"<= {MEMORY / 1e6:.0f} MB", met=met),
    ]


def _measured(what: str, path: Path, options: Options) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(processes.run("benchmarks.data", [what, "--file", str(path)], options))
    return told


def write(stem: Path, kind: str, count: int) -> Path:
    """A file of `count` questions and answers of a dozen words."""
    path = stem.with_suffix(f".{kind.lower().replace(' ', '-')}")
    if kind == "Parquet":
        _write_parquet(path, count)
        return path
    opening = gzip.open if kind == "JSONL in gzip" else open
    with opening(path, "wt", encoding="utf-8") as out:
        out.writelines(_lines(kind, count))
    return path


def _lines(kind: str, count: int) -> Iterator[str]:
    if kind == "CSV":
        yield "prompt,completion\n"
        yield from (f'"{row["prompt"]}","{row["completion"]}"\n' for row in _made(count))
    elif kind == "JSON list":
        yield "["
        yield from (f"{',' if number else ''}{json.dumps(row)}" for number, row in enumerate(_made(count)))
        yield "]"
    else:
        yield from (f"{json.dumps(row)}\n" for row in _made(count))


def _write_parquet(path: Path, count: int) -> None:
    import pyarrow
    from pyarrow import parquet

    made = _made(count)
    schema = pyarrow.schema([("prompt", pyarrow.string()), ("completion", pyarrow.string())])
    with parquet.ParquetWriter(path, schema) as out:
        while some := list(islice(made, QUICK)):
            out.write_table(pyarrow.Table.from_pylist(some, schema))


def _made(count: int) -> Iterator[dict[str, str]]:
    draw, words = random.Random(0), WORDS.split()
    texts = [" ".join(draw.choices(words, k=draw.randint(4, 12))) for _ in range(1000)]
    return ({"prompt": f"{draw.choice(texts)} {n}?", "completion": draw.choice(texts)} for n in range(count))


# --- what runs in a process of its own ------------------------------------------------------------------------------


def main() -> None:
    """Measure and print the table; or measure one file and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("preview", "read"))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    given = parser.parse_args()
    if given.what is None:
        print(markdown(rows(Options(Path(), quick=given.quick))))
    else:
        print(json.dumps(_taken(_preview if given.what == "preview" else _read, given.file)))


def _taken(work: Callable[[Path], object], file: Path) -> dict[str, Any]:
    """Seconds, and the most bytes held beyond those before."""
    from benchmarks.machine import high_water, reset_high_water

    before, began = reset_high_water(), time.perf_counter()
    work(file)
    seconds, most = time.perf_counter() - began, high_water()
    return {"seconds": seconds, "bytes": None if before is None or most is None else most - before}


def _preview(file: Path) -> None:
    from engine.data.check import preview

    assert preview(file).rows


def _read(file: Path) -> None:
    from adapters_store.store import Store
    from jobs.adding_data import add_now

    with tempfile.TemporaryDirectory(prefix="library-") as folder:
        store = Store(Path(folder))
        add_now(store, file, "many")
        store.close()


if __name__ == "__main__":
    main()
