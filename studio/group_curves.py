"""The curves of a grid, laid over each other: the validation losses of each of its runs, and then only what is new.

The page says which curve of each run it holds and up to which step; the curve of a run that has ended is asked for
once. Keeps nothing between two calls. Knows nothing about drawing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters_store.states import LIVE
from adapters_store.store import Job, Store
from studio import live_chart
from studio.grid import MOST_RUNS
from studio.question import Answer, fields, whole

ENDED = ".ended"  # at the end of a curve's name: nothing will be added to it


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask."""

    def group_curves(question: object) -> Answer:
        """What the page does not have of the curves of the grid that a run belongs to."""
        asked = fields(question)
        job = store.job(whole(asked, "job", 1, 2**53 - 1))
        known = asked.get("known")
        if not isinstance(known, dict) or len(known) > MOST_RUNS:
            raise ValueError(f"What is known is said of each run by its number, of at most {MOST_RUNS} runs.")
        runs = store.jobs_of_grid(job.grid) if job.grid else []
        lines = [_line(store, one, *_held(known.get(str(one.id)))) for one in runs]
        steps = max((int(one.progress.get("steps") or 0) for one in runs), default=0)
        return {"steps": steps, "lines": [line for line in lines if line]}

    return [group_curves]


def _held(known: object) -> tuple[str, int]:
    """The name of the curve that the page holds of a run, and its last step."""
    name, step = known if isinstance(known, list) and len(known) == 2 else ("", -1)
    sound = isinstance(name, str) and isinstance(step, int) and -1 <= step < 2**53
    return (name, step) if sound else ("", -1)


def _line(store: Store, job: Job, held: str, last: int) -> dict[str, Any] | None:
    """What is new of one curve; None if nothing is. `reset` says that it comes from its start."""
    name = live_chart.series(job) + ("" if job.state in LIVE else ENDED)
    if name == held and name.endswith(ENDED):
        return None
    reset = name != held
    found = store.validations(job.id, after=-1 if reset else last)
    if not found and not reset:
        return None
    columns = live_chart.shortened({"step": [step for step, _ in found], "loss": [loss for _, loss in found]})
    return {"key": job.id, "series": name, "reset": reset, **columns}
