"""A judge as a score of a run over a suite: each contestant's answers beside those of one of them, prompt by prompt.

Who judges is chosen here, and what was read is told in words: the share of wins, and how far the judge can be trusted.
What a judge is asked is in `engine/suites/judge.py`. Knows nothing about widgets or options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteRun, SuiteVerdict
from engine.suites.judge import preferred
from engine.suites.prompts import SuiteError
from engine.votes import LEVEL, corrected, sign_test, wilson
from studio import judging, seating
from studio.contestants import Contestant
from studio.judging import Record

Facts = dict[str, Any]

NOTE = (
    "Win rates leave out prompts without a verdict; 95 % intervals by Wilson. Two-sided sign test, Holm over the "
    "contestants."
)


def choice(store: Store, who: Contestant, people: int, against: int) -> Facts:
    """A judge as it is kept with a run of so many contestants; the others are held `against` the one at that place.

    Raises:
        SuiteError: there are no two to compare.
    """
    if people < 2:
        raise SuiteError(["A judge compares two contestants or more. Choose another one beside this one."])
    if not 0 <= against < people:
        raise SuiteError(["Choose one of the contestants to hold the others against."])
    (sitting,) = seating.sittings(store, [who])
    return {
        "name": who.name,
        "value": who.value,
        "identity": who.identity,
        "base_model_id": who.base.id,
        "against": against,
        "payload": sitting.payload,
    }


def told(store: Store, run: SuiteRun) -> Facts | None:
    """What the judge of a run read so far; None where it has none."""
    if run.judge is None:
        return None
    read, names = store.suite_verdicts(run.id), [person["name"] for person in run.people]
    against = run.judge["against"]
    counts = {place: _counts(read, place) for place in range(len(names)) if place != against}
    sure = corrected([sign_test(one["won"], one["lost"]) for one in counts.values()])
    rows = [
        {"place": place, "name": names[place], **one, **_in_words(names[place], names[against], one, p)}
        for (place, one), p in zip(counts.items(), sure, strict=True)
    ]
    return {
        "name": run.judge["name"],
        "against": names[against],
        "rows": rows,
        "sentences": _trust(store, run, read),
        "problems": sorted({one.problem for one in read if one.problem})[:3],
        "note": NOTE,
    }


def _better(one: SuiteVerdict) -> int:
    return preferred(one.forward or 0.0, one.backward or 0.0)


def _counts(read: Sequence[SuiteVerdict], place: int) -> dict[str, int]:
    mine = [one for one in read if one.place == place]
    judged = [_better(one) for one in mine if one.forward is not None]
    return {
        "won": judged.count(1),
        "lost": judged.count(-1),
        "undecided": judged.count(0),
        "left_out": len(mine) - len(judged),
    }


def _in_words(name: str, other: str, counts: dict[str, int], p: float) -> Facts:
    won, lost = counts["won"], counts["lost"]
    share = wilson(won, won + lost)
    rate = f"{share.value:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f})".replace("%", " %", 1)
    said = f"better on {won}, worse on {lost} prompts"
    said += f", no verdict on {counts['undecided']}" if counts["undecided"] else ""
    said += f", {counts['left_out']} not judged" if counts["left_out"] else ""
    p_said = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    if not won + lost:
        return {"share": None, "words": "–", "said": f"No verdict yet on {name} and {other} ({said})."}
    if p > LEVEL:
        verdict = f"{name} and {other} cannot be told apart"
    else:
        verdict = f"{name} is {'better' if won > lost else 'worse'} than {other}"
    return {"share": share.value, "words": rate, "said": f"By its verdicts {verdict} ({said}; {p_said})."}


def _trust(store: Store, run: SuiteRun, read: Sequence[SuiteVerdict]) -> list[str]:
    """How far the judge of a run can be trusted: by its readings here, and by the votes of people on comparisons."""
    assert run.judge is not None
    elsewhere = judging.record(store.verdicts(judge=run.judge["identity"]))
    odds = [score for one in read if one.forward is not None for score in (one.forward, one.backward or 0.0)]
    sure = sum(_better(one) != 0 for one in read if one.forward is not None)
    here = Record(len(odds), sum(score > 0 for score in odds), sure, *elsewhere[3:])
    own = [judging.OWN] if run.judge["identity"] in {person["identity"] for person in run.people} else []
    return [*own, *judging.sentences(run.judge["name"], here)]
