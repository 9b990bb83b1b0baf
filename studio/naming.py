"""Contestants as people type them: `base`, `pirate-r8`, `pirate-r8@0.5`, `long-run:40`, `merged:12`.

Serves the command line. Knows nothing about what they are asked.
"""

from __future__ import annotations

from adapters_store.store import Store
from studio import asking, contestants, outsiders
from studio.contestants import Contestant
from studio.edge import UsageError


def one(store: Store, text: str) -> Contestant:
    """The contestant that `text` names, other than the base. UsageError if there is none."""
    name, at, strength = text.rpartition("@")
    if not at or not _is_number(strength):
        name, strength = text, "1"
    if not 0 <= float(strength) <= contestants.STRONGEST:
        raise UsageError(f"{text}: the strength is {strength}; it has to be from 0 to {contestants.STRONGEST:g}.")
    found = _outsider(store, name)
    if found is not None:
        return Contestant(found.base, None, float(strength), found)
    if name.startswith("base:"):
        return Contestant(asking.base_model(store, name.removeprefix("base:")), None)
    adapter = asking.adapter(store, name)
    return Contestant(adapter.base_model, adapter, float(strength))


def _outsider(store: Store, name: str) -> outsiders.Outsider | None:
    """A checkpoint as RUN:STEP, or a merged model as merged:JOB; None if the words are of neither kind."""
    first, colon, last = name.rpartition(":")
    if not colon or not last.isdecimal():
        return None
    if first == "merged":
        found = outsiders.find(store, "merged", int(last))
        if found is None:
            raise UsageError(f"Job {last} left no merged model, or its folder is gone. See: python -m studio jobs list")
        return found
    return _checkpoint(store, first, int(last))


def _checkpoint(store: Store, run: str, step: int) -> outsiders.Outsider:
    of_run = {row.id: row for row in store.checkpoints() if run in (store.job(row.job_id).name, str(row.job_id))}
    wanted = next((row.id for row in of_run.values() if row.step == step), None)
    found = outsiders.find(store, "checkpoint", wanted) if wanted is not None else None
    if found is None:
        steps = ", ".join(str(step) for step in sorted(row.step for row in of_run.values())) or "none"
        raise UsageError(
            f"There is no checkpoint of {run} at step {step}. Kept ones: {steps}. A run keeps its last two until it "
            "has ended, and those that are pinned (jobs pin) for good."
        )
    return found


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
