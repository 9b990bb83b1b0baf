"""The answers side by side as plain facts for the page: columns with a head, a text and a proof line.

Pure: contestants and what the answerer said in, JSON out; static/compare.js writes every text as text. Knows nothing
about widgets or processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from studio import method_words
from studio.asked import Question
from studio.contestants import Contestant
from studio.library_view import bare_hash

Grid = dict[str, Any]
EMPTY: Grid = {"state": "empty", "columns": [], "status": ""}
PLAIN = ("repetition penalty", 1)  # what changes nothing
SHORT = 7  # characters of a hash that are enough to tell two adapters apart


class Pace:
    """Tokens per second of each contestant, which stands still once its answer is complete."""

    def __init__(self, contestants: int):
        self._rates: list[float | None] = [None] * contestants
        self._complete = [False] * contestants

    def after(self, snapshot: Mapping[str, Any]) -> list[float | None]:
        """The paces after one more snapshot of the answerer."""
        seconds = float(snapshot["seconds"])
        for i, (tokens, finished) in enumerate(zip(snapshot["tokens"], snapshot["finished"], strict=True)):
            if not self._complete[i] and seconds > 0 and tokens:
                self._rates[i] = tokens / seconds
            self._complete[i] = bool(finished)
        return list(self._rates)


def hint(advice: str, example: str) -> dict[str, str]:
    """What is said in the answers' place before the first question."""
    return {"advice": advice, "example": example}


def waiting(question: Question, note: str) -> Grid:
    """The columns before the first token."""
    columns = [_asked(question, place, "", None, "") for place in range(len(question.people))]
    return {"state": "waiting", "columns": columns, "status": note, "prompt": question.prompt}


def answering(question: Question, snapshot: Mapping[str, Any], pace: Sequence[float | None]) -> Grid:
    """The columns as far as the answers are."""
    columns = [
        _asked(question, place, str(text), rate, company(snapshot, place))
        for place, (text, rate) in enumerate(zip(snapshot["texts"], pace, strict=True))
    ]
    return {"state": "streaming", "columns": columns, "status": "", "prompt": question.prompt}


def _asked(question: Question, place: int, text: str, rate: float | None, company: str) -> Grid:
    """A column of a question that is being answered."""
    turns = question.turns[place] if question.turns else ()
    told = column(question.people[place], question.sampling_of(place), text, rate, company)
    named = {"key": f"{question.people[place].value}/{place}", "name": question.name_of(place), "swatch": place + 1}
    return told | named | {"earlier": [turn._asdict() for turn in turns]}


def ready(answers: int, cut: Sequence[str], max_tokens: int | None) -> str:
    """What is said once all answers are there; `cut` names those that reached their limit, if all share it."""
    told = f"{answers} answer{'s' if answers != 1 else ''} ready."
    where = "" if max_tokens is None else f" at {max_tokens:,} tokens"
    return f"{told} Cut{where}: {', '.join(cut)}." if cut else told


def ended(grid: Any, why: str) -> Grid:
    """What was said so far, after a stop or a failure. `grid` comes from the page, so only its shape is trusted."""
    known = grid if isinstance(grid, dict) and isinstance(grid.get("columns"), list) else {"columns": []}
    grid = {"state": "ended" if known["columns"] else "empty", "columns": known["columns"], "status": why}
    return of_round(grid, known["round"]) if isinstance(known.get("round"), int) else grid


def of_round(grid: Grid, number: int) -> Grid:
    """The same grid, marked with the question it belongs to: the page draws nothing older than what it shows."""
    return {**grid, "round": number}


def company(snapshot: Mapping[str, Any], place: int) -> str:
    """With whom and on what a contestant answered, where that is not plain: one fp32 batch of all on the CPU.

    Anywhere else the last bits of an answer depend on the batch, so a replay needs the same one.
    """
    together = next(batch for batch in snapshot["batches"] if place in batch)
    said = []
    if (snapshot["device"], snapshot["dtype"]) != ("cpu", "float32"):
        said.append(f"{snapshot['dtype']} on {snapshot['device']}")
        if others := [str(other + 1) for other in together if other != place]:
            said.append(f"in one batch with column{'s' if len(others) > 1 else ''} {', '.join(others)}")
    if len(together) == 1 and len(snapshot["batches"]) > 1:
        said.append("in a pass of its own")
    return ", ".join(said)


def column(one: Contestant, sampling: Mapping[str, Any], text: str, rate: float | None, company: str = "") -> Grid:
    """One column: who answers, the answer so far, and how it was asked."""
    what, whole, fact = _proof(one)
    return {
        "key": one.value,
        "name": one.name,
        "fact": fact,
        "text": text,
        "what": what,
        "whole": whole,
        "flag": "",
        "earlier": [],
        "how": f"Seed {sampling['seed']}, temperature {sampling['temperature']:g}, "
        + ("– tokens/s" if rate is None else f"{rate:.1f} tokens/s")
        + (f", {company}" if company else "")
        + _narrowing(sampling),
    }


def _proof(one: Contestant) -> tuple[str, str, str]:
    """Which files answer, in short and in full, and the fact beside the name."""
    if one.outsider is not None:
        mark = bare_hash(one.outsider.mark)
        if one.is_whole:
            return f"Whole model {mark[:SHORT]}; no KL, as its base is not in memory beside it", mark, "whole model"
        return f"Checkpoint {mark[:SHORT]}", mark, "checkpoint"
    adapter = one.adapter
    if adapter is None:
        return f"Base model {one.base.name}, {bare_hash(one.base.fingerprint)[:SHORT]}", one.base.fingerprint, ""
    whole = bare_hash(adapter.sha256)
    return f"Adapter {whole[:SHORT]}, {method_words.of_adapter(adapter)}", whole, method_words.short(adapter)


def _narrowing(sampling: Mapping[str, Any]) -> str:
    """What narrowed the draws or ended the answer, where anything did."""
    told = {"top k": "top_k", "min p": "min_p", "repetition penalty": "repetition_penalty"}
    given = {called: sampling.get(name) for called, name in told.items()}
    narrowed = "".join(f", {called} {value:g}" for called, value in given.items() if value and (called, value) != PLAIN)
    stop = ", ".join(json.dumps(word, ensure_ascii=False) for word in sampling.get("stop") or ())
    return narrowed + (f", stops before {stop}" if stop else "")
