"""The Suites card of the Compare tab: what the page may ask about suites and their runs.

The card is one piece of our own (static/suites.js), which asks when something changed. What it may ask is public like
any endpoint: every argument is checked. What suites can do is in `suites.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapters_store.errors import StoreError
from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.suite_tables import Suite, SuiteRun
from engine.suites import prompts as asked
from engine.suites.prompts import Prompt, SuiteError
from engine.suites.scores import SCORES
from studio import actions, contestants, suite_changes, suite_results, suites
from studio.page import Studio
from studio.question import Answer, fields, whole
from studio.runs_tab import answered
from studio.shell import scripted

Question = Callable[[object], Answer]

LISTED = 30  # runs of a suite
ANSWERS = 10  # prompts whose answers are shown at once
CHANGED = 200  # changed answers that are shown; the others are counted
OFFERED = 100  # runs whose held-out rows are offered
LARGEST = 2**53


def build(studio: Studio) -> None:
    """The card; it stands under the kept comparisons."""
    scripted(
        "suites.js",
        "mountSuites",
        "element, server",
        "",
        html_template="<div></div>",
        server_functions=[answered(fn) for fn in questions(studio)],
        elem_id="suites-card",
    )


def questions(studio: Studio) -> list[Question]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""
    return [*_of_suites(studio), *_of_runs(studio.store)]


def _of_suites(studio: Studio) -> list[Question]:
    store = studio.store

    def suites_state(question: object) -> Answer:
        """All suites, and the open one with its prompts and runs."""
        wanted, known = fields(question).get("suite"), store.suites()
        chosen = next((one for one in known if one.id == wanted), None)
        return {"rows": [_listed(one) for one in known], "open": _opened(store, chosen) if chosen else None}

    def suites_choices(question: object) -> Answer:
        """What a new suite can be made of, and how it can be scored."""
        runs = [job for job in store.jobs(kinds=["train"], limit=OFFERED) if job.settings.get("validation_share")]
        data = [one for one in store.data_sets() if one.rows <= asked.MOST_PROMPTS]
        return {
            "data": [{"id": one.id, "name": f"{one.name}, {one.rows:,} rows"} for one in data[::-1]],
            "runs": [{"id": job.id, "name": f"{job.name} (run {job.id})"} for job in runs],
            "scores": [{"key": key, "title": one.title, "help": one.help} for key, one in SCORES.items()],
        }

    def suites_make(question: object) -> Answer:
        """Keep a new suite."""
        given = fields(question)
        prompts, source = _prompts(studio, given)
        score = [str(one) for one in given["score"]] if isinstance(given.get("score"), list) else None
        pattern = _text(given, "pattern")
        made = suites.make(
            store,
            _text(given, "name"),
            prompts,
            source=source,
            system=_text(given, "system"),
            score=score or None,
            pattern=pattern,
        )
        return {"id": made.id}

    def suites_delete(question: object) -> Answer:
        """Delete a suite; it can be taken back."""
        gone = store.delete_suite(_id(question, "suite"))
        return {"id": gone.id, "name": gone.name}

    def suites_undo(question: object) -> Answer:
        """Take a deletion back."""
        return {"id": store.restore_suite(_id(question, "suite")).id}

    return [suites_state, suites_choices, suites_make, suites_delete, suites_undo]


def _of_runs(store: Store) -> list[Question]:
    def suites_run(question: object) -> Answer:
        """Have the contestants chosen on the page answer a suite."""
        given = fields(question)
        people = contestants.read(store, _text(given, "people"))
        sampling = {"seed": 0, "temperature": _temperature(given), "top_p": 0.95}
        sampling["max_tokens"] = whole(given, "max_tokens", 1, 4096)
        return {"id": suites.start(store, store.suite(_id(question, "suite")), people, sampling).id}

    def suites_go_on(question: object) -> Answer:
        """Go on with a run that was broken off."""
        return {"id": suites.go_on(store, _run(store, question)).id}

    def suites_stop(question: object) -> Answer:
        """End a run early; what was answered stays."""
        run = _run(store, question)
        job = suites.job_of(store, run)
        if job is None or job.state not in ("queued", *LIVE):
            raise StoreError(f"Run {run.id} has ended already.")
        actions.stop_job(store, job.id, "cancel")
        return {"id": run.id}

    def suites_people(question: object) -> Answer:
        """Who would answer, by the choice of the page, and why they cannot."""
        people = contestants.read(store, _text(fields(question), "people"))
        return {"names": [one.name for one in people], "problems": contestants.problems(people)}

    def suites_result(question: object) -> Answer:
        """What a run tells, and the answers to some of its prompts, from prompt number `first` on."""
        run, first = _run(store, question), whole(fields(question), "first", 0, LARGEST)
        return {"result": suite_results.result(store, run), "first": first, "answers": _answers(store, run, first)}

    def suites_changed(question: object) -> Answer:
        """What a run answered otherwise than an earlier one."""
        run = _run(store, question)
        told = suite_changes.changes(store, run, store.suite_run(_id(question, "against")))
        return {**told, "rows": told["rows"][:CHANGED], "more": max(0, len(told["rows"]) - CHANGED)}

    def suites_judges(question: object) -> Answer:
        """Who can judge."""
        return {"judges": [{"value": one.value, "name": name} for name, one in contestants.offered(store)]}

    def suites_judge(question: object) -> Answer:
        """Have a run judged."""
        who = contestants.find(store, _text(fields(question), "judge"))
        if who is None:
            raise StoreError("This judge is no longer in the library. Choose another one.")
        against = whole(fields(question), "against", 0, LARGEST)
        return {"id": suites.have_judged(store, _run(store, question), who, against).id}

    about_runs = [suites_run, suites_go_on, suites_stop, suites_people, suites_result, suites_changed]
    return [*about_runs, suites_judges, suites_judge]


def _listed(suite: Suite) -> Answer:
    titles = ", ".join(SCORES[key].title for key in suite.scores)
    count = f"{suite.prompt_count:,} prompt{'' if suite.prompt_count == 1 else 's'}"
    return {"key": suite.id, "name": suite.name, "fact": f"{count}, {suite.source}", "scores": titles or "not scored"}


def _opened(store: Store, suite: Suite) -> Answer:
    runs = [suite_results.summary(store, run) for run in store.suite_runs(suite.id, LISTED)]
    return {
        **_listed(suite),
        "scored": bool(suite.scores),
        "system": suite.system,
        "pattern": suite.pattern,
        "runs": [{**run, "key": run["id"]} for run in runs],
    }


def _answers(store: Store, run: SuiteRun, first: int) -> list[Answer]:
    """A stretch of prompts with what each contestant answered so far."""
    shown = store.suite_prompts(run.suite_id)[first : first + ANSWERS]
    found = {(one.prompt_id, one.place): one for one in store.suite_answers(run.id)}
    return [
        {
            "key": one.id,
            "number": one.place + 1,
            "prompt": suite_changes.question(one),
            "reference": one.reference or "",
            "answers": [_answer(found.get((one.id, place)), place) for place in range(len(run.people))],
        }
        for one in shown
    ]


def _answer(answer: Any, place: int) -> Answer:
    if answer is None:
        return {"key": place, "text": "", "fact": "to come", "problem": ""}
    told = [f"{SCORES[key].title} {suite_results.said(score, key)}" for key, score in answer.scores.items()]
    told += [] if answer.finished or answer.problem else ["cut"]
    return {"key": place, "text": answer.text, "fact": ", ".join(told), "problem": answer.problem}


def _prompts(studio: Studio, given: Answer) -> tuple[Sequence[Prompt], str]:
    """What a new suite is made of, and where that comes from in words."""
    way = given.get("way")
    if way == "typed":
        return asked.typed(_text(given, "text").splitlines(), _text(given, "references").splitlines()), "typed"
    if way == "data":
        data = studio.store.data_set(whole(given, "data", 1, LARGEST))
        return suites.of_data(studio.store, data), f"the data set {data.name}"
    if way == "run":
        job = studio.store.job(whole(given, "job", 1, LARGEST))
        return suites.held_out(studio.store, studio.answerer, job), f"held-out rows of {job.name}"
    raise SuiteError(["Say where the prompts come from: typed, a data set, or the held-out rows of a run."])


def _run(store: Store, question: object) -> SuiteRun:
    return store.suite_run(_id(question, "run"))


def _id(question: object, name: str) -> int:
    return whole(fields(question), name, 1, LARGEST)


def _text(given: Answer, name: str) -> str:
    value = given.get(name)
    return value if isinstance(value, str) else ""


def _temperature(given: Answer) -> float:
    value = given.get("temperature")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise SuiteError([f"Temperature is {value!r}; it has to be from 0 to 2."])
    return float(value)
