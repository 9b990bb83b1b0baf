"""What the page asks: one JSON object, of which nothing is believed.

Knows nothing about what is asked for.
"""

from typing import Any

Answer = dict[str, Any]


def fields(question: object) -> Answer:
    """What a question brought with it; nothing where it is no JSON object."""
    return question if isinstance(question, dict) else {}


def whole(asked: Answer, name: str, least: int, most: int) -> int:
    """A whole number that came with a question. ValueError where it is none, or out of its bounds."""
    number = asked.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {number!r}.")
    return number
