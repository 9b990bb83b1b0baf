"""What a suite asks: messages that end where an answer is due, and the answer that would be right, if one is known.

Made from typed lines or from clean rows of the data reader. Knows nothing about models, scores or the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

MOST_PROMPTS = 2_000  # of one suite
MOST_CHARACTERS = 100_000  # of one prompt with its reference

NO_QUESTION = "it is plain text, which asks nothing"


class SuiteError(ValueError):
    """A suite that cannot be made or run. `problems` are sentences for a person."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = list(problems)


class Prompt(NamedTuple):
    """One thing to ask. `messages` are {"role", "content"}; `reference` is None where nobody knows the answer."""

    messages: list[dict[str, str]]
    reference: str | None = None


def typed(texts: Iterable[str], references: Sequence[str] = ()) -> list[Prompt]:
    """Each text that is more than white space, asked by itself; the reference at its place, if any, is its own.

    Raises:
        SuiteError: a reference stands where no text does.
    """
    pairs = [(text.strip(), reference.strip()) for text, reference in zip_longest(texts, references, fillvalue="")]
    stray = [str(line) for line, (text, reference) in enumerate(pairs, 1) if reference and not text]
    if stray:
        raise SuiteError([f"There are references without a prompt, in line {', '.join(stray[:10])}."])
    return [Prompt([{"role": "user", "content": text}], reference or None) for text, reference in pairs if text]


def of_rows(rows: Iterable[Mapping[str, Any]]) -> list[Prompt]:
    """Clean rows as prompts: all up to the last answer is asked, and that answer is the reference.

    Raises:
        SuiteError: naming the rows, counted from 1, that ask nothing.
    """
    made, wrong = [], []
    for number, row in enumerate(rows, 1):
        try:
            made.append(_of_row(row))
        except ValueError as error:
            wrong.append(f"Row {number}: {error}.")
    if wrong:
        more = [f"And {len(wrong) - 10:,} more."] if len(wrong) > 10 else []
        raise SuiteError(["These rows cannot be asked.", *wrong[:10], *more])
    return made


def problems(prompts: Sequence[Prompt]) -> list[str]:
    """Why these cannot be a suite: there is none, there are too many, or one is too long. Empty when they can."""
    if not prompts:
        return ["A suite needs at least one prompt."]
    wrong = []
    if len(prompts) > MOST_PROMPTS:
        wrong.append(f"There are {len(prompts):,} prompts; a suite takes {MOST_PROMPTS:,}. Take fewer.")
    for number, one in enumerate(prompts, 1):
        characters = sum(len(message["content"]) for message in one.messages) + len(one.reference or "")
        if characters > MOST_CHARACTERS:
            wrong.append(f"Prompt {number} has {characters:,} characters; {MOST_CHARACTERS:,} are the most.")
    return wrong[:10]


def with_system(messages: Sequence[Mapping[str, str]], system: str) -> list[dict[str, str]]:
    """The messages after the suite's system message, unless they bring their own."""
    own = bool(messages) and messages[0]["role"] == "system"
    first = [{"role": "system", "content": system}] if system and not own else []
    return [*first, *(dict(message) for message in messages)]


def _of_row(row: Mapping[str, Any]) -> Prompt:
    if "messages" not in row:
        raise ValueError(NO_QUESTION)
    messages = [{"role": str(m["role"]), "content": str(m["content"])} for m in row["messages"]]
    at = max((place for place, one in enumerate(messages) if one["role"] == "assistant"), default=len(messages))
    asked = messages[:at]
    if not any(one["role"] == "user" for one in asked):
        raise ValueError("nobody asks anything before its last answer")
    return Prompt(asked, messages[at]["content"] if at < len(messages) else None)
