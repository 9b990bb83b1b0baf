"""A grid of runs: each combination of the values that some settings are given, on one base and one data set.

All combinations, and that there is room for them in the queue, are checked before the first is queued. Knows nothing
about widgets or options; what one run is stands in `actions.py`.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters_store import store_grids
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Weighted
from engine.settings import RunSettings, SettingsError
from jobs.progress import duration
from studio import actions, mixtures
from studio.words import clean_name

MOST_RUNS = 100  # in one grid
LOOKED_AT = 50  # ended runs, the newest, for one on the same base
Values = Mapping[str, object]


@dataclass(frozen=True)
class Run:
    """One run of a grid: the settings it was given, its name, how many steps it takes at most, and of how many rows."""

    values: Values
    name: str
    steps: int
    batch: int


def read(texts: Sequence[str]) -> dict[str, list[str]]:
    """`["rank=4,8", "dropout=0,0.1"]` as settings with their values.

    Raises:
        SettingsError: with every text that names no setting or gives it no values.
    """
    lists: dict[str, list[str]] = {}
    problems = []
    for text in texts:
        name, _, listed = text.partition("=")
        name, values = name.strip().replace("-", "_"), [part.strip() for part in listed.split(",") if part.strip()]
        if name not in RunSettings.model_fields:
            problems.append(f"There is no setting called {name or text}.")
        elif not values:
            problems.append(f"{name} has no values. Write it like rank=4,8,16.")
        elif name in lists:
            problems.append(f"{name} is given twice. Write all of its values in one list.")
        lists[name] = list(dict.fromkeys(values))
    if problems:
        raise SettingsError(problems)
    return lists


def combinations(values: Values, lists: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """`values` with each combination of the lists' values in their place, the last list changing fastest."""
    return [
        {**values, **dict(zip(lists, chosen, strict=True))} for chosen in itertools.product(*map(list, lists.values()))
    ]


def plan(
    base: BaseModel,
    data: DataSet,
    values: Values,
    lists: Mapping[str, Sequence[object]],
    name: str = "",
    start: Adapter | None = None,
    mixture: Sequence[Weighted] = (),
) -> list[Run]:
    """The runs of a grid, checked; with `start` each of them goes on from that adapter. `mixture` as in `start_run`.

    Raises:
        SettingsError: all that is wrong with any of them, each problem once.
        ActionError: more than MOST_RUNS.
    """
    count = math.prod(map(len, lists.values()))
    if count > MOST_RUNS:
        raise actions.ActionError(f"This grid has {count:,} runs; {MOST_RUNS} are the most. Give fewer values.")
    runs, problems, mixed = [], dict[str, None](), mixture or [Weighted(data, 1.0)]
    for given in combinations(values, lists):
        try:
            settings = actions.check_settings(base, mixed, given, start)
            told = "-".join(f"{key.replace('_', '-')}-{given[key]}" for key in lists)
            called = clean_name(f"{name or mixtures.called(mixed)}-{told}", "run")
            runs.append(Run(given, called, _steps(mixed, settings), settings.batch_size))
        except SettingsError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise SettingsError(list(problems))
    return runs


def says(runs: Sequence[Run]) -> str:
    """How much a grid is, for the question before it is queued."""
    least, most = (pick(run.steps for run in runs) for pick in (min, max))
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'} of about {each} steps each."


def takes(store: Store, base: BaseModel, runs: Sequence[Run]) -> str:
    """How long a grid takes, going by the newest run on the same base without an interruption; or that it is open."""
    ended = store.jobs(kinds=["train"], states=["completed", "stopped"], limit=LOOKED_AT)
    known = next((job for job in ended if job.base_model_id == base.id and _row_seconds(job)), None)
    if known is None:
        return "How long they take is known once a run on this base has ended."
    seconds = _row_seconds(known) * sum(run.steps * run.batch for run in runs)
    return f"About {duration(seconds)} in all, going by {known.name}."


def _row_seconds(job: Job) -> float:
    """Seconds that a row of this run took, with its share of loading and saving; 0 where that is not known."""
    rows = int(job.progress.get("step") or 0) * int(job.settings.get("batch_size") or 0)
    if job.attempt != 1 or job.started_at is None or job.finished_at is None or not rows:
        return 0.0
    return (job.finished_at - job.started_at) / rows


def queue(
    store: Store,
    base: BaseModel,
    data: DataSet,
    runs: Sequence[Run],
    start: Adapter | None = None,
    mixture: Sequence[Weighted] = (),
    *,
    stops: bool = False,
    name: str | None = None,
) -> list[Job]:
    """Queue the runs of a plan, in its order, as one grid called `name`; asking again with a name queues them once.

    With `stops`, those that still wait are cancelled as soon as one of them fails; else the others go on.

    Raises:
        ActionError, QueueFull, NotFound: as `actions.start_run`. If others have filled the queue meanwhile, the runs
            queued before stay.
    """
    store.check_line(len(runs))
    grid = name or secrets.token_hex(8)
    if stops:
        store.remember(store_grids.stops(grid), True)
    return [
        actions.start_run(
            store,
            base_model_id=base.id,
            data_set_id=data.id,
            values=run.values,
            name=run.name,
            key=f"grid-{grid}-{number}",
            start_adapter_id=start.id if start else None,
            grid=grid,
            mixture=mixtures.weights(mixture),
        )
        for number, run in enumerate(runs)
    ]


def _steps(mixture: Sequence[Weighted], settings: RunSettings) -> int:
    """Optimizer steps, if every row can be learned from."""
    learned = mixtures.rows_an_epoch(mixture, settings.validation_share)
    return math.ceil(learned / settings.batch_size) * settings.epochs
