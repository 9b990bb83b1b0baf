"""What came of a run over a suite, in a terminal: waited for, then its scores, who is better, and what a judge says.

A part of the command line; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.deferred import Deferred
from studio.edge import CommandFailed
from studio.terminal import plain, show, table

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.suite_tables import SuiteRun
    from studio import asking, suite_results, suites
else:
    asking, suite_results = Deferred("studio.asking"), Deferred("studio.suite_results")
    suites = Deferred("studio.suites")


def see_through(store: Store, run: SuiteRun, detach: bool, as_json: bool) -> None:
    """Wait for a run and show what came of it; with `detach` only its number. CommandFailed if it broke off."""
    if detach:
        show(as_json, suite_results.summary(store, run), str(run.id))
        return
    job = suites.job_of(store, run)
    assert job is not None
    ended = asking.wait(store, job)
    run = store.suite_run(run.id)
    show_result(store, run, as_json)
    if ended.state != "completed":
        on = f"To go on: python -m studio suites continue {run.id}"
        raise CommandFailed(f"Run {run.id} was not answered to its end ({ended.state}). {on}")


def show_result(store: Store, run: SuiteRun, as_json: bool) -> None:
    """What a run tells so far."""
    told = suite_results.result(store, run)
    heads = ("Contestant", *(one["title"] for one in told["scores"]))
    means = [[one["means"][place]["words"] for one in told["scores"]] for place in range(len(told["names"]))]
    rows = [(name, *words) for name, words in zip(told["names"], means, strict=True)]
    sentences = [f"{one['title']}: {sentence}" for one in told["scores"] for sentence in one["sentences"]]
    parts = [f"{told['name']}, run {run.id}. {told['says']}", table(heads, rows), *sentences]
    parts += [f"{told['failed']} could not be asked. {' '.join(told['problems'])}"] if told["failed"] else []
    parts += _judged(told["judge"]) if told["judge"] else []
    show(as_json, told, plain("\n".join([*parts, *filter(None, [told["note"] if told["scores"] else ""])])))


def _judged(told: dict[str, Any]) -> list[str]:
    rows = [
        (row["name"], row["words"], row["won"], row["lost"], row["undecided"], row["left_out"]) for row in told["rows"]
    ]
    heads = (f"Against {told['against']}, by {told['name']}", "Win rate", "Better", "Worse", "No verdict", "Not judged")
    return ["", table(heads, rows), *(row["said"] for row in told["rows"]), *told["sentences"], told["note"]]
