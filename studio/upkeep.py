"""The line under the tabs: what the data folder takes on the disk, what of it can go, and who hears of the end of runs.

One piece of our own (static/upkeep.js); the folder is measured when somebody opens the line, and not before. What the
page may ask is public like any endpoint: every argument is checked. What can go is decided in `disk.py`, anew at the
moment of the deletion; a command or an address to be told can be read here and not set.
"""

from __future__ import annotations

from collections.abc import Callable

from jobs import notices
from studio import disk, words
from studio.page import Studio
from studio.question import Answer, fields
from studio.runs_tab import answered
from studio.shell import scripted

NAMED = 5  # deleted things that are named; the others are counted


def build(studio: Studio) -> None:
    """The line; it stands under the tabs."""
    scripted(
        "upkeep.js",
        "mount",
        "element, server",
        "",
        html_template="<div></div>",
        server_functions=[answered(fn) for fn in questions(studio)],
        elem_id="upkeep",
    )


def questions(studio: Studio) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""
    store = studio.store

    def disk_use(question: object) -> Answer:
        """What takes room, and what of it can go."""
        found = [use for use in disk.uses(store) if use.size_bytes]
        return {
            "uses": [_row(use) for use in found],
            "together": words.size(sum(use.size_bytes for use in found)),
            "trash": _named(disk.in_trash(store)),
            "stays": " ".join(filter(None, [disk.pinned(store), disk.MERGED])),
            "told": _told(notices.Notices.of(store)),
        }

    def free_space(question: object) -> Answer:
        """Delete what nothing needs, of the kinds that were chosen."""
        kinds = fields(question).get("kinds")
        if not isinstance(kinds, list) or not kinds or not all(kind in list(disk.CAN_GO) for kind in kinds):
            raise ValueError(f"What can go is {', '.join(disk.CAN_GO)}, not {kinds!r}.")
        return {"says": f"{words.size(disk.free(store, kinds))} freed."}

    def run_ends(question: object) -> Answer:
        """The runs that have ended since an event; before the first, the newest event alone."""
        after = fields(question).get("after")
        known = after if isinstance(after, int) and not isinstance(after, bool) and after >= 0 else -1
        newest, ends = notices.ended_since(store, known)
        return {"newest": newest, "ends": [{key: end[key] for key in ("event", "job", "name", "says")} for end in ends]}

    return [disk_use, free_space, run_ends]


def _row(use: disk.Use) -> Answer:
    goes = {"free": words.size(use.free_bytes), "why": disk.CAN_GO[use.what]} if use.free_bytes else {}
    return {"what": use.what, "size": words.size(use.size_bytes), **goes}


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _told(told: notices.Notices) -> str:
    """Who else is told; of a command its program, of an address its host: the rest may be a secret."""
    who = [*told.command[:1], *([notices.place(told.webhook)] if told.webhook else [])]
    if not who:
        return "A command or a webhook can be told as well: python -m studio notices --help"
    return f"Also told: {' and '.join(who)}. Change it with python -m studio notices."
