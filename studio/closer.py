"""A closer look at a kept comparison, as plain facts for the page: what differs between two answers, how much likelier
an adapter made each token, how likely a reference is, and what judges say.

Each question is one JSON object from outside, of which nothing is believed; a blind comparison is looked at after its
vote. Knows nothing about widgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from adapters_store.comparison_tables import Answer, Comparison
from adapters_store.errors import StoreError
from adapters_store.store import Store
from jobs.ask import Answerer
from studio import comparing, contestants, judging, references, word_diff
from studio.references import times

Facts = dict[str, Any]

FACTORS = (2, 10, 100)  # how many times likelier a token has to be for each of the shades
UNPROVEN = "Nothing is known of its tokens: its proof was not made, or it was kept before tokens were."
THE_BASE = "is what the others are measured against; choose another column."
WHOLE = "is a whole model without its base in memory beside it, so nothing is known of its tokens."


def questions(store: Store, answerer: Answerer) -> list[Callable[[object], Facts]]:
    """The functions that the page may call."""

    def closer_look(question: object) -> Facts:
        return look(store, _asked_about(store, question))

    def closer_difference(question: object) -> Facts:
        kept = _asked_about(store, question)
        return difference(_shown(kept), _number(question, "one"), _number(question, "other"))

    def closer_reference(question: object) -> Facts:
        kept = _asked_about(store, question)
        return look(store, references.measure(store, answerer, kept, _text(question, "text")))

    def closer_judge(question: object) -> Facts:
        kept, value = _asked_about(store, question), _text(question, "judge")
        who = contestants.find(store, value)
        if who is None:
            raise StoreError("This judge is no longer in the library. Choose another one.")
        judging.judge(store, answerer, kept, who)
        return look(store, kept)

    return [closer_look, closer_difference, closer_reference, closer_judge]


def look(store: Store, kept: Comparison) -> Facts:
    """All but the differences, which depend on a choice; columns in the order in which the page shows them."""
    shown, pieces = _shown(kept), store.along(kept.id)
    why = judging.refusal(kept)
    return {
        "id": kept.id,
        "names": [one.name for one in shown],
        "tokens": [_tokens(kept, one, pieces.get(one.place)) for one in shown],
        "reference": _reference(kept, shown),
        "judges": [] if why else [{"value": one.value, "name": name} for name, one in contestants.offered(store)],
        "no_judge": why,
        "verdicts": _verdicts(store, kept),
    }


def _shown(kept: Comparison) -> list[Answer]:
    return [kept.answers[place] for place in comparing.order(len(kept.answers), kept.sides)]


# --- differences --------------------------------------------------------------------------------------------------


def difference(shown: Sequence[Answer], one: int, other: int) -> Facts:
    """What leads from one answer to the other. StoreError if they are not two columns."""
    if one == other or not (0 <= one < len(shown) and 0 <= other < len(shown)):
        raise StoreError("Choose two different columns.")
    first, second = shown[one], shown[other]
    spans = word_diff.differences(first.text, second.text)
    gone, new = (sum(len(span.text.split()) for span in spans if span.kind == kind) for kind in ("gone", "new"))
    if not gone and not new:
        said = f"{first.name} and {second.name} say the same, to the letter."
    else:
        said = f"{_count(gone, 'word')} only in {first.name}, {new:,} only in {second.name}."
    return {"spans": [list(span) for span in spans], "said": said}


# --- tokens -------------------------------------------------------------------------------------------------------


class Token(NamedTuple):
    """A piece of an answer: its shade from -3 to 3, where more is likelier by the adapter, and the same in words."""

    text: str
    shade: int
    words: str


def _tokens(kept: Comparison, one: Answer, pieces: Sequence[Sequence[Any]] | None) -> Facts:
    told = _within(one.text, pieces or [])
    if not told:
        return {"tokens": [], "said": _why_none(kept, one)}
    gains = [ours - theirs for _, ours, theirs in told]
    more, less = (sum(sign * gain >= math.log(FACTORS[1]) for gain in gains) for sign in (1, -1))
    said = (
        f"Of {_count(len(told), 'token')}, {more} {'is' if more == 1 else 'are'} at least {FACTORS[1]} times likelier "
        f"with {one.name} than with the base, and {less} at least {FACTORS[1]} times less likely."
    )
    return {"tokens": [list(token(*piece)) for piece in told], "said": said}


def _why_none(kept: Comparison, one: Answer) -> str:
    value = str((one.seat or {}).get("value", "base" if one.adapter_id is None else ""))
    if value.startswith("base"):
        return f"{one.name} {THE_BASE}"
    return f"{one.name} {WHOLE}" if value.startswith("merged") else f"{one.name}: {UNPROVEN}"


def _within(text: str, pieces: Sequence[Sequence[Any]]) -> list[tuple[str, float, float]]:
    """The pieces that are shown: up to where a stop word cut the answer; none if they are not of this text."""
    told, left = [], text
    for said, ours, theirs in pieces:
        if not left:
            break
        shown = said[: len(left)]
        if not left.startswith(shown):
            return []
        told.append((shown, ours, theirs))
        left = left[len(shown) :]
    return [] if left else told


def token(text: str, logprob: float, base_logprob: float) -> Token:
    """A piece with how much likelier it was: 2, 10 and 100 times are one shade more each."""
    gain = logprob - base_logprob
    shade = sum(abs(gain) >= math.log(factor) for factor in FACTORS)
    direction = "likelier" if gain > 0 else "less likely"
    how = f"{times(abs(gain))} {direction}" if shade else "about as likely"
    words = f"{_chance(logprob)} with the adapter, {_chance(base_logprob)} without: {how}"
    return Token(text, shade if gain > 0 else -shade, words)


def _chance(logprob: float) -> str:
    share = 100 * math.exp(logprob)
    if share < 0.01:
        return "under 0.01 %"
    return f"{share:.2g} %" if share < 10 else f"{share:.0f} %"


# --- a reference, and judges --------------------------------------------------------------------------------------


def _reference(kept: Comparison, shown: Sequence[Answer]) -> Facts | None:
    if kept.reference is None:
        return None
    by_place = dict(zip((one.place for one in kept.answers), references.rows(kept), strict=True))
    rows = [{"name": one.name, "said": references.said(by_place[one.place])} for one in shown]
    return {"text": kept.reference["text"], "rows": rows, "said": references.sentence(kept)}


def _verdicts(store: Store, kept: Comparison) -> list[Facts]:
    """Each judge with its verdicts on this comparison, and what all that it has read says of it; the newest first."""
    found = [one.verdict for one in store.verdicts(comparison_id=kept.id)]
    told = []
    for judge in dict.fromkeys(one.judge for one in reversed(found)):
        rows = [judging.verdict_row(kept, one) for one in found if one.judge == judge]
        name = rows[0]["judge"]
        said = judging.sentences(name, judging.record(store.verdicts(judge=judge)))
        own = [judging.OWN] if judge in {one.identity for one in kept.answers} else []
        told.append({"key": judge, "judge": name, "rows": rows, "sentences": [*own, *said]})
    return told


# --- from outside -------------------------------------------------------------------------------------------------


def _asked_about(store: Store, question: object) -> Comparison:
    kept = store.comparison(_number(question, "id"))
    if kept.is_secret:
        raise StoreError("This comparison is blind and waits for its vote. Look closer after that.")
    return kept


def _number(question: object, name: str) -> int:
    value = question.get(name) if isinstance(question, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else -1


def _text(question: object, name: str) -> str:
    value = question.get(name) if isinstance(question, dict) else None
    return value if isinstance(value, str) else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"
