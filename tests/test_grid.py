"""A grid is every combination, checked whole, counted before it is queued, and compared as one.

pytest tests/test_grid.py
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_store import store_line
from adapters_store.errors import QueueFull
from adapters_store.store import Owner, Store
from adapters_store.tables import BaseModel, DataSet, Weighted
from engine.data.split import split
from engine.settings import SettingsError, parse
from jobs.ask import Answerer
from studio import cli, contestants, grid, run_group, runs_tab
from studio.actions import ActionError
from studio.page import Studio
from studio.runs_tab import answered, questions
from tests.furnish import add_adapter

pytestmark = pytest.mark.usefixtures("no_runner")


LISTS = st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))


@given(LISTS)
def test_a_grid_is_every_combination_once(lists: dict[str, list[int]]) -> None:
    found = grid.combinations({"z": 1, "a": "given before"}, lists)
    wanted = list(itertools.product(*lists.values()))
    assert [tuple(one[name] for name in lists) for one in found] == wanted
    assert all(one["z"] == 1 for one in found)


def test_lists_are_read_as_they_are_typed() -> None:
    read = grid.read(["rank=4, 8,8", "learning-rate=1e-4,2e-4"])
    assert read == {"rank": ["4", "8"], "learning_rate": ["1e-4", "2e-4"]}
    with pytest.raises(SettingsError) as refused:
        grid.read(["rank", "speed=9", "alpha=1", "alpha=2"])
    assert refused.value.problems == [
        "rank has no values. Write it like rank=4,8,16.",
        "There is no setting called speed.",
        "alpha is given twice. Write all of its values in one list.",
    ]


def test_the_names_tell_the_values_and_the_steps_are_counted(furnished: tuple[BaseModel, DataSet]) -> None:
    base, data = furnished
    runs = grid.plan(base, data, {"batch_size": 8}, {"rank": ["4", "8"], "epochs": ["1", "2"]})
    assert [run.name for run in runs] == [
        f"{data.name}-rank-{rank}-epochs-{epochs}" for rank in (4, 8) for epochs in (1, 2)
    ]
    assert runs[1].steps == 2 * runs[0].steps
    assert grid.says(runs) == f"4 runs of about {runs[0].steps} to {runs[1].steps} steps each."
    assert grid.says(runs[:1]) == f"1 runs of about {runs[0].steps} steps each.".replace("1 runs", "1 run")


@given(st.integers(1, 20_000), st.sampled_from([0, 0.01, 0.1, 0.5]), st.integers(1, 64))
def test_the_steps_are_those_of_the_engine(rows: int, share: float, batch: int) -> None:
    settings = parse({"validation_share": share, "batch_size": batch, "micro_batch": 1, "epochs": 3})
    learned = len(split(range(rows), share, settings.seed)[0])
    assert grid._steps([Weighted(DataSet(rows=rows), 1.0)], settings) == -(-learned // batch) * 3


def test_a_grid_is_refused_whole_with_each_problem_once(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    base, data = furnished
    with pytest.raises(SettingsError) as refused:
        grid.plan(base, data, {}, {"rank": ["0", "4"], "dropout": ["0", "7"]})
    assert len(refused.value.problems) == 2
    with pytest.raises(ActionError, match="This grid has 1,000 runs; 100 are the most"):
        grid.plan(base, data, {}, {name: [str(n) for n in range(10)] for name in ("rank", "alpha", "seed")})
    assert store.jobs() == []


def test_a_grid_that_has_no_room_is_not_begun(
    store: Store, furnished: tuple[BaseModel, DataSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "MOST_WAITING", 3)
    base, data = furnished
    runs = grid.plan(base, data, {}, {"rank": ["2", "4", "8", "16"]})
    with pytest.raises(QueueFull, match="4 more do not fit"):
        grid.queue(store, base, data, runs)
    assert store.jobs() == []
    jobs = grid.queue(store, base, data, runs[:3])
    assert [job.settings["rank"] for job in jobs] == [2, 4, 8]
    assert len({job.grid for job in jobs}) == 1
    assert [job.id for job in store.waiting()] == [job.id for job in jobs]


def test_what_a_grid_left_is_compared_at_one_press_best_first(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    base, data = furnished
    jobs = grid.queue(store, base, data, grid.plan(base, data, {}, {"rank": ["2", "4", "8"]}))
    losses = (2.0, None, 1.0)
    made = [
        add_adapter(store, base, data, job.name, job_id=job.id, validation_loss=loss)
        for job, loss in zip(jobs, losses, strict=True)
    ]
    add_adapter(store, base, data, "of no grid")
    assert [a.id for a in store.best_of_grid(jobs[0].grid or "")] == [made[2].id, made[0].id, made[1].id]
    ask: dict[str, Callable[[object], dict[str, Any]]] = {
        fn.__name__: answered(fn) for fn in questions(Studio(store, cast(Answerer, None), store.files.root))
    }
    assert ask["runs_state"]({"job": jobs[0].id})["open"]["grid"] == [made[2].id, made[0].id, made[1].id]
    for number in range(8):
        add_adapter(store, base, data, f"more-{number}", job_id=jobs[1].id, validation_loss=5.0 + number)
    best = ask["runs_state"]({"job": jobs[0].id})["open"]["grid"]
    assert best[:2] == [made[2].id, made[0].id]
    assert len(best) == 7  # with their base they fill a comparison
    event = cast(Any, SimpleNamespace(_data={"adapters": best}))
    people = contestants.with_base(store, runs_tab._numbers_of(event, "adapters"))
    assert [one.adapter.id for one in people if one.adapter] == best
    assert (len(people), contestants.problems(people)) == (8, [])
    alone = store.submit("train", "alone", {})
    opened = ask["runs_state"]({"job": alone.id})["open"]
    assert (opened["grid"], opened["group"]) == ([], [])


def test_the_runs_of_a_grid_are_one_table_with_what_they_differ_in_best_first(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    base, data = furnished
    jobs = grid.queue(store, base, data, grid.plan(base, data, {}, {"rank": ["2", "4"], "learning_rate": ["1e-4"]}))
    held = store.claim(jobs[1].id, Owner(1, 1.0, "boot"))
    assert held is not None
    store.report(jobs[1].id, held.token, progress={"best_validation_loss": 1.25})
    rows = run_group.table(store.jobs_of_grid(jobs[0].grid or ""))
    assert [(row["key"], row["given"], row["word"], row["validation"]) for row in rows] == [
        (jobs[1].id, "Rank (r) 4", "starting", "1.25"),
        (jobs[0].id, "Rank (r) 2", "queued", "–"),
    ]
    assert run_group.table(jobs[:1]) == []


def test_the_command_line_counts_a_grid_before_it_queues_it(
    store: Store, furnished: tuple[BaseModel, DataSet], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", furnished[1].name, "--data-dir", str(store.files.root), "--detach"]
    lists = ["--grid", "rank=4,8", "--grid", "learning_rate=1e-4,2e-4,3e-4"]
    assert cli.main([*command, *lists]) == 2
    asked = capsys.readouterr().err
    assert asked.startswith("6 runs of about ")
    assert asked.endswith("known once a run on this base has ended. To queue them, add --yes.\n")
    assert store.jobs() == []
    assert cli.main([*command, *lists, "--yes", "--json", "--epochs", "1"]) == 0
    jobs = json.loads(capsys.readouterr().out)
    assert [(job["settings"]["rank"], job["settings"]["learning_rate"]) for job in jobs] == [
        (rank, rate) for rank in (4, 8) for rate in (1e-4, 2e-4, 3e-4)
    ]
    assert {job["settings"]["epochs"] for job in jobs} == {1}
    assert len({job["grid"] for job in jobs}) == 1
    assert cli.main([*command, "--grid", "speed=9"]) == 2
