"""What changed between two texts, word by word. Knows nothing about who wrote them, or how it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

_PIECES = re.compile(r"\w+|[^\w\s]|\s+")


class Stretch(NamedTuple):
    """A stretch of text that stands in both, in the first alone (gone), or in the second alone (new)."""

    kind: Literal["same", "gone", "new"]
    text: str


def differences(before: str, after: str) -> list[Stretch]:
    """The stretches of both texts in their order, as few words gone and new as can be.

    Without the new ones they are `before`, without the gone ones `after`.
    """
    from rapidfuzz.distance import Indel

    ones, others = _PIECES.findall(before), _PIECES.findall(after)
    found: list[Stretch] = []
    for step in Indel.opcodes(ones, others):
        gone, new = ones[step.src_start : step.src_end], others[step.dest_start : step.dest_end]
        if step.tag == "equal":
            found.append(Stretch("same", "".join(new)))
        else:
            found += [Stretch("gone", "".join(gone))] if gone else []
            found += [Stretch("new", "".join(new))] if new else []
    return _without_islands(found)


def in_plain_text(told: Sequence[Stretch]) -> tuple[str, str]:
    """Both texts without colours: what the first alone has stands in [-...-], what the second alone has in {+...+}."""
    marks = {"same": ("", ""), "gone": ("[-", "-]"), "new": ("{+", "+}")}

    def without(kind: str) -> str:
        return "".join(one.text.join(marks[one.kind]) for one in told if one.kind != kind)

    return without("new"), without("gone")


def _without_islands(found: list[Stretch]) -> list[Stretch]:
    """White space that stays between two changes changes with them: a changed phrase reads as one."""
    joined: list[Stretch] = []
    gone = new = ""
    for place, one in enumerate(found):
        island = one.kind == "same" and one.text.isspace() and bool(gone or new) and place + 1 < len(found)
        gone += one.text if one.kind == "gone" or island else ""
        new += one.text if one.kind == "new" or island else ""
        if one.kind == "same" and not island:
            joined += _changed(gone, new)
            joined.append(one)
            gone = new = ""
    return [*joined, *_changed(gone, new)]


def _changed(gone: str, new: str) -> list[Stretch]:
    parts = (Stretch("gone", gone), Stretch("new", new))
    return [one for one in parts if one.text]
