"""What stands in the fields of Compare, checked: the prompt and the sampling. All of it comes from outside.

Knows nothing about widgets, contestants or how an answer is made.
"""

from __future__ import annotations

from typing import Any

from studio.answer_grid import Sampling

LONGEST_PROMPT = 20_000  # characters
MOST_TOKENS = 1024


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


def read_sampling(seed: object, temperature: object, top_p: object, max_tokens: object) -> tuple[Sampling, list[str]]:
    """The sampling asked for, and in sentences what is wrong with it. All four come from outside."""
    bounds = {
        "Seed": (seed, 0, 2**31 - 1),
        "Temperature": (temperature, 0, 2),
        "Top p": (top_p, 0.01, 1),
        "Most tokens": (max_tokens, 1, MOST_TOKENS),
    }
    wrong = [
        f"{name} is {value!r}; it has to be a number from {low} to {high:,}."
        for name, (value, low, high) in bounds.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
    ]
    if wrong:
        return Sampling(0, 0, 1, 1), wrong
    return Sampling(int(seed), float(temperature), float(top_p), int(max_tokens)), []  # type: ignore[call-overload, arg-type]
