"""What the Data tab may ask about a data set on a hub: its subsets and splits, and the fetching of one of them.

Only here, when a person presses a button, does the page ask a hub. What it fetches, and how, is known in `jobs`.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters_store.store import Store
from adapters_store.tables import DataSet
from engine.data.detect import ROLES
from jobs import hub_data
from studio.actions import ActionError
from studio.question import Answer, fields
from studio.words import clean_name, size

LONGEST = 500  # characters of anything that is typed
MOST_PARTS = 2000  # that can be chosen from; some data sets have a subset for every language there is


def questions(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""

    def data_hub_look(question: object) -> Answer:
        """The subsets and splits of a data set on a hub, at the commit that it is at now."""
        listing = hub_data.look_up(hub_data.read(_text(fields(question), "id")))
        parts = [[part.subset, part.split, size(part.size)] for part in listing.parts]
        return {
            "id": f"{listing.wanted.id}@{listing.commit}",
            "title": f"{listing.wanted.id} at commit {listing.commit[:12]}",
            "name": clean_name(listing.wanted.name, "data set"),
            "parts": parts[:MOST_PARTS],
            "more": max(0, len(parts) - MOST_PARTS),
        }

    def data_hub_add(question: object) -> Answer:
        """Queue the fetching of one split of one subset."""
        asked = fields(question)
        columns = _columns(_text(asked, "columns"))
        listing = hub_data.look_up(hub_data.read(_text(asked, "id")))
        part = hub_data.chosen(listing, _text(asked, "subset"), _text(asked, "split"))
        name = clean_name(_text(asked, "name"), clean_name(listing.wanted.name, "data set"))
        made = hub_data.add(store, listing, part, name, columns, asked.get("skip_bad") is True)
        return {"id": made.id} if isinstance(made, DataSet) else {"job": made.id}

    return [data_hub_look, data_hub_add]


def _text(asked: Answer, name: str) -> str:
    given = asked.get(name)
    return given[:LONGEST] if isinstance(given, str) else ""


def _columns(text: str) -> dict[str, str] | None:
    """The roles of columns as a person writes them: prompt=question, answer=reply. ActionError for anything else."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [role.strip() or "Nothing" for role, _, column in pairs if role.strip() not in ROLES or not column.strip()]
    if wrong:
        raise ActionError(
            f"{wrong[0]} maps nothing. Write prompt=COLUMN, answer=COLUMN, with roles of {', '.join(ROLES)}."
        )
    return {role.strip(): column.strip() for role, _, column in pairs} or None
