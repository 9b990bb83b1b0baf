"""One row of a file made one of the two shapes that are kept: {"messages": [...]} or {"text": ...}.

Either also has "source", what the column of that role says, where there is one.

Which column plays which role was found before, in `detect.py`. Knows nothing about files or tokens.
"""

from __future__ import annotations

import json
from typing import Any

from engine.data.conversation import Message, conversation, kind, whole
from engine.data.detect import Format
from engine.data.problems import RowError

Row = dict[str, Any]
LONGEST_SOURCE = 60  # characters that tell sources apart


def clean(value: Any, form: Format) -> Row:
    """The row that `value` is. RowError with the reason why it is none."""
    if isinstance(value, RowError):
        raise value
    if not isinstance(value, dict):
        raise RowError(f"this is {kind(value)}, not an object with columns.")
    row = _shaped(value, form.columns)
    if "source" in form.columns and (source := _source(value.get(form.columns["source"]))):
        row["source"] = source
    return row


def _shaped(value: dict[str, Any], columns: dict[str, str]) -> Row:
    if "text" in columns:
        return {"text": _text(value, columns["text"])}
    if "messages" in columns:
        told = (_optional(value, columns.get("system")), _tools(value, columns.get("tools")))
        return {"messages": conversation(value.get(columns["messages"]), columns["messages"], *told)}
    return {"messages": _turns(value, columns)}


def _source(given: Any) -> str:
    return whole(str(given).strip()[:LONGEST_SOURCE]) if isinstance(given, str | int | float) else ""


def _turns(value: dict[str, Any], columns: dict[str, str]) -> list[Message]:
    prompt, answer = columns.get("prompt", columns.get("input", "")), columns["answer"]
    if isinstance(value.get(prompt), list) or isinstance(value.get(answer), list):
        return _spoken(value, prompt, answer, _optional(value, columns.get("system")))
    messages = []
    if system := _optional(value, columns.get("system")):
        messages.append({"role": "system", "content": system})
    messages += _history(value, columns.get("history"))
    asked = [_optional(value, columns.get(role)) for role in ("prompt", "input")]
    if not any(asked):
        raise RowError(f"the column {prompt} is {_lacking(value, prompt)}.")
    messages.append({"role": "user", "content": "\n\n".join(part for part in asked if part)})
    messages.append({"role": "assistant", "content": _text(value, answer)})
    return messages


def _spoken(value: dict[str, Any], prompt: str, answer: str, system: str) -> list[Message]:
    """Prompt and answer that are parts of a conversation, either as messages; the answer may repeat the prompt."""
    asked, said = value.get(prompt), value.get(answer)
    before = asked if isinstance(asked, list) else [{"role": "user", "content": _text(value, prompt)}]
    after = said if isinstance(said, list) else [{"role": "assistant", "content": _text(value, answer)}]
    if not all(isinstance(message, dict) for message in (*before, *after)):
        raise RowError(f"the column {answer if isinstance(said, list) else prompt} holds a list, not text.")
    told = after if after[: len(before)] == before else [*before, *after]
    return conversation(told, answer, system)


def _history(value: dict[str, Any], column: str | None) -> list[Message]:
    """Earlier turns, as pairs of question and answer."""
    pairs = value.get(column) if column else None
    if not pairs:
        return []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise RowError(f"the column {column} should be a list of pairs, each a question and its answer.")
    said = [text for pair in pairs for text in pair]
    if not all(isinstance(text, str) and text.strip() for text in said):
        raise RowError(f"the column {column} has an empty turn.")
    roles = ["user", "assistant"] * len(pairs)
    return [{"role": role, "content": whole(text)} for role, text in zip(roles, said, strict=True)]


def _tools(value: dict[str, Any], column: str | None) -> str:
    """The tools of a conversation as the text that they are, or are written as."""
    given = value.get(column) if column else None
    if given is None or isinstance(given, str):
        return whole((given or "").strip())
    return json.dumps(given, ensure_ascii=False) if given else ""


def _text(value: dict[str, Any], column: str) -> str:
    text = _optional(value, column)
    if not text:
        raise RowError(f"the column {column} is {_lacking(value, column)}.")
    return text


def _lacking(value: dict[str, Any], column: str) -> str:
    return "missing" if column not in value else "null" if value[column] is None else "empty"


def _optional(value: dict[str, Any], column: str | None) -> str:
    given = value.get(column) if column else None
    if given is None:
        return ""
    if not isinstance(given, str):
        raise RowError(f"the column {column} holds {kind(given)}, not text.")
    return whole(given.strip())
