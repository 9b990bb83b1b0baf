"""A kept comparison as plain facts for the page, with what may be told of it: names of a blind one only after the vote.

The same shape as `answer_grid.py` gives while answers are coming. Every way by which a comparison reaches a browser
goes through here. Knows nothing about widgets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters_store.comparison_tables import Answer, Comparison
from adapters_store.store import Store
from studio import answer_grid, comparing, contestants
from studio.answer_grid import Grid
from studio.asked import Question
from studio.contestants import Contestant
from studio.library_view import bare_hash
from studio.outsiders import Outsider

LETTERS = "ABCDEFGH"
AFTER_VOTE = "Names and proof after your vote."
NOTHING_MOVED = 0.0005  # nats; shown as 0.000


def blind(question: Question, status: str) -> Grid:
    """The columns of a blind comparison while the answers are made: nothing in them tells one from another."""
    places = comparing.order(len(question.people), question.sides)
    columns = [_hidden(at, "") for at in range(len(places))]
    for column, place in zip(columns, places, strict=True):
        column["earlier"] = [turn._asdict() for turn in question.turns[place]] if question.turns else []
    return {"state": "waiting", "blind": True, "columns": columns, "status": status, "prompt": question.prompt}


def of(store: Store, kept: Comparison) -> Grid:
    """A kept comparison as it may be seen now."""
    places = comparing.order(len(kept.answers), kept.sides)
    shown = [kept.answers[place] for place in places]
    secret = kept.is_secret
    columns = [_hidden(at, one.text) for at, one in enumerate(shown)] if secret else _named(store, kept, places)
    earlier = store.turns(kept)
    for column, place in zip(columns, places, strict=True):
        column["earlier"] = [{"prompt": one.prompt, "text": one.answers[place].text} for one in earlier]
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
        "turn": len(earlier) + 1,
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
        "earlier": [],
        "swatch": 0,
    }


def _named(store: Store, kept: Comparison, places: list[int]) -> list[Grid]:
    columns = []
    for place in places:
        answer = kept.answers[place]
        who, sampling = _who(store, kept, answer), comparing.sampling_of(kept, answer)
        company = answer_grid.company(kept.how, place)
        column = answer_grid.column(who, sampling, answer.text, answer.tokens_per_second, company)
        column |= {"key": f"{column['key']}/{place}", "name": answer.name, "swatch": place + 1}
        column["flag"] = flag(kept, answer)
        if answer.divergence is not None:
            column["what"] += f", KL {answer.divergence:.3f} from base"
        if answer.weights:
            proof = _proof(kept, answer)
            column["how"] += f", top p {sampling['top_p']:g}, {', '.join(_short(*part) for part in proof.items())}"
            told = {"files": column["whole"], **proof}
            column["whole"] = "\n".join(f"{name} {hashed}" for name, hashed in told.items())
        columns.append(column)
    return columns


def _proof(kept: Comparison, answer: Answer) -> dict[str, str]:
    """By what an answer can be told from all others, beside its files: tensors, base and template, in full."""
    base = (answer.seat or {}).get("base_fingerprint") or kept.base_fingerprint
    return {"tensors": answer.weights or "", "base": base, "template": _template(kept, answer.place)}


def _short(name: str, hashed: str) -> str:
    return f"{name} {bare_hash(hashed)[: answer_grid.SHORT]}"


def _who(store: Store, kept: Comparison, answer: Answer) -> Contestant:
    """Who answered, also where a checkpoint or a merged model is no longer there: its hash was kept."""
    adapter = None if answer.adapter_id is None else store.adapter(answer.adapter_id)
    kind, number = contestants.named((answer.seat or {}).get("value", ""))
    base = store.base_model(number if kind == "base" else kept.base_model_id)
    outsider = None
    if kind in ("checkpoint", "merged"):
        mark = answer.identity.partition("+")[0].partition("@")[0]
        outsider = Outsider(kind, number, base, answer.name, "", Path(), mark, {})  # type: ignore[arg-type]
    return Contestant(adapter.base_model if adapter else base, adapter, answer.strength, outsider)


def _template(kept: Comparison, place: int) -> str:
    return kept.how.get("template") or (kept.how.get("templates") or {}).get(str(place)) or "none"


def flag(kept: Comparison, answer: Answer) -> str:
    """What makes an answer worth nothing to compare, in the words that stand under it."""
    if answer.divergence is not None and answer.divergence < NOTHING_MOVED:
        return "does nothing here (KL 0.000)"
    if answer.weights is None:
        return ""
    others = [one for one in kept.answers[: answer.place] if one.weights == answer.weights]
    twin = next((one for one in others if one.identity != answer.identity and not _differ(one, answer)), None)
    return f"same weights as {twin.name}" if twin else ""


def _differ(one: Answer, other: Answer) -> bool:
    """Whether two columns were asked otherwise on purpose; then equal weights are nothing to point out."""
    asked = [((answer.seat or {}).get("system"), (answer.seat or {}).get("sampling")) for answer in (one, other)]
    return asked[0] != asked[1]


def _status(kept: Comparison, shown: list[Answer], names: list[str]) -> str:
    if kept.ended != "complete":
        return "Stopped." if kept.ended == "stopped" else kept.ended
    limits = {int(comparing.sampling_of(kept, one)["max_tokens"]) for one in shown}
    cut = [name for name, one in zip(names, shown, strict=True) if not one.finished]
    # Where columns have limits of their own, to name one would tell whose answer it cut.
    return answer_grid.ready(len(shown), cut, limits.pop() if len(limits) == 1 else None)


def _vote(kept: Comparison, shown: list[Answer]) -> dict[str, Any] | None:
    if kept.vote is None:
        return None
    if kept.vote.choice != "best":
        return {"at": None, "words": "You called it a tie." if kept.vote.choice == "tie" else "You found all bad."}
    at = next(at for at, one in enumerate(shown) if one.id == kept.vote.answer_id)
    return {"at": at, "words": f"You chose {LETTERS[at]}: {shown[at].name}."}
