"""From a file to clean rows: every row is made one of two shapes, or named with the reason why it cannot be.

A clean row is {"messages": [{"role", "content"}, ...]} or {"text": ...}. They are kept as canonical JSONL, whose
SHA-256 is the identity of a data set. Knows nothing about tokens: see `render.py`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from engine.data.detect import Format, detect
from engine.data.read import DataError, raw_rows

__all__ = ["Checked", "DataError", "Row", "each_row", "read", "read_rows", "spans", "write_rows"]

Row = dict[str, Any]
ROLES = ("system", "user", "assistant")
MOST_NAMED = 100  # problems told one by one; beyond that only their number


@dataclass(frozen=True)
class Checked:
    """A file that was read: its format, a sentence on how it was understood, and its clean rows."""

    format: str
    understood: str
    rows: list[Row]
    facts: dict[str, Any] = field(default_factory=dict)


class _RowError(ValueError):
    """One row that cannot be used, with the reason."""


def read(path: Path, name: str | None = None) -> Checked:
    """Read and check a JSONL, JSON, CSV or TSV file; the format is found from its content.

    Raises:
        DataError: naming every row that cannot be used, by line and reason.
    """
    raw = list(raw_rows(path))
    form = detect(row for _, row in raw)
    rows, problems = [], []
    for line, value in raw:
        try:
            rows.append(_clean(value, form))
        except DataError as error:
            problems.extend(error.problems)
        except _RowError as error:
            problems.append(f"Line {line}: {error}")
    if problems:
        raise DataError(problems, len(problems))
    return Checked(form.name, form.understood, rows, {"columns": form.columns, "file": name or path.name})


def write_rows(rows: Iterable[Row], path: Path) -> str:
    """Write canonical JSONL and return the SHA-256 of its bytes."""
    total = hashlib.sha256()
    with path.open("wb") as out:
        for row in rows:
            line = (json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n").encode()
            total.update(line)
            out.write(line)
    return total.hexdigest()


def each_row(path: Path) -> Iterator[Row]:
    """Rows written by `write_rows`, one by one."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """Rows written by `write_rows`, the first `limit` of them."""
    return list(islice(each_row(path), limit))


def spans(row: Row) -> list[tuple[str, bool]]:
    """The row as pieces of text for showing, each with whether the model learns it."""
    if "text" in row:
        return [(row["text"], True)]
    return [(m["content"], m["role"] == "assistant") for m in row["messages"]]


def _clean(value: Any, form: Format) -> Row:
    if isinstance(value, DataError):
        raise value
    if not isinstance(value, dict):
        raise _RowError(f"this is {_kind(value)}, not an object with columns.")
    if form.name == "text":
        return {"text": _text(value, form.columns["text"])}
    if form.name == "messages":
        return {"messages": _messages(value, form.columns["messages"])}
    return {"messages": _turns(value, form.columns)}


def _turns(value: dict[str, Any], columns: dict[str, str]) -> list[dict[str, str]]:
    messages = []
    if system := _optional(value, columns.get("system")):
        messages.append({"role": "system", "content": system})
    prompt, extra = _optional(value, columns["prompt"]), _optional(value, columns.get("input"))
    if not prompt and not extra:
        raise _RowError(f"the column {columns['prompt']} is empty.")
    messages.append({"role": "user", "content": "\n\n".join(part for part in (prompt, extra) if part)})
    messages.append({"role": "assistant", "content": _text(value, columns["answer"])})
    return messages


def _messages(value: dict[str, Any], column: str) -> list[dict[str, str]]:
    given = value.get(column)
    if isinstance(given, str) and given.lstrip()[:1] == "[":
        try:
            given = json.loads(given)  # a CSV can only hold a conversation as text
        except ValueError as error:
            raise _RowError(f"the column {column} is not valid JSON.") from error
    if not isinstance(given, list) or not given:
        raise _RowError(f"the column {column} should be a list of messages, but is {_kind(given)}.")
    messages = [_message(m, number) for number, m in enumerate(given, 1)]
    _check_order([m["role"] for m in messages])
    return messages


def _message(given: Any, number: int) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _RowError(f"message {number} is {_kind(given)}, not an object with role and content.")
    role, content = given.get("role"), given.get("content")
    if role not in ROLES:
        raise _RowError(f"message {number} has the role {role!r}; system, user and assistant are understood.")
    if not isinstance(content, str):
        raise _RowError(f"message {number} ({role}) has {_kind(content)} as its content, not text.")
    if not content.strip():
        raise _RowError(f"message {number} ({role}) is empty.")
    return {"role": role, "content": content}


def _check_order(roles: list[str]) -> None:
    if "system" in roles[1:]:
        raise _RowError("a system message stands after the first place.")
    if "assistant" not in roles:
        raise _RowError("no message is an assistant's, so there is no answer to learn.")
    for number, (one, two) in enumerate(pairwise(roles), 1):
        if one == two:
            raise _RowError(f"messages {number} and {number + 1} are both of the {one}.")
    if roles[-1] != "assistant":
        raise _RowError("the last message is not the assistant's, so it has no answer.")
    if next(role for role in roles if role != "system") != "user":
        raise _RowError("the conversation does not begin with the user.")


def _text(value: dict[str, Any], column: str) -> str:
    text = _optional(value, column)
    if not text:
        raise _RowError(f"the column {column} is {'missing' if column not in value else 'empty'}.")
    return text


def _optional(value: dict[str, Any], column: str | None) -> str:
    given = value.get(column) if column else None
    if given is None:
        return ""
    if not isinstance(given, str):
        raise _RowError(f"the column {column} holds {_kind(given)}, not text.")
    return given.strip()


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", str: "text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
