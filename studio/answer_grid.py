"""The answers side by side as plain facts for the page: columns with a head, a text and a proof line.

Pure: contestants and what the answerer said in, JSON out; static/compare.js writes every text as text. Knows nothing
about widgets or processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from studio import method_words
from studio.contestants import Contestant
from studio.library_view import bare_hash

Grid = dict[str, Any]
EMPTY: Grid = {"state": "empty", "columns": [], "status": ""}
SHORT = 7  # characters of a hash that are enough to tell two adapters apart


class Sampling(NamedTuple):
    """How the answers are drawn; the same for every contestant."""

    seed: int
    temperature: float
    top_p: float
    max_tokens: int


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


def waiting(chosen: Sequence[Contestant], sampling: Sampling, note: str) -> Grid:
    """The columns before the first token."""
    columns = [column(one, sampling, "", None) | {"swatch": place + 1} for place, one in enumerate(chosen)]
    return {"state": "waiting", "columns": columns, "status": note}


def answering(
    chosen: Sequence[Contestant], sampling: Sampling, snapshot: Mapping[str, Any], pace: Sequence[float | None]
) -> Grid:
    """The columns as far as the answers are."""
    columns = [
        column(one, sampling, str(text), rate, company(snapshot, place)) | {"swatch": place + 1}
        for place, (one, text, rate) in enumerate(zip(chosen, snapshot["texts"], pace, strict=True))
    ]
    return {"state": "streaming", "columns": columns, "status": ""}


def ready(answers: int, cut: Sequence[str], max_tokens: int) -> str:
    """What is said once all answers are there; `cut` names those that reached the limit of tokens."""
    told = f"{answers} answer{'s' if answers != 1 else ''} ready."
    return f"{told} Cut at {max_tokens:,} tokens: {', '.join(cut)}." if cut else told


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


def column(one: Contestant, sampling: Sampling, text: str, rate: float | None, company: str = "") -> Grid:
    """One column: who answers, the answer so far, and how it was asked."""
    adapter = one.adapter
    if adapter is None:
        what, fact = f"Base model {one.base.name}, {bare_hash(one.base.fingerprint)[:SHORT]}", ""
        whole = one.base.fingerprint
    else:
        what = f"Adapter {bare_hash(adapter.sha256)[:SHORT]}, {method_words.of_adapter(adapter)}"
        fact = method_words.short(adapter)
        whole = bare_hash(adapter.sha256)
    return {
        "key": one.value,
        "name": one.name,
        "fact": fact,
        "text": text,
        "what": what,
        "whole": whole,
        "flag": "",
        "how": f"Seed {sampling.seed}, temperature {sampling.temperature:g}, "
        + ("– tokens/s" if rate is None else f"{rate:.1f} tokens/s")
        + (f", {company}" if company else ""),
    }
