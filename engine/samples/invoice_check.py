"""Judges an answer of the invoice-json set: which share of the fields is right, and what is wrong with the others.

Pure and quick, for scoring many answers. It knows the six fields' meaning only as far as two values can be called
equal; it knows nothing of models and never changes what it is given.
"""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal


def check(expected: str, answer: str) -> tuple[float, str]:
    """Compare an answer with the expected JSON object, field by field.

    White space and the order of fields and items do not count; everything else does. A field that was not asked for
    counts as a wrong one.

    Returns:
        The share of right fields, from 0.0 to 1.0, and one sentence for people.

    Raises:
        ValueError: `expected` itself is not a JSON object.
    """
    wanted = _parse(expected)
    try:
        given = _parse(answer)
        names = [*wanted, *(name for name in given if name not in wanted)]
        faults = [fault for name in names if (fault := _fault(name, wanted, given))]
    except ValueError as error:
        return 0.0, f"The answer cannot be read as one JSON object: {error}."
    except RecursionError:
        return 0.0, "The answer cannot be read as one JSON object: it is nested too deeply."
    right = len(names) - len(faults)
    if not faults:
        return 1.0, f"All {len(names)} fields are right."
    return right / len(names), f"{right} of {len(names)} fields are right: {'; '.join(faults)}."


def _parse(text: str) -> dict[str, object]:
    """One JSON object, its fractions exact. ValueError says what stands in the way."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg[0].lower()}{error.msg[1:]} at character {error.pos + 1}") from error
    if not isinstance(found, dict):
        raise ValueError(f"it is {_shown(found)}")
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a number of JSON")


def _fault(name: str, wanted: Mapping[str, object], given: Mapping[str, object]) -> str | None:
    """What is wrong with this field, or None."""
    if name not in given:
        return f"{name} is missing"
    if name not in wanted:
        return f"{_cut(name)} was not asked for"
    if _plain(name, given[name]) == _plain(name, wanted[name]):
        return None
    return f"{name} is {_shown(given[name])}, expected {_shown(wanted[name])}"


def _plain(name: str, value: object) -> object:
    """The value in a form in which equal meanings are equal, and a kind never equals another kind."""
    if isinstance(value, str):
        return _date(value) if name == "date" else ("text", " ".join(value.split()))
    if isinstance(value, bool) or value is None:
        return ("word", value)
    if isinstance(value, int | Decimal):
        return ("number", Decimal(value))
    if isinstance(value, list):
        return ("list", sorted((_plain("", item) for item in value), key=repr))
    assert isinstance(value, dict)
    return ("object", sorted((key, _plain(key, inner)) for key, inner in value.items()))


def _date(text: str) -> object:
    try:
        return ("date", date.fromisoformat(text.strip()))
    except ValueError:
        return ("text", text)


def _shown(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=float))


def _cut(text: str) -> str:
    """As much of the text as a sentence can hold; halves of characters, which no page can show, become "?"."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole if len(whole) <= 80 else f"{whole[:77]}..."
