"""What stands in the fields of Compare, checked: the prompt and the sampling. All of it comes from outside.

Knows nothing about widgets, contestants or how an answer is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST_PROMPT = 20_000  # characters
MOST_TOKENS = 1024  # of an answer on the page
MOST_STOPS, LONGEST_STOP = 16, 100


class Bound(NamedTuple):
    """What a number of the sampling is called, and what it may be."""

    title: str
    low: float
    high: float
    whole: bool = False


BOUNDS = {
    "seed": Bound("Seed", 0, 2**31 - 1, True),
    "temperature": Bound("Temperature", 0, 2),
    "top_p": Bound("Top p", 0.01, 1),
    "top_k": Bound("Top k", 0, 100_000, True),
    "min_p": Bound("Min p", 0, 1),
    "repetition_penalty": Bound("Repetition penalty", 1, 2),
    "max_tokens": Bound("Most tokens", 1, MOST_TOKENS, True),
}
USUAL: dict[str, float] = {"temperature": 0.7, "top_p": 0.95, "max_tokens": 200}
PLAIN: dict[str, float] = {"top_k": 0, "min_p": 0, "repetition_penalty": 1}  # what changes nothing, and is not kept


def first_question(row: dict[str, Any]) -> str:
    """What a person asks in a row; of plain text, its first words."""
    asked = [message["content"] for message in row.get("messages", []) if message.get("role") == "user"]
    return str(asked[0]) if asked else " ".join(str(row.get("text", "")).split()[:8])


def prompt_problems(prompt: object) -> list[str]:
    """What is wrong with a prompt, in sentences."""
    if not isinstance(prompt, str) or not prompt.strip():
        return ["Type a prompt first: all contestants get the same one."]
    if len(prompt) > LONGEST_PROMPT:
        return [f"The prompt has {len(prompt):,} characters; at most {LONGEST_PROMPT:,} are read. Shorten it."]
    return []


def read_sampling(given: Mapping[str, object], wrong: list[str]) -> dict[str, Any]:
    """The sampling asked for, of which nothing is believed; what is wrong with it is added to `wrong`."""
    sampling: dict[str, Any] = {}
    for name, bound in BOUNDS.items():
        value = given.get(name, (USUAL | PLAIN).get(name))
        if problem := number_problem(name, value):
            wrong.append(problem)
        elif (number := sampling_number(name, value)) != PLAIN.get(name):
            sampling[name] = int(number) if bound.whole else number
    stops = [line.replace("\\n", "\n") for line in str(given.get("stop") or "").splitlines() if line]
    if len(stops) > MOST_STOPS or any(len(stop) > LONGEST_STOP for stop in stops):
        wrong.append(f"There are at most {MOST_STOPS} stop words, each of at most {LONGEST_STOP} characters.")
    return sampling | ({"stop": stops} if stops else {})


def number_problem(name: str, value: object) -> str:
    """What is wrong with a number of the sampling, typed or sent; nothing where it is fine."""
    bound = BOUNDS[name]
    number = _number(value)
    if number is not None and bound.low <= number <= bound.high and (not bound.whole or number == int(number)):
        return ""
    kind = "whole number" if bound.whole else "number"
    return f"{bound.title} is {value!r}; it has to be a {kind} from {bound.low:g} to {bound.high:,}."


def sampling_number(name: str, value: object) -> float:
    """A number of the sampling that `number_problem` has nothing against."""
    number = _number(value)
    assert number is not None
    return int(number) if BOUNDS[name].whole else number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
