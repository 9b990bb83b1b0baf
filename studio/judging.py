"""A model of the library as judge: it reads a prompt and two answers, both ways round, and says which is better.

What it reads, and what two readings come to, is in `engine/suites/judge.py`. How such verdicts agree with the votes of
people is counted here and told in words, and so is how much the judge goes by the place alone. Knows nothing about
widgets or the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from adapters_store.comparison_tables import Answer, Comparison, Verdict
from adapters_store.errors import StoreError
from adapters_store.store import Store
from adapters_store.store_closer import Judged
from engine.suites import judge as reading
from engine.votes import Share, sign_test, wilson
from jobs.ask import Answerer
from studio import room_beside, seating
from studio.contestants import Contestant

DEADLINE = 900  # seconds for all pairs of one comparison
FEW = 30  # votes below which agreement tells little
EVEN = 0.5  # the share by chance
OWN = "It judges its own answers here, which models tend to like better (Zheng et al. 2023, section 3.3)."

Facts = dict[str, Any]


class Pair(NamedTuple):
    """Two different answers to one prompt."""

    one: Answer
    other: Answer


def pairs(kept: Comparison) -> list[Pair]:
    """The pairs of a comparison that can be judged: answers whose texts differ."""
    return [Pair(one, other) for one, other in combinations(kept.answers, 2) if one.text != other.text]


def refusal(kept: Comparison) -> str:
    """Why a comparison cannot be judged; nothing where it can."""
    if kept.is_secret:
        return f"Comparison {kept.id} is blind and waits for its vote. Vote first, so that no judge comes before you."
    if kept.ended != "complete":
        return f"Comparison {kept.id} broke off, so its answers are not whole. Ask it again first."
    return "" if pairs(kept) else f"Comparison {kept.id} has no two answers that differ, so there is nothing to judge."


def judge(store: Store, answerer: Answerer, kept: Comparison, who: Contestant) -> list[Verdict]:
    """Have all pairs of a comparison read by a judge, both ways round, and keep what it read.

    Raises:
        StoreError: the comparison cannot be judged.
        AnswererError: no reading.
    """
    if why := refusal(kept):
        raise StoreError(why)
    found = pairs(kept)
    (sitting,) = seating.sittings(store, [who])
    (seat,) = sitting.payload["seats"]
    asked = [_question(store, kept, *texts) for pair in found for texts in (_texts(pair), _texts(pair)[::-1])]
    seats = [{**seat, "messages": messages, "sampling": {"max_tokens": 1}} for messages in asked]
    jobs = room_beside.at_work(store)
    beside = {"threads": room_beside.threads(jobs), "run": jobs[0].name if jobs else ""}
    beside |= {"spare_bytes": room_beside.spare(jobs)}
    payload = {**sitting.payload, "seats": seats, **beside}
    odds = answerer.request("letters", deadline=DEADLINE, **payload)["odds"]
    store.judge([_fields(kept, who, pair, odds[2 * at : 2 * at + 2]) for at, pair in enumerate(found)])
    return [one.verdict for one in store.verdicts(comparison_id=kept.id) if one.verdict.judge == who.identity]


def _texts(pair: Pair) -> tuple[str, str]:
    return pair.one.text, pair.other.text


def _question(store: Store, kept: Comparison, a: str, b: str) -> list[dict[str, str]]:
    """A conversation is judged by its last answers; what was asked before stands in front as requests alone."""
    return reading.question([kept.system or "", *(one.prompt for one in store.turns(kept)), kept.prompt], a, b)


def _fields(kept: Comparison, who: Contestant, pair: Pair, odds: Sequence[float]) -> Facts:
    return {
        "comparison_id": kept.id,
        "one_id": pair.one.id,
        "other_id": pair.other.id,
        "judge": who.identity,
        "name": who.name,
        "forward": odds[0],
        "backward": odds[1],
    }


# --- what it comes to ---------------------------------------------------------------------------------------------


def preferred(verdict: Verdict) -> int | None:
    """The answer that a judge found better both ways round; None where its readings contradict each other."""
    better = reading.preferred(verdict.forward, verdict.backward)
    return {1: verdict.one_id, -1: verdict.other_id}.get(better)


class Record(NamedTuple):
    """What one judge has read so far.

    Attributes:
        firsts: of all readings those in which it took the answer that stood first, whichever that was.
        agreed, counted: of the consistent verdicts on pairs that a person voted on, those that say the same.
        compared: pairs that a person voted on, consistent or not.
    """

    readings: int
    firsts: int
    consistent: int
    compared: int
    counted: int
    agreed: int


def record(judged: Sequence[Judged]) -> Record:
    """Count what one judge read. A vote names the best, so it speaks for the pairs which that answer is one of."""
    odds = [score for one in judged for score in (one.verdict.forward, one.verdict.backward)]
    voted = [one for one in judged if one.best_id in (one.verdict.one_id, one.verdict.other_id)]
    sure = [one for one in voted if preferred(one.verdict) is not None]
    return Record(
        len(odds),
        sum(score > 0 for score in odds),
        sum(preferred(one.verdict) is not None for one in judged),
        len(voted),
        len(sure),
        sum(preferred(one.verdict) == one.best_id for one in sure),
    )


def sentences(name: str, told: Record) -> list[str]:
    """How far a judge can be trusted, by what it has read: its consistency, its leaning to a place, its agreement."""
    if not told.readings:
        return [f"{name} has judged nothing yet."]
    return [*_of_places(name, told), _of_agreement(name, told)]


def _of_places(name: str, told: Record) -> Iterator[str]:
    of_all = told.readings // 2
    yield (
        f"{name} has judged {_count(of_all, 'pair')}, each both ways round. Its verdict was the same both times for "
        f"{_share(wilson(told.consistent, of_all))}; the others do not count."
    )
    first = wilson(told.firsts, told.readings)
    leans = "the first" if first.value > EVEN else "the second"
    shown = first if first.value >= EVEN else Share(1 - first.value, 1 - first.high, 1 - first.low)
    if not first.low <= EVEN <= first.high:
        yield f"It is drawn to a place: it took {leans} answer in {_share(shown)} of its readings, where 50 % are fair."
    else:
        yield f"No leaning to a place is seen: it took {leans} answer in {_share(shown)} of its readings."


def _of_agreement(name: str, told: Record) -> str:
    if not told.counted:
        missing = "has no vote of yours on a pair it judged" if not told.compared else "was consistent on none of those"
        return f"Whether {name} agrees with people is not known: it {missing}."
    agreed = wilson(told.agreed, told.counted)
    start = f"It agrees with {_count(told.counted, 'vote')} of people in {_share(agreed)} of them"
    p = sign_test(told.agreed, told.counted - told.agreed)
    if p > 0.05:
        few = f" Fewer than {FEW} votes tell little." if told.counted < FEW else ""
        return f"{start}, which cannot be told from guessing (50 %; p = {p:.2g}).{few}"
    better = "better" if agreed.value > EVEN else "worse"
    return f"{start}, {better} than guessing (p {f'= {p:.2g}' if p >= 0.001 else '< 0.001'})."


def _share(share: Share) -> str:
    return f"{share.value:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f})".replace("%", " %", 1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def verdict_row(kept: Comparison, verdict: Verdict) -> Facts:
    """A verdict in words."""
    names = {answer.id: answer.name for answer in kept.answers}
    best = preferred(verdict)
    pair = f"{names[verdict.one_id]} or {names[verdict.other_id]}"
    first = "first" if verdict.forward > 0 else "second"
    said = names[best] if best is not None else f"no verdict: both times the {first} answer"
    return {
        "judge": verdict.name,
        "pair": pair,
        "said": said,
        "best": names[best] if best is not None else None,
        "forward": verdict.forward,
        "backward": verdict.backward,
    }
