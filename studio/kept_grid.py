"""A kept comparison as plain facts for the page, with what may be told of it: names of a blind one only after the vote.

The same shape as `answer_grid.py` gives while answers are coming. Every way by which a comparison reaches a browser
goes through here. Knows nothing about widgets.
"""

from __future__ import annotations

from typing import Any

from adapters_store.comparison_tables import Answer, Comparison
from adapters_store.store import Store
from studio import answer_grid, comparing
from studio.answer_grid import Grid, Sampling
from studio.contestants import Contestant

LETTERS = "ABCDEFGH"
AFTER_VOTE = "Names and proof after your vote."
PLAIN = ("repetition penalty", 1)  # what changes nothing
NOTHING_MOVED = 0.0005  # nats; shown as 0.000


def blind(count: int, status: str) -> Grid:
    """The columns of a blind comparison while the answers are made: nothing in them tells one from another."""
    return {"state": "waiting", "blind": True, "columns": [_hidden(at, "") for at in range(count)], "status": status}


def of(store: Store, kept: Comparison) -> Grid:
    """A kept comparison as it may be seen now."""
    places = comparing.order(len(kept.answers), kept.sides)
    shown = [kept.answers[place] for place in places]
    secret = kept.is_secret
    columns = [_hidden(at, one.text) for at, one in enumerate(shown)] if secret else _named(store, kept, places)
    names = [LETTERS[at] if secret else one.name for at, one in enumerate(shown)]
    return {
        "state": "complete" if kept.ended == "complete" else "ended",
        "id": kept.id,
        "blind": kept.sides is not None,
        "secret": secret,
        "columns": columns,
        "status": _status(kept, shown, names),
        "vote": _vote(kept, shown),
        "prompt": kept.prompt,
    }


def _hidden(at: int, text: str) -> Grid:
    return {
        "key": LETTERS[at],
        "name": LETTERS[at],
        "fact": "",
        "text": text,
        "what": AFTER_VOTE,
        "whole": "",
        "how": "",
        "flag": "",
        "swatch": 0,
    }


def _named(store: Store, kept: Comparison, places: list[int]) -> list[Grid]:
    base = store.base_model(kept.base_model_id)
    sampling = Sampling(*(kept.sampling[name] for name in Sampling._fields))
    columns = []
    for place in places:
        answer = kept.answers[place]
        adapter = None if answer.adapter_id is None else store.adapter(answer.adapter_id)
        column = answer_grid.column(
            Contestant(base, adapter, answer.strength),
            sampling,
            answer.text,
            answer.tokens_per_second,
            answer_grid.company(kept.how, place),
        )
        column |= {"name": answer.name, "swatch": place + 1, "flag": _flag(kept, answer)}
        column["how"] += _narrowing(kept)
        if answer.divergence is not None:
            column["what"] += f", KL {answer.divergence:.3f} from base"
        if answer.weights:
            column["how"] += f", tensors {answer.weights[: answer_grid.SHORT]}"
            told = [f"files {column['whole']}", f"tensors {answer.weights}", f"base {kept.base_fingerprint}"]
            column["whole"] = "\n".join([*told, f"template {kept.how.get('template') or 'none'}"])
        columns.append(column)
    return columns


def _narrowing(kept: Comparison) -> str:
    """What narrowed the draws, where anything did."""
    told = {"top k": "top_k", "min p": "min_p", "repetition penalty": "repetition_penalty"}
    given = {called: kept.sampling.get(name) for called, name in told.items()}
    return "".join(f", {called} {value:g}" for called, value in given.items() if value and (called, value) != PLAIN)


def _flag(kept: Comparison, answer: Answer) -> str:
    """What makes an answer worth nothing to compare, in the words that stand under it."""
    if answer.divergence is not None and answer.divergence < NOTHING_MOVED:
        return "does nothing here (KL 0.000)"
    if answer.weights is None:
        return ""
    twin = next((one for one in kept.answers[: answer.place] if one.weights == answer.weights), None)
    return f"same weights as {twin.name}" if twin else ""


def _status(kept: Comparison, shown: list[Answer], names: list[str]) -> str:
    if kept.ended != "complete":
        return "Stopped." if kept.ended == "stopped" else kept.ended
    most = int(kept.sampling["max_tokens"])
    cut = [name for name, one in zip(names, shown, strict=True) if one.tokens >= most]
    return answer_grid.ready(len(shown), cut, most)


def _vote(kept: Comparison, shown: list[Answer]) -> dict[str, Any] | None:
    if kept.vote is None:
        return None
    if kept.vote.choice != "best":
        return {"at": None, "words": "You called it a tie." if kept.vote.choice == "tie" else "You found all bad."}
    at = next(at for at, one in enumerate(shown) if one.id == kept.vote.answer_id)
    return {"at": at, "words": f"You chose {LETTERS[at]}: {shown[at].name}."}
