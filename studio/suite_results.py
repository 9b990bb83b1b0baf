"""What a run over a suite tells: how far it is, the scores of each contestant with intervals, and who is better.

The figures are those of `engine/suites/means.py`; here are the words. Facts in, facts out, for the page and the command
line alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.suite_tables import SuiteAnswer, SuitePrompt, SuiteRun
from engine.suites import means
from engine.suites.means import FEWEST, Difference, Mean
from engine.suites.scores import SCORES
from engine.votes import LEVEL
from jobs.progress import job_sentence
from studio import suite_judges, suites
from studio.records import when
from studio.suites import Work

Facts = dict[str, Any]
Grid = Mapping[tuple[int, int], SuiteAnswer]  # by the number of the prompt and the place of the contestant

NOTE = (
    "Means over prompts, with 95 % intervals (bootstrap over prompts; Wilson's where all are 0 or 1). Differences are "
    "prompt by prompt, with a two-sided sign test, Holm over all pairs of a score."
)


def summary(store: Store, run: SuiteRun) -> Facts:
    """Where a run stands: in a list, and above its results."""
    job = suites.job_of(store, run)
    left = suites.left(store, run)
    live = job is not None and job.state in ("queued", *LIVE)
    return {
        "id": run.id,
        "suite": run.suite_id,
        "at": when(run.created_at),
        "names": [person["name"] for person in run.people],
        "state": "complete" if not any(left) else job.state if job else "waiting",
        "says": _says(job, run, left, live),
        "answers": run.answer_count,
        "total": run.answer_count + left.answers,
        "live": live,
        "left": sum(left),
        "share": job.progress.get("step", 0) / (job.progress.get("steps") or 1) if job and live else None,
        "job": run.job_id,
        "sampling": run.sampling,
        "how": run.how,
    }


def result(store: Store, run: SuiteRun) -> Facts:
    """All that a run tells so far: its scores, and what could not be asked."""
    suite, prompts, answers = store.suite(run.suite_id), store.suite_prompts(run.suite_id), store.suite_answers(run.id)
    grid = {(one.prompt_id, one.place): one for one in answers}
    names = [person["name"] for person in run.people]
    shown = [_score(key, names, prompts, grid) for key in suite.scores]
    failed = sorted({one.problem for one in answers if one.problem})
    return {
        **summary(store, run),
        "name": suite.name,
        "people": run.people,
        "scores": [one for one in shown if one["means"]],
        "cut": sum(not one.finished and not one.problem for one in answers),
        "failed": sum(bool(one.problem) for one in answers),
        "problems": failed[:3],
        "note": NOTE if suite.scores else "",
        "judge": suite_judges.told(store, run),
    }


def said(value: float | None, key: str) -> str:
    """A score in words: shares with two digits, perplexities with three that mean something."""
    if value is None or not math.isfinite(value):
        return "–"
    return (
        f"{value:.3g}" if key == "perplexity" and value < 1000 else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
    )


def _says(job: Any, run: SuiteRun, left: Work, live: bool) -> str:
    if live:
        return job_sentence(job)
    if not any(left):
        rows = run.how.get("rows")
        return f"All {run.answer_count:,} answers{f', up to {rows:,} at the same time' if rows else ''}."
    why = f"{job.why} " if job is not None and job.why else ""
    if not left.answers:
        parts = [f"{left.references:,} references are to be read"] if left.references else []
        parts += [f"{left.verdicts:,} verdicts are missing"] if left.verdicts else []
        return f"{why}All {run.answer_count:,} answers; {' and '.join(parts)}."
    return f"{why}{left.answers:,} of {run.answer_count + left.answers:,} answers are left."


def _score(key: str, names: Sequence[str], prompts: Sequence[SuitePrompt], grid: Grid) -> Facts:
    table = [[_value(key, grid.get((one.id, place))) for one in prompts] for place in range(len(names))]
    told = [_mean(key, column, prompts, grid, place) for place, column in enumerate(table)]
    pairs = means.differences(table) if len(names) > 1 else []
    known = SCORES[key]
    return {
        "key": key,
        "title": known.title,
        "help": known.help,
        "means": [_fact(key, one) for one in told] if any(one.prompts for one in told) else [],
        "differences": [one._asdict() for one in pairs],
        "sentences": [_sentence(key, names, one) for one in pairs if one.first == 0],
    }


def _value(key: str, answer: SuiteAnswer | None) -> float | None:
    """What one answer has of a score; of perplexity the mean log-probability of a token, where more is better, too."""
    if answer is None or answer.problem:
        return None
    if key == "perplexity":
        return answer.logprob / answer.reference_tokens if answer.logprob is not None else None
    return answer.scores.get(key)


def _mean(key: str, column: Sequence[float | None], prompts: Sequence[SuitePrompt], grid: Grid, place: int) -> Mean:
    if key != "perplexity":
        return means.mean(column)
    found = [grid.get((one.id, place)) for one in prompts]
    return means.perplexity(
        [one.logprob if one else None for one in found], [one.reference_tokens if one else 0 for one in found]
    )


def _fact(key: str, mean: Mean) -> Facts:
    interval = f" ({said(mean.low, key)} to {said(mean.high, key)})" if mean.low is not None else ""
    known = {
        name: value if value is not None and math.isfinite(value) else None for name, value in mean._asdict().items()
    }
    return {**known, "words": f"{said(mean.value, key)}{interval}"}


def _sentence(key: str, names: Sequence[str], pair: Difference) -> str:
    first, other = (_called(names[place]) for place in (pair.first, pair.other))
    p = f"p = {pair.p:.2g}" if pair.p >= 0.001 else "p < 0.001"
    counts = f"better on {pair.lower}, worse on {pair.higher} prompts"
    if pair.p > LEVEL:
        return f"{_capital(other)} and {first} cannot be told apart ({counts}; {p})."
    way = "better" if pair.lower > pair.higher else "worse"
    return f"{_capital(other)} is {way} than {first} ({counts}; {_by(key, pair)}{p})."


def _by(key: str, pair: Difference) -> str:
    """By how much, as the other one against the first."""
    unit = " nats a token" if key == "perplexity" else ""
    if pair.low is None or pair.high is None:
        return f"by {-pair.value:+.2f}{unit}, an interval needs {FEWEST} prompts; "
    return f"by {-pair.value:+.2f}{unit}, {-pair.high:+.2f} to {-pair.low:+.2f}; "


def _called(name: str) -> str:
    return "the base" if name == "base" else name


def _capital(name: str) -> str:
    return "The base" if name == "the base" else name
