"""A fault at every point in turn: each passing of each point of one run, then of one migration.

First a run that nobody touches tells which points there are. Then each is met once by SIGKILL, once by a full disk and
once by one that can only be read, as many to a job as it lives through. Knows no random numbers.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from adapters_store.database import known_schemas, schema_of
from adapters_store.errors import StoreError
from adapters_store.states import FINAL
from adapters_store.store import Store
from jobs import process
from tests.faults.nursery import Nursery
from tests.faults.points import KINDS, Fault, How
from tests.faults.yard import SHORT, Yard
from tests.test_migrations import first_columns, first_library

HOWS: tuple[How, ...] = ("kill", "full", "read-only")


@dataclass
class Swept:
    """What was met and what came of it."""

    met: Counter[str] = field(default_factory=Counter)  # faults that happened, by how
    points: set[str] = field(default_factory=set)
    missed: list[str] = field(default_factory=list)  # faults that were planned and did not come up
    violations: list[str] = field(default_factory=list)


def points_of_a_run(yard: Yard) -> Counter[str]:
    """How often one run passes each point that writes a checkpoint or an adapter, or commits."""
    job = yard.submit(SHORT)
    told = yard.nursery.told = yard.store.files.root / "points"
    yard.attempt(job.id)
    passed = Counter(told.read_text().splitlines())
    return Counter({point: n for point, n in passed.items() if point.startswith("commit") or _of_ours(point)})


def _of_ours(point: str) -> bool:
    return any(kind in point for kind in KINDS)


def plan(passed: Counter[str], passings: int) -> list[Fault]:
    """Each point at its first `passings` passings by each kind of fault, what lies at the end of a run last."""
    faults = []
    for point, times in passed.items():
        faults += [Fault(point, n + 1, how) for n in range(min(times, passings)) for how in _hows(point)]
    return sorted(faults, key=lambda fault: "adapter" in fault.point)


def once_each(faults: list[Fault]) -> list[Fault]:
    """Of the faults one for each point, the kinds in turn."""
    by_point: dict[str, list[Fault]] = {}
    for fault in faults:
        by_point.setdefault(fault.point, []).append(fault)
    return [kinds[place % len(kinds)] for place, kinds in enumerate(by_point.values())]


def _hows(point: str) -> tuple[How, ...]:
    """After a commit, and between two statements, there is nothing left that a disk could refuse."""
    return HOWS[:1] if point.startswith(("committed", "statement")) else HOWS


def of_a_run(yard: Yard, faults: Iterable[Fault], swept: Swept) -> None:
    """Meet a run by one fault after another; a run that has ended is looked at, and the next one is begun."""
    job_id: int | None = None
    for fault in faults:
        for _ in range(2):  # what a run that goes on does not pass, one from the beginning does
            if job_id is None:
                job_id = yard.submit(SHORT).id
            kept = yard.store.job(job_id).checkpoint_step
            came = yard.attempt(job_id, fault)
            if yard.store.job(job_id).state in FINAL:
                swept.violations += [f"{fault}: {wrong}" for wrong in _looked_at(yard, job_id, kept)]
                job_id = None
            if came:
                break
        _note(swept, fault, came)
    if job_id is not None:
        yard.finish(job_id)
        swept.violations += yard.violations(job_id)


def _note(swept: Swept, fault: Fault, came: bool) -> None:
    if came:
        swept.met[fault.how] += 1
        swept.points.add(fault.point)
    else:
        swept.missed.append(str(fault))


def _looked_at(yard: Yard, job_id: int, kept: int | None) -> list[str]:
    """What is wrong with a run that has ended; `kept` is the step of the checkpoint that its last attempt began with.

    Without one a disk that takes nothing may end it: nothing is lost, and it says why.
    """
    job = yard.store.job(job_id)
    if job.state == "failed" and kept is None and job.why:
        return yard.unsound()
    return yard.violations(job_id)


# --- migrations ---------------------------------------------------------------------------------------------------


def of_a_migration(nursery: Nursery, folder: Path, swept: Swept, every_statement: bool) -> None:
    """Bring a library of the first release to the newest schema, with a fault at each point."""
    folder.mkdir()
    first = folder / "library" / "studio.db"
    first_library(first, folder)
    passed = _points_of_a_migration(nursery, first, folder)
    for point, times in passed.items():
        for number in range(1, times + 1) if point != "statement" or every_statement else (1, times // 2):
            for how in _hows(point):
                _one_migration(nursery, first, folder / "one", Fault(point, number, how), swept)


def _points_of_a_migration(nursery: Nursery, first: Path, folder: Path) -> Counter[str]:
    copy = _copied(first, folder / "calm")
    told = nursery.told = folder / "passed"
    assert _migrate(nursery, copy) == 0
    return Counter(told.read_text().splitlines())


def _one_migration(nursery: Nursery, first: Path, folder: Path, fault: Fault, swept: Swept) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    copy, before = _copied(first, folder), first_columns(first)
    told = folder / "told"
    nursery.fault, nursery.told = fault, told
    _migrate(nursery, copy)
    _note(swept, fault, told.exists())
    found = schema_of(copy)
    if found not in ("0001", known_schemas()[-1]) or first_columns(copy) != before:
        swept.violations.append(f"{fault}: the library was left at schema {found}")
    try:
        Store(folder).close()
    except StoreError as error:
        swept.violations.append(f"{fault}: {error}")
        return
    if schema_of(copy) != known_schemas()[-1] or first_columns(copy) != before:
        swept.violations.append(f"{fault}: opened again, the library is not what it was")


def _copied(first: Path, folder: Path) -> Path:
    folder.mkdir()
    return Path(shutil.copy(first, folder / first.name))


def _migrate(nursery: Nursery, library: Path) -> int:
    command = process.module_command("tests.faults.migrating", str(library))
    return nursery.fork(command, library.with_suffix(".log")).wait()
