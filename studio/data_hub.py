"""What the Data tab may ask about a data set on a hub: its subsets and splits, the first rows of one, and its fetching.

Only here, when a person presses a button, does the page ask a hub. What it fetches, and how, is known in `jobs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters_store.store import Store
from adapters_store.tables import DataSet
from jobs import hub_data
from jobs.hub_data import HubDataError
from studio.data_adding import columns_of, looked_at
from studio.question import Answer, fields
from studio.words import clean_name, size

if TYPE_CHECKING:
    from jobs.hub_data import DataListing, Part

LONGEST = 500  # characters of anything that is typed
BLIND = "Its rows are looked at once it is fetched."
NOTHING_SEEN = {"understood": "", "columns": {}, "names": [], "rows": [], "mapped": False, "blind": True}
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

    def data_hub_rows(question: object) -> Answer:
        """How the beginning of one split is understood, alone or as the person maps its columns."""
        asked = fields(question)
        listing, part = _part(asked)
        try:
            seen = looked_at(store, hub_data.beginning(store, listing, part), columns_of(asked))
        except HubDataError as error:  # all of it can still be fetched
            seen = {**NOTHING_SEEN, "problems": [*error.problems, BLIND]}
        name, title = clean_name(listing.wanted.name, "data set"), f"{listing.wanted.id}, {part.subset}, {part.split}"
        return {"file": title, "upload": None, "name": name, **seen}

    def data_hub_add(question: object) -> Answer:
        """Queue the fetching of one split of one subset."""
        asked = fields(question)
        listing, part = _part(asked)
        name = clean_name(_text(asked, "name"), clean_name(listing.wanted.name, "data set"))
        made = hub_data.add(store, listing, part, name, columns_of(asked), asked.get("skip_bad") is True)
        return {"id": made.id} if isinstance(made, DataSet) else {"job": made.id}

    return [data_hub_look, data_hub_rows, data_hub_add]


def _part(asked: Answer) -> tuple[DataListing, Part]:
    """The split that a question names, at the commit of its id."""
    listing = hub_data.look_up(hub_data.read(_text(asked, "id")))
    return listing, hub_data.chosen(listing, _text(asked, "subset"), _text(asked, "split"))


def _text(asked: Answer, name: str) -> str:
    given = asked.get(name)
    return given[:LONGEST] if isinstance(given, str) else ""
