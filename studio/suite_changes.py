"""What two runs over the same suite answered differently, prompt by prompt, with the words that changed.

Knows nothing about widgets or options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteAnswer, SuitePrompt, SuiteRun
from engine.suites.prompts import SuiteError
from studio.word_diff import differences

Facts = dict[str, Any]


def changes(store: Store, run: SuiteRun, before: SuiteRun) -> Facts:
    """The answers of `run` that differ from those of `before`, and how many do not.

    Raises:
        SuiteError: the runs are over different suites, or are one and the same.
    """
    if run.suite_id != before.suite_id:
        raise SuiteError([f"Run {run.id} and run {before.id} are over different suites, so they do not compare."])
    if run.id == before.id:
        raise SuiteError([f"Run {run.id} is the same as itself. Name another run of its suite."])
    prompts = store.suite_prompts(run.suite_id)
    now, then = ({(one.prompt_id, one.place): one for one in store.suite_answers(id)} for id in (run.id, before.id))
    rows, same, missing = [], 0, 0
    met = pairs(run, before)
    for prompt in prompts:
        for place, earlier in met:
            one, other = now.get((prompt.id, place)), then.get((prompt.id, earlier))
            if one is None or other is None:
                missing += 1
            elif (one.text, one.problem) == (other.text, other.problem):
                same += 1
            else:
                rows.append(_row(prompt, place, one, other))
    return {
        "run": run.id,
        "before": before.id,
        "pairs": [{"place": a, "name": _name(run, a), "before": _name(before, b)} for a, b in met],
        "rows": rows,
        "same": same,
        "missing": missing,
        "says": _says(len(rows), same, missing),
    }


def pairs(run: SuiteRun, before: SuiteRun) -> list[tuple[int, int]]:
    """Which contestant of `run` is held against which of `before`: those of one name, then the rest in order."""
    free = list(range(len(before.people)))
    met: dict[int, int] = {}
    for place, person in enumerate(run.people):
        found = next((other for other in free if before.people[other]["name"] == person["name"]), None)
        if found is not None:
            met[place] = found
            free.remove(found)
    alone = [place for place in range(len(run.people)) if place not in met]
    met |= dict(zip(alone, free, strict=False))
    return sorted(met.items())


def question(prompt: SuitePrompt) -> str:
    """What a prompt asks, on its own: its last message."""
    messages: Sequence[dict[str, str]] = prompt.messages
    return messages[-1]["content"]


def _row(prompt: SuitePrompt, place: int, now: SuiteAnswer, then: SuiteAnswer) -> Facts:
    return {
        "key": f"{prompt.id}-{place}",
        "number": prompt.place + 1,
        "place": place,
        "prompt": question(prompt),
        "reference": prompt.reference,
        "before": then.text or then.problem,
        "now": now.text or now.problem,
        "diff": [list(one) for one in differences(then.text or then.problem, now.text or now.problem)],
        "scores": {key: [then.scores[key], score] for key, score in now.scores.items() if key in then.scores},
    }


def _name(run: SuiteRun, place: int) -> str:
    return str(run.people[place]["name"])


def _says(changed: int, same: int, missing: int) -> str:
    if not changed + same:
        return "Nothing was answered in both runs yet."
    left = f" {missing:,} are not in both runs." if missing else ""
    if not changed:
        return f"All {same:,} answers are the same.{left}"
    return f"{changed:,} of {changed + same:,} answers changed.{left}"
