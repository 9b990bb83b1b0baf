"""Conversations as people keep them, made the one way they are kept here: [{"role", "content"[, "weight"]}, ...].

Roles are system, user, assistant and tool. Read are messages with role and content (text, or parts of text), their
calls of tools, and ShareGPT's from and value. Knows nothing about columns or files.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from engine.data.problems import RowError

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
}
_UNDERSTOOD = "system, user, assistant and tool are understood"
_TEXT_PARTS = ("text", "input_text", "output_text")
_SPOKEN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \n]?")  # a conversation as one text


def conversation(given: Any, column: str, system: str = "", tools: str = "") -> list[Message]:
    """The conversation that a cell holds, with what else stands in front of it. RowError if it cannot be learned."""
    messages = [_message(value, number) for number, value in enumerate(_listed(given, column), 1)]
    for text in (f"Tools:\n{tools}" if tools else "", system):
        if text:
            messages.insert(0, {"role": "system", "content": text})
    messages = _one_system(messages)
    check_order([message["role"] for message in messages])
    return messages


def check_order(roles: list[str]) -> None:
    """RowError if a model could not learn from turns in this order."""
    if "system" in roles[1:]:
        raise RowError("a system message stands after the first place.")
    if "assistant" not in roles:
        raise RowError("no message is an assistant's, so there is no answer to learn.")
    for number, (one, two) in enumerate(pairwise(roles), 1):
        if one == two != "tool":
            raise RowError(f"messages {number} and {number + 1} are both of the {one}.")
        if two == "tool" and one == "user":
            raise RowError(f"message {number + 1} is a tool's, but no assistant called it.")
    if roles[-1] != "assistant":
        raise RowError("the last message is not the assistant's, so it has no answer.")
    if next(role for role in roles if role != "system") != "user":
        raise RowError("the conversation does not begin with the user.")


def kind(value: Any) -> str:
    """What a value is, in words."""
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", str: "text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def whole(text: str) -> str:
    """The text itself. RowError if it holds half of a character, which no file could hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RowError("it holds half of a character (a lone surrogate), which is no text.") from error
    return text


def _listed(given: Any, column: str) -> list[Any]:
    if isinstance(given, str):
        given = _from_text(given, column)
    if not isinstance(given, list) or not given:
        raise RowError(f"the column {column} should be a list of messages, but is {kind(given)}.")
    return given


def _from_text(text: str, column: str) -> Any:
    """A conversation in a cell of text: JSON in a table, or spoken parts as in some preference pairs."""
    if text.lstrip()[:1] == "[":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RowError(f"the column {column} is not valid JSON.") from error
    parts = _SPOKEN.split(text)
    if len(parts) < 3 or parts[0].strip():
        return text
    said = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": "user" if who == "Human" else "assistant", "content": words.strip()} for who, words in said]


def _message(given: Any, number: int) -> Message:
    if not isinstance(given, dict):
        raise RowError(f"message {number} is {kind(given)}, not an object with role and content.")
    named = given.get("role", given.get("from"))
    role = ROLES.get(named.strip().lower()) if isinstance(named, str) else None
    if role is None or not isinstance(named, str):
        raise RowError(f"message {number} has the role {_short(named)}; {_UNDERSTOOD}.")
    content = _content(given, number, named)
    if role == "assistant":
        content = "\n".join(filter(None, [content if content.strip() else "", *_calls(given, named, number)]))
    if not content.strip():
        raise RowError(f"message {number} ({named}) is empty.")
    message: Message = {"role": role, "content": whole(content)}
    if (weight := _weight(given, number, named)) != 1:
        message["weight"] = weight
    return message


def _content(given: dict[str, Any], number: int, role: str) -> str:
    content = given.get("content", given.get("value"))
    if isinstance(content, list):
        return "".join(_part(part, number, role) for part in content)
    if content is None and (given.get("tool_calls") or given.get("function_call")):
        return ""
    if role == "function_call":
        return ""  # what it says is the call
    if role in ("tool", "function", "observation") and isinstance(content, dict):
        return json.dumps(content, ensure_ascii=False)
    if not isinstance(content, str):
        raise RowError(f"message {number} ({role}) has {kind(content)} as its content, not text.")
    return content


def _part(part: Any, number: int, role: str) -> str:
    if isinstance(part, str):
        return part
    found = part.get("type", "text" if "text" in part else None) if isinstance(part, dict) else kind(part)
    if found not in _TEXT_PARTS or not isinstance(part.get("text"), str):
        raise RowError(f"message {number} ({role}) has a part that is no text ({_short(found)}).")
    return str(part["text"])


def _calls(given: dict[str, Any], role: str, number: int) -> list[str]:
    """The calls of tools that a message makes, as the text that models are commonly taught to write."""
    found = given.get("tool_calls") or ([given["function_call"]] if given.get("function_call") else [])
    if role == "function_call":
        found = [given.get("value", given.get("content"))]
    if not isinstance(found, list):
        raise RowError(f"message {number} ({role}) has {kind(found)} as its tool calls, not a list.")
    return [f"<tool_call>\n{_call(call, number)}\n</tool_call>" for call in found]


def _call(call: Any, number: int) -> str:
    call = _parsed(call)
    function = call.get("function", call) if isinstance(call, dict) else call
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError(f"message {number} calls a tool without a name.")
    arguments = _parsed(function.get("arguments", {}))
    return json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)


def _parsed(value: Any) -> Any:
    """What a text of JSON says; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _weight(given: dict[str, Any], number: int, role: str) -> int:
    weight = given.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1):  # a token is learned or not
        raise RowError(f"message {number} ({role}) has the weight {_short(weight)}; it has to be 0 or 1.")
    return int(weight)


def _one_system(messages: list[Message]) -> list[Message]:
    """Several system messages at the beginning are one."""
    count = next((n for n, message in enumerate(messages) if message["role"] != "system"), len(messages))
    if count < 2:
        return messages
    joined = "\n\n".join(message["content"] for message in messages[:count])
    return [{"role": "system", "content": joined}, *messages[count:]]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
