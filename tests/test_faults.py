"""The short campaign of faults: random kills, every point of a run and of a migration once, and a race for the queue.

    pytest tests/test_faults.py

`make faults` is the long one.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import claims, kills, suites, sweep
from tests.faults.kills import Tally
from tests.faults.nursery import Nursery
from tests.faults.sweep import Swept
from tests.faults.yard import Yard


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "0")


def test_runs_whose_workers_are_killed_at_random_end_as_if_they_had_not_been(nursery: Nursery, tmp_path: Path) -> None:
    tally, seed = Tally(), random.randrange(10**6)
    kills.of_workers(nursery, tmp_path, 12, random.Random(seed), tally, recipes=1)
    assert tally.violations == [], f"seed {seed}"
    assert tally.kills.total() == 12


def test_a_suite_whose_worker_is_killed_ends_with_the_answers_of_one_that_nobody_touched(
    nursery: Nursery, tmp_path: Path
) -> None:
    tally, seed = Tally(), random.randrange(10**6)
    suites.of_suites(nursery, tmp_path, 2, random.Random(seed), tally)
    assert tally.violations == [], f"seed {seed}"
    assert tally.kills["worker of a suite"] == 2


def test_runs_go_on_whether_their_runner_or_both_are_killed(nursery: Nursery, tmp_path: Path) -> None:
    tally, seed = Tally(), random.randrange(10**6)
    kills.of_processes(nursery, tmp_path, 3, random.Random(seed), tally)
    assert tally.violations == [], f"seed {seed}"
    assert tally.kills.total() == 3


def test_a_fault_at_any_point_of_a_run_costs_nothing(nursery: Nursery, tmp_path: Path) -> None:
    yard, swept = Yard(tmp_path / "data", nursery), Swept()
    try:
        sweep.of_a_run(yard, sweep.once_each(sweep.plan(sweep.points_of_a_run(yard), 1)), swept)
    finally:
        yard.close()
    assert swept.violations == []
    for point in ("fsync checkpoints/manifest.json", "rename to adapters", "write adapters/adapter_model.safetensors"):
        assert point in swept.points


def test_a_fault_at_any_point_of_a_migration_leaves_the_old_library_or_the_new(
    nursery: Nursery, tmp_path: Path
) -> None:
    swept = Swept()
    sweep.of_a_migration(nursery, tmp_path / "migration", swept, every_statement=False)
    assert (swept.violations, swept.missed) == ([], [])
    assert swept.met["kill"] > 5 < swept.met["full"] + 3


def test_processes_that_race_for_the_queue_get_each_job_once(nursery: Nursery, tmp_path: Path) -> None:
    told = claims.race(nursery, tmp_path / "data", processes=4, jobs=40)
    assert (told["double"], told["missed"], told["locked"]) == (0, 0, 0)
