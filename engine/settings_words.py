"""What is wrong with a value of a setting, as a sentence: pydantic's errors for people.

Works on any fields that are declared as those in `settings.py`, and knows none of them by name.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo


def sentence(error: Any, fields: Mapping[str, FieldInfo]) -> str:
    """One of pydantic's error records about `fields`: the value as it was given, and what it should be."""
    name = str(error["loc"][0]) if error["loc"] else "settings"
    field = fields.get(name)
    if field is None:
        return f"There is no setting called {name}."
    return f"{field.title} is {shown(_given(error))}, but should be {_expected(field, error)}."


def shown(value: object) -> str:
    """A value for a sentence: short, and never nothing."""
    text = "empty" if value is None or value == "" else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def limits(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the greatest value of a numeric field; None where it has none."""
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    return low, high


def _given(error: Any) -> object:
    """The value as the person gave it; of a pair, the pair."""
    inner = [str(part) for part in error["loc"][1:] if isinstance(part, str) and part != "[key]"]
    return f"{inner[0]}={error['input']}" if inner else error["input"]


def _expected(field: FieldInfo, error: Any) -> str:
    if error["type"] == "literal_error":
        return "one of " + str(error["ctx"]["expected"]).replace("'", "")
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if spelt := _spelt(field):
        return spelt
    if error["type"].startswith("bool"):
        return "true or false"
    return _number(field, whole=error["type"].startswith("int") or field.annotation is int)


def _spelt(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("spelt", "")) if isinstance(extra, dict) else ""


def _number(field: FieldInfo, whole: bool) -> str:
    kind = "a whole number" if whole else "a number"
    low, high = limits(field)
    if low is None:
        return kind
    above = "above" if any(getattr(rule, "gt", None) is not None for rule in field.metadata) else "from"
    return f"{kind} {above} {low:g}" + (f" to {high:g}" if high is not None else "")
