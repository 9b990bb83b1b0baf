"""What names a model on a hub: `organisation/name`, with `@revision` behind it where it is not the newest.

The one place that decides what counts as such a name, so that no address, path or option ever passes for one. Knows
nothing about networks or about whether the model exists.
"""

import re
from typing import NamedTuple

NEWEST = "main"

# Each part begins with a letter or digit: "../x", "-o", ".git" and "http://host" are none.
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_ID = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][\w./-]{{0,254}}))?", re.ASCII)


class HubId(NamedTuple):
    """A model on a hub. `revision` is a branch, a tag or a commit."""

    id: str
    revision: str = NEWEST

    @property
    def name(self) -> str:
        """The model's name without the organisation."""
        return self.id.partition("/")[2]


def parse(text: str, revision: str = "") -> HubId | None:
    """The model that `text` names, at `revision` where that is given; None when it is no such name.

    Examples: `HuggingFaceTB/SmolLM2-135M`, `org/name@v1.0`, `org/name@3f9c0de`.
    """
    found = _ID.fullmatch(f"{text.strip()}@{revision}" if revision else text.strip())
    if found is None or ".." in text or ".." in revision:
        return None
    return HubId(found[1], found[2] or NEWEST)
