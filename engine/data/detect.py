"""What kind of rows these are, told from the names of their columns and, where those leave it open, from their cells.

Understood are conversations (`messages`, also as ShareGPT has them), `instruction` with input and output, `prompt` with
completion, `preference` pairs and `text`; and whatever a person maps to these roles. Knows nothing about single rows
being right or wrong: see `shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.data.problems import DataError

ROLES = ("messages", "system", "prompt", "input", "answer", "text", "history", "tools", "source")
TALK_NAMES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
SYSTEM_NAMES = ("system", "system_prompt", "system_message")
PROMPT_NAMES = ("prompt", "question", "query", "user")
CONTEXT_NAMES = ("context", "input")
ANSWER_NAMES = ("completion", "response", "answer", "output", "assistant")
TEXT_NAMES = ("text", "content")
SOURCE_NAMES = ("source", "dataset", "origin", "category")  # columns that may say where a row comes from
SAMPLE = 100  # rows that tell the format
KNOWN = frozenset(
    {"instruction", "chosen", "rejected", "input_ids", *SYSTEM_NAMES, *TALK_NAMES, *PROMPT_NAMES, *CONTEXT_NAMES}
    | {*ANSWER_NAMES, *TEXT_NAMES}
)
_HOW = "Name them messages, or instruction and output, or prompt and completion, or text; or say which column is what."


@dataclass(frozen=True)
class Format:
    """How rows are read. `columns` maps a role (see ROLES) to a column."""

    name: str
    columns: dict[str, str]
    understood: str  # a sentence for the person


def detect(rows: Iterable[Any], columns: Mapping[str, str] | None = None) -> Format:
    """The format of `rows`, from the columns that the first 100 objects among them share, or as `columns` says.

    Args:
        columns: maps roles to names of columns; with the role source alone the others are found out.

    Raises:
        DataError: if there is nothing to learn from; the sentence names the columns found and those understood.
    """
    sample = [row for _, row in zip(range(SAMPLE), rows, strict=False) if isinstance(row, dict)]
    if not sample:
        raise DataError(['No row is an object with named columns, such as {"prompt": ..., "completion": ...}.'])
    given = column_names(sample)
    if columns and columns.keys() != {"source"}:
        return _mapped(columns, given)
    names = {name.strip().lower(): name for name in given}
    found = _preference(names) or _talk(names, sample) or _instruction(names) or _prompt(names) or _text(names)
    if found is None:
        raise DataError([_not_understood(names, sample)])
    if not columns:
        return _with_source(found, names, sample)
    if columns["source"] not in given:
        raise DataError([_no_column(columns["source"], given)])
    return replace(found, columns={**found.columns, **columns})


def column_names(rows: Iterable[dict[Any, Any]]) -> list[str]:
    """The names of all columns that these rows have, in the order in which they come."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def _mapped(columns: Mapping[str, str], given: list[str]) -> Format:
    """The format that a person chose. DataError with all that is wrong with the choice."""
    problems = [
        f"{role} is no role of a column; there are {', '.join(ROLES)}." for role in columns if role not in ROLES
    ]
    problems += [_no_column(name, given) for name in columns.values() if name not in given]
    kinds = [role for role in ("messages", "text", "answer") if role in columns]
    if len(kinds) != 1:
        problems.append(
            "Say which column holds the conversation (messages), or the text, or the prompt and the answer."
        )
    elif kinds == ["answer"] and not {"prompt", "input"} & columns.keys():
        problems.append("Say which column holds the prompt that is answered.")
    elif kinds != ["answer"] and {"prompt", "input"} & columns.keys():
        problems.append(f"A {kinds[0]} column stands without prompt and input.")
    if problems:
        raise DataError(problems)
    name = {"messages": "messages", "text": "text"}.get(kinds[0], "instruction" if "input" in columns else "prompt")
    said = ", ".join(f"{role} from {column}" for role, column in columns.items())
    return Format(name, dict(columns), f"Read as you mapped it: {said}.")


def _no_column(name: str, given: list[str]) -> str:
    return f"There is no column {name[:40]}. There are {_listed(given)}."


def _with_source(found: Format, names: dict[str, str], sample: list[dict[str, Any]]) -> Format:
    """The format with the column that says where rows come from, if one is called so and its values repeat."""
    column = _first(names, SOURCE_NAMES)
    if column is None or column in found.columns.values():
        return found
    values = [value for row in sample if isinstance(value := row.get(column), str | int)]
    if not values or 2 * len(set(values)) > len(values):
        return found
    return replace(found, columns={**found.columns, "source": column})


