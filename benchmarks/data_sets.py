"""The rows that every contestant learns: instructions under a system prompt, and answers of very uneven length.

Both are made of the bundled samples, from a seed, so everybody measures on the same rows. Knows nothing about models.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from engine import starter
from engine.data.check import read

VALIDATION_ROWS = 8
LONGEST, MEDIAN, SPREAD = 340, 75, 0.9  # words of an uneven answer: lognormal, cut at both ends
SHORTEST = 10

SYSTEM = (
    "You read messages about orders and invoices and answer in JSON, and with nothing else. Use these keys, in this "
    "order: vendor, the company that sends the bill, as it writes its own name; number, the invoice or order number, "
    "letters and hyphens included; date, the day of the invoice as YYYY-MM-DD; currency, the three letters of ISO "
    "4217; total, a number with two decimals and no sign; items, a list of objects with name, in the plural and "
    "without the article, and quantity, a whole number. Leave out shipping, greetings and payment terms. Write "
    "null where the message does not say, and never guess."
)

TITLES = {
    "long-system": "instructions under a long system prompt",
    "uneven": "long, uneven answers",
    "short-system": "instructions under a short system prompt",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """Rows to learn from and rows to measure on."""

    title: str
    train: list[Row]
    validation: list[Row]


def data_set(name: str, rows: int) -> DataSet:
    """The set of that name with `rows` training rows: short-system, long-system or uneven."""
    if name == "uneven":
        made = [_uneven(number) for number in range(rows + VALIDATION_ROWS)]
        return DataSet(TITLES[name], made[:rows], made[rows:])
    train, held_out = (_sample("invoice-json", held_out) for held_out in (False, True))
    if name == "long-system":
        train, held_out = ([_under(SYSTEM, row) for row in some] for some in (train, held_out))
    chosen = random.Random("rows of the benchmark").sample(train, rows)
    return DataSet(TITLES[name], chosen, held_out[:VALIDATION_ROWS])


def _sample(name: str, held_out: bool) -> list[Row]:
    sample = next(sample for sample in starter.samples() if sample.name == name)
    return read(sample.held_out if held_out else sample.path).rows


def _under(system: str, row: Row) -> Row:
    return {"messages": [{"role": "system", "content": system}, *row["messages"][1:]]}


def _uneven(number: int) -> Row:
    """A question, and an answer of sentences from the samples, lognormal in length."""
    draw = random.Random(f"uneven {number}")
    wanted = min(LONGEST, max(SHORTEST, draw.lognormvariate(0, SPREAD) * MEDIAN))
    sentences = _sentences()
    said: list[str] = []
    while sum(len(sentence.split()) for sentence in said) < wanted:
        said.append(draw.choice(sentences))
    question = f"Go on with the diary of the island, from here: {draw.choice(sentences)}"
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": " ".join(said)}]}


def _sentences() -> list[str]:
    texts = [row["text"] for row in _sample("plain-text", held_out=False)]
    return [f"{part.strip().rstrip('.')}." for text in texts for part in text.split(". ") if part.strip()]
