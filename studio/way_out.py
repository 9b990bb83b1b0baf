"""What can be done when there is no memory to answer beside a run: the CPU, waiting for the run, or pausing it.

A suite that is being answered counts as a run does, but for the pause, which it does not know.

Knows nothing about widgets, or about how much memory anything takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs.ask import AnswererError
from studio import comparing, line, room_beside
from studio.asked import Question

PERIOD = 1.0  # seconds between two looks whether a run has let go
WAYS = {"cpu": "Answer on the CPU", "wait": "Wait for the run", "pause": "Pause the run and answer"}
SUITE_WAYS = {"cpu": WAYS["cpu"], "wait": "Wait for the suite"}


def offered(store: Store, error: AnswererError, retry: dict[str, Any]) -> list[dict[str, Any]]:
    """The ways out of a refusal, for the page; none where nothing that is at work is the reason.

    Args:
        retry: how to ask the same again, which comes back with the choice.
    """
    if not error.about.get("run"):
        return []
    jobs = room_beside.at_work(store)
    words = WAYS if any(_can_pause(job) for job in jobs) or not jobs else SUITE_WAYS
    ways = words if error.about.get("no_room") == "cuda" else [way for way in words if way != "cpu"]
    return [{"key": way, "words": words[way], "retry": retry} for way in ways]


def _can_pause(job: Job) -> bool:
    return job.kind == "train" and job.state != "finishing"


def chosen(event: Any) -> tuple[str, dict[str, Any]]:
    """The way that was chosen, and how to ask again. Both come from outside."""
    data = event._data if isinstance(event._data, dict) else {}
    way, retry = data.get("way"), data.get("retry")
    return (way if way in WAYS else "wait"), (retry if isinstance(retry, dict) else {})


def prompt_of(event: Any) -> str:
    """The prompt that came with an event."""
    data = event._data if isinstance(event._data, dict) else {}
    return str(data.get("prompt") or "")


def question(store: Store, retry: dict[str, Any]) -> Question | None:
    """The question about a kept comparison to ask again; None if it was asked in the fields."""
    number, kind = retry.get("id"), retry.get("event")
    if not isinstance(number, int) or kind not in ("again", "reseed", "onwards"):
        return None
    kept = store.comparison(number)
    if kind == "onwards":
        return comparing.onwards(store, kept, str(retry.get("prompt") or ""))
    return comparing.again(store, kept) if kind == "again" else comparing.otherwise(store, kept)


def until_free(store: Store, way: str) -> Iterator[str]:
    """Wait until nothing is at work, pausing the runs if that is the way; gives what is waited for, in words."""
    if way == "cpu":
        return
    paused = {job.id: job.name for job in room_beside.at_work(store) if way == "pause" and _can_pause(job)}
    for number in paused:
        line.pause_run(store, number)
    while jobs := room_beside.at_work(store):
        yield f"Waiting for {jobs[0].name} to {'pause' if jobs[0].id in paused else 'end'}. Stop gives up."
        time.sleep(PERIOD)
    if paused:
        names, it = ", ".join(paused.values()), "them" if len(paused) > 1 else "it"
        yield f"{names} {'have' if len(paused) > 1 else 'has'} paused. Continue {it} on Runs."