def _preference(names: dict[str, str]) -> Format | None:
    if not {"chosen", "rejected"} <= names.keys():
        return None
    prompt = _first(names, (*PROMPT_NAMES, "instruction", "input"))
    columns = {"prompt": prompt, "answer": names["chosen"]} if prompt else {"messages": names["chosen"]}
    columns |= _also(names, "system")
    told = "Read as preference pairs: the model learns the chosen answers, and the rejected ones are left out."
    return Format("preference", columns, told)


def _talk(names: dict[str, str], sample: list[dict[str, Any]]) -> Format | None:
    column = _first(names, TALK_NAMES)
    if column is None:
        return None
    columns = {"messages": column, **_also(names, "system", "tools")}
    tools = " Tools are written into the system message." if "tools" in columns else ""
    calls = " Calls of tools are written as <tool_call> and JSON." if _has_calls(sample, column) else ""
    if _is_sharegpt(sample, column):
        return Format(
            "sharegpt", columns, f"Read as ShareGPT conversations; the model learns the answers.{tools}{calls}"
        )
    return Format("messages", columns, f"Read as chat messages; the model learns the answers.{tools}{calls}")


def _instruction(names: dict[str, str]) -> Format | None:
    answer = _first(names, ("output", "response", "answer", "completion"))
    if answer is None or not ("instruction" in names or ("input" in names and not _first(names, PROMPT_NAMES))):
        return None
    if "instruction" not in names:
        return Format(
            "instruction",
            {"prompt": names["input"], "answer": answer},
            "Read as input and answer, from its column names.",
        )
    columns = {"prompt": names["instruction"], "answer": answer, **_also(names, "system", "history")}
    if more := _first(names, ("input", "context")):
        columns["input"] = more
    parts = "instruction, input and answer" if "input" in columns else "instruction and answer"
    return Format("instruction", columns, f"Read as {parts}, from its column names.")


def _prompt(names: dict[str, str]) -> Format | None:
    answer = _first(names, ANSWER_NAMES)
    prompt = _first(names, PROMPT_NAMES)
    context = _first(names, ("context",))
    if answer is None or not (prompt or context):
        return None
    columns = {"prompt": prompt or str(context), "answer": answer, **_also(names, "system", "history")}
    if prompt and context:
        columns["input"] = context
        return Format("prompt", columns, "Read as prompt, context and completion, from its column names.")
    return Format("prompt", columns, "Read as prompt and completion, from its column names.")


def _text(names: dict[str, str]) -> Format | None:
    column = _first(names, TEXT_NAMES)
    return Format("text", {"text": column}, "Read as plain text; the model learns all of it.") if column else None


def _first(names: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _also(names: dict[str, str], *roles: str) -> dict[str, str]:
    found = {role: _first(names, SYSTEM_NAMES if role == "system" else (role,)) for role in roles}
    return {role: column for role, column in found.items() if column}


def _turns(sample: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    talks = [row.get(column) for row in sample]
    return [turn for talk in talks if isinstance(talk, list) for turn in talk if isinstance(turn, dict)]


def _is_sharegpt(sample: list[dict[str, Any]], column: str) -> bool:
    turns = _turns(sample, column)
    texts = [talk for row in sample if isinstance(talk := row.get(column), str)]  # JSON in a table
    return any("from" in turn and "role" not in turn for turn in turns) or any('"from"' in text for text in texts)


def _has_calls(sample: list[dict[str, Any]], column: str) -> bool:
    turns = _turns(sample, column)
    return any(t.get("tool_calls") or t.get("function_call") or t.get("from") == "function_call" for t in turns)


def _not_understood(names: dict[str, str], sample: list[dict[str, Any]]) -> str:
    if "input_ids" in names:
        return (
            "These rows are tokenised already: numbers that mean something to one tokenizer only. "
            "Give the text that they were made from."
        )
    given = list(names.values())
    if not any(_has_words(value) for row in sample for value in row.values()):
        return f"There is nothing to learn from: the columns {_listed(given)} hold no text."
    return f"The columns {_listed(given)} are not understood. {_HOW}"


def _has_words(value: Any) -> bool:
    return any(map(str.isalpha, value)) if isinstance(value, str) else bool(value) and isinstance(value, list | dict)


def _listed(names: list[str]) -> str:
    """At most 8 column names, each cut to 40 characters: a file that is no table has strange ones."""
    shown = [name[:40] for name in names[:8]]
    return (", ".join(shown) or "(none)") + (", ..." if len(names) > 8 else "")
