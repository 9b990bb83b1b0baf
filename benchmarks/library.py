"""A library of 10,000 adapters and 1,000,000 metric rows: how long a search, a page of it and a curve take.

    python -m benchmarks.library [--quick]

Measured in the store, by the clock, in one process; the rows are made first, in a folder of its own that goes in the
end. Nothing stands beside it: what is measured is how long a person waits.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from adapters_store.store import AdapterSort, Store
from adapters_store.store_curves import MOST_POINTS
from benchmarks.stocked import stock
from benchmarks.table import Options, Row, markdown
from studio import live_chart

ADAPTERS, METRICS, LONGEST = 10_000, 1_000_000, 100_000
SEARCHES = ("", "pirate", "haiku lora", "gemma", "news-rows-9", "legal qwen dora", "a", "e-1", "lora 99", "no such")
PAGE_ROWS = 200
SEARCH_MS, CURVE_MS = 50, 100


def rows(options: Options) -> list[Row]:
    """Every figure of the library."""
    rounds = 3 if options.quick else 15
    with tempfile.TemporaryDirectory(prefix="library-") as folder:
        store = stock(Path(folder), adapters=ADAPTERS, metrics=METRICS, longest=LONGEST)
        try:
            return [*_searches(store, rounds), *_curves(store, rounds), *_polls(store, rounds)]
        finally:
            store.close()


def _searches(store: Store, rounds: int) -> Iterator[Row]:
    asked = list(itertools.product(SEARCHES, AdapterSort, (True, False)))[:: 1 if rounds > 3 else 5]

    def search(words: str, sort: AdapterSort, descending: bool) -> object:
        return store.adapters(search=words, sort=sort, descending=descending, limit=PAGE_ROWS)

    search(*asked[0])
    times = [_ms_of(partial(search, *given)) for given in asked]
    middle, slow = statistics.median(times), _percentile(times, 95)
    what = f"search of {ADAPTERS:,} adapters, first {PAGE_ROWS} rows and the count, {len(asked)} searches"
    yield Row(f"{what}, middle", _ms(middle))
    yield _row(f"{what}, 95th percentile", slow, SEARCH_MS)
    yield Row("the library as it opens, newest first", _ms(_median(lambda: store.adapters(limit=PAGE_ROWS), rounds)))


def _curves(store: Store, rounds: int) -> Iterator[Row]:
    job = store.job(1)
    whole = _median(lambda: store.curve(job.id), rounds)
    yield _row(f"curve of {LONGEST:,} steps in {MOST_POINTS:,} points, least and greatest kept", whole, CURVE_MS)
    near = _median(lambda: store.curve(job.id, after=40_000, until=45_000), rounds)
    yield Row("5,000 of its steps, zoomed into", _ms(near))
    page = _median(lambda: live_chart.curve(store, job, "", -1), rounds)
    yield Row("the whole curve as the page gets it, numbers shortened", _ms(page))
    newest = LONGEST - 4
    delta = _median(lambda: live_chart.curve(store, job, live_chart.series(job), newest), rounds)
    yield Row("what is new of it, 4 steps", _ms(delta))


def _polls(store: Store, rounds: int) -> Iterator[Row]:
    yield Row("whether anything changed", _ms(_median(store.changed, 10 * rounds)))
    yield Row(f"the newest 200 of {ADAPTERS:,} jobs", _ms(_median(lambda: store.jobs(limit=200), rounds)))


def _row(what: str, found: float, most: float) -> Row:
    return Row(what, _ms(found), target=f"<= {most:g} ms", met=found <= most)


def _median(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds of the middle one of several, after one that does not count."""
    work()
    return statistics.median(_ms_of(work) for _ in range(rounds))


def _ms_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[math.ceil(len(times) * share / 100) - 1]


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    print(markdown(rows(Options(Path(), quick=parser.parse_args().quick))))


if __name__ == "__main__":
    main()
