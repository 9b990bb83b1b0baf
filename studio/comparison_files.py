"""Kept comparisons as files: JSONL, CSV and Markdown, and votes as preference pairs to learn from.

Blind comparisons that wait for their vote are left out by every function here: a file would tell the names. Knows
nothing about routes or the command line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any

from adapters_store.comparison_tables import Answer, Comparison
from adapters_store.store import Store
from studio import comparing, references
from studio.records import when

Record = dict[str, Any]
Messages = list[dict[str, str]]

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins with one of these


def told(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Those whose names may be told."""
    return [one for one in comparisons if not one.is_secret]


def record(kept: Comparison) -> Record:
    """A comparison with all that was kept of it."""
    best = kept.vote.answer_id if kept.vote else None
    return {
        "id": kept.id,
        "at": when(kept.created_at),
        "prompt": kept.prompt,
        "system": kept.system,
        "base": kept.base_name,
        "base_fingerprint": kept.base_fingerprint,
        "precision": kept.precision,
        "sampling": kept.sampling,
        "how": kept.how,
        "blind": kept.sides is not None,
        "sides": kept.sides,
        "ended": kept.ended,
        "vote": kept.vote.choice if kept.vote else None,
        "best": next((one.name for one in kept.answers if one.id == best), None),
        "follows": kept.follows_id,
        "answers": [_answer(kept, one) for one in kept.answers],
        "reference": kept.reference and {"text": kept.reference["text"], "likelihoods": references.rows(kept)},
    }


def _answer(kept: Comparison, one: Answer) -> Record:
    names = ("name", "adapter_id", "strength", "identity", "weights", "divergence", "text", "tokens", "finished")
    own, seat = comparing.own_of(one), one.seat or {}
    return {name: getattr(one, name) for name in names} | {
        "tokens_per_second": one.tokens_per_second,
        "base": seat.get("base", kept.base_name),
        "system": kept.system if own.system is None else own.system,
        "sampling": comparing.sampling_of(kept, one),
    }


def jsonl(comparisons: Iterable[Comparison]) -> str:
    """One comparison a line."""
    return _lines(map(record, told(comparisons)))


def table(comparisons: Iterable[Comparison]) -> str:
    """CSV, one answer a line. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = io.StringIO()
    heads = ("comparison", "at", "prompt", "contestant", "seed", "kl", "vote", "best", "answer")
    rows = csv.DictWriter(out, heads, lineterminator="\n")
    rows.writeheader()
    for kept in told(comparisons):
        for one in kept.answers:
            best = bool(kept.vote and kept.vote.answer_id == one.id)
            row = {
                "comparison": kept.id,
                "at": when(kept.created_at),
                "prompt": kept.prompt,
                "contestant": one.name,
                "seed": comparing.sampling_of(kept, one)["seed"],
                "kl": one.divergence,
                "vote": kept.vote.choice if kept.vote else "",
                "best": "yes" if best else "",
                "answer": one.text,
            }
            rows.writerow({name: defused(value) for name, value in row.items()})
    return out.getvalue()


def defused(value: object) -> object:
    """A cell that no spreadsheet computes."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def markdown(comparisons: Iterable[Comparison]) -> str:
    """To read: each prompt with the answers under it. Texts are quoted line by line, so none becomes a heading."""
    return "\n".join(part for kept in told(comparisons) for part in _read(kept))


def _read(kept: Comparison) -> Iterable[str]:
    sampling = ", ".join(f"{name} {json.dumps(value)}" for name, value in kept.sampling.items())
    goes_on = f" It goes on with comparison {kept.follows_id}." if kept.follows_id else ""
    yield f"## Comparison {kept.id}\n\n{quoted(kept.prompt)}\n\nBase {kept.base_name}; {sampling}.{goes_on}\n"
    for one in kept.answers:
        best = " (chosen)" if kept.vote and kept.vote.answer_id == one.id else ""
        yield f"### {one.name}{best}\n\n{quoted(one.text)}\n"


def quoted(text: str) -> str:
    """A text as a quotation, line by line, so that none of it becomes a heading."""
    return "\n".join(f"> {line}" for line in text.splitlines() or [""])


def pairs(store: Store, comparisons: Iterable[Comparison]) -> str:
    """Preference pairs as JSONL, prompt, chosen and rejected: the best answer of a vote with each of the others.

    Plain texts where nothing but a prompt was asked. Where anything was beside it, a system message or earlier turns,
    all are lists of messages; the prompt is then what both conversations begin with alike, as columns may have answered
    otherwise before.
    """
    found = [pair for kept in comparisons for pair in _pairs(store, kept)]
    plain = all(len(one) == len(other) == 2 and one[0] == other[0] for one, other in found)
    return _lines(_as_texts(*pair) if plain else _as_messages(*pair) for pair in found)


def _pairs(store: Store, kept: Comparison) -> Iterable[tuple[Messages, Messages]]:
    """The whole conversation of the best answer with that of each of the others."""
    best = next((one for one in kept.answers if kept.vote and one.id == kept.vote.answer_id), None)
    earlier = store.turns(kept) if best else []
    for one in kept.answers if best else []:
        if best and one.text != best.text:
            yield _conversation(kept, earlier, best), _conversation(kept, earlier, one)


def _conversation(kept: Comparison, earlier: Sequence[Comparison], one: Answer) -> Messages:
    own = comparing.own_of(one).system
    system = kept.system if own is None else own
    turns = [(turn.prompt, turn.answers[one.place].text) for turn in earlier]
    told = [{"role": "system", "content": system}] if system else []
    for prompt, text in [*turns, (kept.prompt, one.text)]:
        told += [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return told


def _as_texts(best: Messages, other: Messages) -> Record:
    return {"prompt": best[0]["content"], "chosen": best[1]["content"], "rejected": other[1]["content"]}


def _as_messages(best: Messages, other: Messages) -> Record:
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(best, other, strict=False))))
    return {"prompt": best[:alike], "chosen": best[alike:], "rejected": other[alike:]}


def _lines(records: Iterable[Record]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records)


FORMS: dict[str, Callable[[Iterable[Comparison]], str]] = {"jsonl": jsonl, "csv": table, "md": markdown}
MEDIA = {"jsonl": "application/jsonl", "csv": "text/csv", "md": "text/markdown"}
