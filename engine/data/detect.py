"""What kind of rows these are, told from the names of their columns.

Four formats are understood: chat `messages`, `instruction` (with input and output), `prompt` (with completion) and
`text`. Knows nothing about single rows being right or wrong: see `check.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.data.read import DataError

PROMPT_NAMES = ("prompt", "question")
ANSWER_NAMES = ("completion", "response", "answer", "output")


@dataclass(frozen=True)
class Format:
    """How rows are read. `columns` maps a role (prompt, input, answer, system, text, messages) to a column."""

    name: str
    columns: dict[str, str]
    understood: str  # a sentence for the person


def detect(rows: Iterable[Any]) -> Format:
    """The format of `rows`, from the columns that the first 100 objects among them share.

    Raises:
        DataError: if there is nothing to learn from; the sentence names the columns found and those understood.
    """
    sample = [row for _, row in zip(range(100), rows, strict=False) if isinstance(row, dict)]
    if not sample:
        raise DataError(['No row is an object with named columns, such as {"prompt": ..., "completion": ...}.'])
    names = {str(name).strip().lower(): str(name) for row in sample for name in row}
    found = _messages(names) or _instruction(names) or _prompt(names) or _text(names)
    if found is None:
        raise DataError(
            [
                f"The columns {_listed(names)} are not understood. "
                "Name them messages, or instruction and output, or prompt and completion, or text."
            ]
        )
    return found


def _listed(names: dict[str, str]) -> str:
    """At most 8 column names, each cut to 40 characters: a file that is no table has strange ones."""
    shown = [name[:40] for name in sorted(names.values())[:8]]
    return (", ".join(shown) or "(none)") + (", ..." if len(names) > 8 else "")


def _messages(names: dict[str, str]) -> Format | None:
    if "messages" not in names:
        return None
    return Format("messages", {"messages": names["messages"]}, "Read as chat messages; the model learns the answers.")


def _instruction(names: dict[str, str]) -> Format | None:
    answer = next((names[n] for n in ("output", "response", "answer", "completion") if n in names), None)
    if "instruction" not in names or answer is None:
        return None
    columns = {"prompt": names["instruction"], "answer": answer}
    columns |= {role: names[role] for role in ("input", "system") if role in names}
    parts = "instruction, input and answer" if "input" in columns else "instruction and answer"
    return Format("instruction", columns, f"Read as {parts}, from its column names.")


def _prompt(names: dict[str, str]) -> Format | None:
    prompt = next((names[n] for n in PROMPT_NAMES if n in names), None)
    answer = next((names[n] for n in ANSWER_NAMES if n in names), None)
    if prompt is None or answer is None:
        return None
    columns = {"prompt": prompt, "answer": answer}
    columns |= {"system": names["system"]} if "system" in names else {}
    return Format("prompt", columns, "Read as prompt and completion, from its column names.")


def _text(names: dict[str, str]) -> Format | None:
    if "text" not in names:
        return None
    return Format("text", {"text": names["text"]}, "Read as plain text; the model learns all of it.")
