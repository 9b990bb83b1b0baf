"""What single columns have otherwise than all, as people write it: `2:temperature=0`, `1:system=Be short.`.

Serves the command line and the page. Knows nothing about who stands in the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.ask_form import LONGEST_PROMPT, number_problem, sampling_number
from studio.asked import Own
from studio.edge import UsageError

OWN = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed")


def read(texts: Sequence[str], columns: int) -> list[Own]:
    """What each column has of its own; nothing where nobody has anything.

    Raises:
        UsageError: with all that is wrong.
    """
    given: list[dict[str, str]] = [{} for _ in range(columns)]
    wrong = []
    for text in texts:
        number, colon, rest = text.partition(":")
        name, equals, value = rest.partition("=")
        if not (colon and equals and number.strip().isdecimal()):
            wrong.append(f"--column {text}: write it like 2:temperature=0.")
        elif not 1 <= int(number) <= columns:
            wrong.append(f"--column {text}: there is no contestant {number}; there are {columns}, the base first.")
        else:
            given[int(number) - 1][name.strip().replace("-", "_")] = value
    own = [_own(place + 1, one, wrong) for place, one in enumerate(given)]
    if wrong:
        raise UsageError(" ".join(wrong))
    return own if texts else []


def checked(columns: Sequence[object], wrong: list[str]) -> list[Own]:
    """The same as it comes from the page, of which nothing is believed; what is wrong is added to `wrong`."""
    sent = [one if isinstance(one, dict) else {} for one in columns]
    given = [{name: value for name, value in one.items() if value not in ("", None)} for one in sent]
    own = [_own(place + 1, one, wrong) for place, one in enumerate(given)]
    return own if any(one.label for one in own) else []


def _own(number: int, given: Mapping[str, Any], wrong: list[str]) -> Own:
    sampling: dict[str, Any] = {}
    system = given.get("system")
    for name, value in given.items():
        if name == "system":
            if not isinstance(value, str) or len(value) > LONGEST_PROMPT:
                wrong.append(f"Column {number}: a system prompt has at most {LONGEST_PROMPT:,} characters.")
        elif name not in OWN:
            wrong.append(f"Column {number}: there is no setting {name}. There are system, {', '.join(OWN)}.")
        elif problem := number_problem(name, value):
            wrong.append(f"Column {number}: {problem}")
        else:
            sampling[name] = sampling_number(name, value)
    in_order = {name: sampling[name] for name in OWN if name in sampling}
    return Own(system if isinstance(system, str) else None, in_order)
