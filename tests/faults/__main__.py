"""The whole of it, and the counts into docs/reliability.md.

    python -m tests.faults [--kills 300] [--seed N]

Ends with 1 and names what did not hold, if anything did not; the document is written in any case.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import claims, drives, kills, locks, pages, suites, sweep
from tests.faults.kills import Tally
from tests.faults.nursery import Nursery
from tests.faults.record import Record, write
from tests.faults.sweep import Swept
from tests.faults.yard import Yard

PROCESSES_SHARE = 6  # one kill in so many is done to a runner and its worker as processes
PAGES_SHARE = 10  # and one in so many to the page, alone or with them
SUITES_SHARE = 15  # and one in so many to the worker of a suite
PASSINGS = 2  # of each point of a run; of a migration, all
PROCESSES, JOBS, ROUNDS = 6, 400, 5


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break it on purpose, and count.")
    parser.add_argument("--kills", type=int, default=300, help="random kills (default: 300)")
    parser.add_argument("--seed", type=int, default=20261122, help="from which their moments are drawn")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as name, Nursery() as nursery:
        folder = Path(name)
        record = Record(asked.seed, _killed(nursery, folder, asked.kills, random.Random(asked.seed)))
        record.run, record.migration = _swept(nursery, folder)
        with Nursery(*pages.MODULES) as housed:
            locks.of_locks(housed, folder, record.held)
        print(f"a library held {record.held.times} times", flush=True)
        drives.of_drives(folder, record.turned)
        print(f"a drive turned read-only {record.turned.times} times", flush=True)
        record.claims = [claims.race(nursery, folder / f"claims-{n}", PROCESSES, JOBS) for n in range(ROUNDS)]
    record.seconds = time.monotonic() - began
    write(record)
    for sentence in record.violations:
        print(sentence, file=sys.stderr)
    return 1 if record.violations else 0


def _killed(nursery: Nursery, folder: Path, count: int, draw: random.Random) -> Tally:
    tally = Tally()
    pairs, with_page, of_suites = (count // share for share in (PROCESSES_SHARE, PAGES_SHARE, SUITES_SHARE))
    with Nursery(*pages.MODULES) as housed:
        pages.of_pages(housed, folder, with_page, draw, tally)
    print(f"{tally.kills.total()} kills with the page in {tally.jobs} runs", flush=True)
    kills.of_processes(nursery, folder, pairs, draw, tally)
    print(f"{tally.kills.total()} kills with those of runner and worker in {tally.jobs} runs", flush=True)
    suites.of_suites(nursery, folder, of_suites, draw, tally)
    print(f"{tally.kills.total()} kills with those of suites in {tally.jobs} jobs", flush=True)
    kills.of_workers(nursery, folder, count - pairs - with_page - of_suites, draw, tally)
    print(f"{tally.kills.total()} kills in {tally.jobs} runs", flush=True)
    return tally


def _swept(nursery: Nursery, folder: Path) -> tuple[Swept, Swept]:
    run, migration = Swept(), Swept()
    yard = Yard(folder / "sweep", nursery)
    sweep.of_a_run(yard, sweep.plan(sweep.points_of_a_run(yard), PASSINGS), run)
    yard.close()
    print(f"{run.met.total()} faults at the points of a run", flush=True)
    sweep.of_a_migration(nursery, folder / "migration", migration, every_statement=True)
    print(f"{migration.met.total()} faults at the points of a migration", flush=True)
    return run, migration


if __name__ == "__main__":
    sys.exit(main())
