"""What a person can do with suites: make one, have contestants answer it, go on where that was broken off.

Each function looks before it queues, so that what is wrong is said at once. Knows nothing about widgets, options or
HTTP, and imports neither torch nor Gradio; what the scores tell is in `suite_results.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from adapters_store.states import FINAL, LIVE
from adapters_store.store import Store
from adapters_store.suite_tables import Suite, SuiteRun
from adapters_store.tables import DataSet, Job
from engine.data.check import each_row, read_rows
from engine.suites import prompts as asked
from engine.suites import scores
from engine.suites.prompts import MOST_PROMPTS, Prompt, SuiteError
from jobs import runner
from jobs.ask import Answerer
from jobs.snapshot import sources
from studio import contestants, seating, suite_judges
from studio.contestants import Contestant
from studio.words import clean_name

LONGEST_SYSTEM = 20_000  # characters
HELD_OUT_SECONDS = 600  # rows may have to become tokens first


def make(
    store: Store,
    name: str,
    prompts: Sequence[Prompt],
    *,
    source: str,
    system: str = "",
    score: Sequence[str] | None = None,
    pattern: str = "",
) -> Suite:
    """Keep a suite. Without `score` it is scored by what its references allow.

    Raises:
        SuiteError: with all that is wrong with it.
        NameRefused: there is one of this name.
    """
    references = [one.reference for one in prompts if one.reference is not None]
    chosen = scores.advised(references, pattern) if score is None else list(dict.fromkeys(score))
    problems = [*asked.problems(prompts), *scores.problems(chosen, pattern, len(references))]
    if len(system) > LONGEST_SYSTEM:
        problems.append(f"The system message has {len(system):,} characters; {LONGEST_SYSTEM:,} are the most.")
    if problems:
        raise SuiteError(problems)
    wanted = clean_name(name, "suite")
    return store.add_suite(wanted, prompts, system=system.strip(), scores=chosen, pattern=pattern, source=source)


def of_data(store: Store, data: DataSet) -> list[Prompt]:
    """All rows of a data set as prompts.

    Raises:
        SuiteError: there are too many, or some ask nothing.
    """
    if data.rows > MOST_PROMPTS:
        told = f"{data.name} has {data.rows:,} rows; a suite takes {MOST_PROMPTS:,} prompts."
        raise SuiteError([f"{told} Take the held-out rows of a run, or a smaller set."])
    return asked.of_rows(read_rows(store.rows_path(data)))


def held_out(store: Store, answerer: Answerer, job: Job) -> list[Prompt]:
    """The rows that a run set aside to measure on, as prompts: no adapter of it has learned from them.

    Raises:
        SuiteError: it is no run, set nothing aside, or some of its rows ask nothing.
        AnswererError: they could not be found out.
    """
    if job.kind != "train" or job.base_model is None:
        raise SuiteError([f"{job.name} is no run, so it has set no rows aside."])
    mixture = [(str(store.rows_path(data)), weight, sources(data)) for data, weight in job.mixture]
    base = str(store.base_path(job.base_model))
    asking = {"base_path": base, "mixture": mixture, "settings": job.settings}
    wanted = answerer.request("held_out", deadline=HELD_OUT_SECONDS, **asking)["rows"]
    if not wanted:
        raise SuiteError([f"{job.name} has set no rows aside: its validation share was 0."])
    numbers, rows = set(wanted), chain.from_iterable(each_row(store.rows_path(data)) for data, _ in job.mixture)
    return asked.of_rows(row for number, row in enumerate(rows) if number in numbers)


def start(
    store: Store,
    suite: Suite,
    people: Sequence[Contestant],
    sampling: Mapping[str, Any],
    judge: Contestant | None = None,
    against: int = 0,
) -> SuiteRun:
    """Queue the answers of `people` to a suite; a `judge` then holds the others against the one at that place.

    Raises:
        SuiteError: these cannot answer side by side, or the suite was deleted.
        QueueFull: no further job may wait.
    """
    problems = contestants.problems(people)
    if suite.deleted_at is not None:
        problems.append(f"{suite.name} was deleted. Bring it back first.")
    if problems:
        raise SuiteError(problems)
    chosen = suite_judges.choice(store, judge, len(people), against) if judge else None
    store.check_line()  # before a run is listed that nobody would answer
    sittings = [dataclasses.asdict(one) for one in seating.sittings(store, people)]
    run = store.add_suite_run(suite.id, people=_people(people), sittings=sittings, sampling=sampling, judge=chosen)
    return _queued(store, suite, run)


def have_judged(store: Store, run: SuiteRun, judge: Contestant, against: int) -> SuiteRun:
    """Queue the verdicts of a judge on a run's answers, in place of those of the judge before.

    Raises:
        SuiteError: it is under way, has all of these verdicts, or nobody can be compared.
        QueueFull: no further job may wait.
    """
    job = job_of(store, run)
    if job is not None and job.state in ("queued", *LIVE):
        raise SuiteError([f"Run {run.id} is under way. Have it judged when it has ended."])
    store.check_line()
    return go_on(store, store.set_suite_judge(run.id, suite_judges.choice(store, judge, len(run.people), against)))


def go_on(store: Store, run: SuiteRun) -> SuiteRun:
    """Queue what is left of a run that was broken off.

    Raises:
        SuiteError: all is answered, or it is under way.
    """
    job = job_of(store, run)
    if not any(left(store, run)):
        raise SuiteError([f"Run {run.id} has all its answers, scores and verdicts."])
    if job is not None and job.state in ("queued", *LIVE):
        raise SuiteError([f"Run {run.id} is under way."])
    if job is not None and job.state not in FINAL:
        job = store.move(job.id, "queued", who="person")
        runner.ensure(store.files.root)
        return store.note_suite_run(run.id, job.id)
    return _queued(store, store.suite(run.suite_id), run)


class Work(NamedTuple):
    """Pieces of work of a run: answers, references to be read under each contestant, and verdicts of its judge."""

    answers: int
    references: int
    verdicts: int


def left(store: Store, run: SuiteRun) -> Work:
    """What of a run is still to come. What was not answered has no reference to be read, yet."""
    suite = store.suite(run.suite_id)
    unread = run.unread_count if "perplexity" in suite.scores else 0
    verdicts = suite.prompt_count * (len(run.people) - 1) - run.verdict_count if run.judge else 0
    return Work(suite.prompt_count * len(run.people) - run.answer_count, unread, verdicts)


def job_of(store: Store, run: SuiteRun) -> Job | None:
    """The job that answers, or answered last; None if the run was never queued."""
    return None if run.job_id is None else store.job(run.job_id)


def _queued(store: Store, suite: Suite, run: SuiteRun) -> SuiteRun:
    job = store.submit("suite", suite.name, {"suite_run": run.id})
    noted = store.note_suite_run(run.id, job.id)
    runner.ensure(store.files.root)
    return noted


def _people(people: Sequence[Contestant]) -> list[dict[str, Any]]:
    """Who answers, as it is kept with the run."""
    several = len({one.base.id for one in people}) > 1
    return [
        {
            "name": f"base: {one.base.name}" if one.is_base and several else one.name,
            "value": one.value,
            "identity": one.identity,
            "base": one.base.name,
            "base_model_id": one.base.id,
            "base_fingerprint": one.base.fingerprint,
            "adapter_id": one.adapter.id if one.adapter else None,
            "strength": one.strength,
        }
        for one in people
    ]
