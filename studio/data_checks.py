"""What the Data tab may ask about what is doubtful in a data set: have it looked for, and have a cleaned copy made.

Both are jobs; what they find comes with the open data set. What is looked for is in `engine/data/hygiene.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from adapters_store.store import Store
from adapters_store.tables import DataSet
from engine.data.hygiene import ADVISED, GROUPED
from engine.settings import RunSettings
from jobs import examining
from studio.actions import queue
from studio.data_facts import coming
from studio.question import Answer, fields, whole
from studio.words import clean_name


class Check(NamedTuple):
    """A kind of finding: what is said of one row and of many, and what a copy does about it."""

    kind: str
    one: str
    many: str
    fix: str


FIRST, WITHOUT = "keeps the first of them", "leaves them out"
CHECKS = (
    Check("exact", "is a copy of another row", "are copies of another row", FIRST),
    Check("near", "is nearly another row", "are nearly another row", FIRST),
    Check("conflicts", "answers a prompt in another way", "answer a prompt in another way", FIRST),
    Check("empty_answers", "has an empty answer", "have an empty answer", WITHOUT),
    Check("echoes", "repeats the prompt as its answer", "repeat the prompt as their answer", WITHOUT),
    Check("secrets", "seems to hold a password or a key", "seem to hold a password or a key", WITHOUT),
    Check("emails", "holds an e-mail address", "hold an e-mail address", WITHOUT),
    Check(
        "overlap",
        "kept for validation is nearly a learned one",
        "kept for validation are nearly learned ones",
        "",
    ),
)


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""

    def data_examine(question: object) -> Answer:
        """Queue the search for what is doubtful."""
        data = _data(store, question)
        usual = RunSettings()
        settings = {"validation_share": usual.validation_share, "seed": usual.seed}
        return {"examining": queue(store, "examine", f"Checks of {data.name}", settings, data_set_id=data.id).id}

    def data_clean(question: object) -> Answer:
        """Queue the making of a copy without what was found."""
        data, asked = _data(store, question), fields(question)
        given = asked.get("fixes")
        fixes = [check.kind for check in CHECKS if check.fix and isinstance(given, list) and check.kind in given]
        name = clean_name(str(asked.get("name") or ""), f"{data.name}-clean")
        return {"job": examining.clean(store, data, fixes, name).id}

    return [data_examine, data_clean]


def shown(store: Store, data: DataSet) -> Answer:
    """What was found in a data set, and how far the newest search is."""
    jobs = [job for job in store.jobs(kinds=["examine"]) if job.data_set_id == data.id]
    return {"found": _found(data.facts.get("findings")), "job": coming(jobs[0]) if jobs else None}


def _found(findings: object) -> list[Answer] | None:
    """The kinds of which there are any; None where nobody has looked."""
    if not isinstance(findings, dict):
        return None
    told = [_told(findings, check) for check in CHECKS]
    return [one for one in told if one["total"]]


def _told(findings: dict[str, Any], check: Check) -> Answer:
    found = findings.get(check.kind) or {}
    total, groups = int(found.get("total") or 0), [group for group in found.get("rows") or [] if group]
    return {
        "key": check.kind,
        "total": total,
        "rows": [row for group in groups for row in (group[1:] if check.kind in GROUPED else group[:1])],
        "words": check.one if total == 1 else check.many,
        "fix": check.fix,
        "advised": check.kind in ADVISED,
    }


def _data(store: Store, question: object) -> DataSet:
    return store.data_set(whole(fields(question), "id", 1, 2**53))
