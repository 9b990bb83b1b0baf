"""The Scores card as plain facts: how often each contestant was chosen in blind votes, and how sure that is.

The figures are those of `engine/votes.py`; here are the words. Knows nothing about widgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from adapters_store.store import Store
from adapters_store.store_comparisons import Ballot
from engine import votes
from engine.votes import Choice, Share

NONE_YET = (
    "No votes yet. Switch Names to Blind and vote on a few prompts; about 30 votes tell when one is better three times "
    "in four."
)
HARDLY = 0.3  # a p above it speaks for nobody


class Standing(NamedTuple):
    """Somebody whose votes are counted: by name, and by what tells the weights from all others."""

    name: str
    identity: str


def card(store: Store, people: Sequence[Standing]) -> dict[str, Any]:
    """The votes in which at least two of `people` stood."""
    ballots = store.ballots([one.identity for one in people])
    choices = [choice for ballot in ballots if (choice := _choice(ballot, people))]
    if not ballots:
        return {"fact": "", "rows": [], "sentences": [NONE_YET], "note": ""}
    prompts = len({ballot.prompt for ballot in ballots})
    shares = _shares(len(people), choices)
    return {
        "fact": f"{_count(len(ballots), 'blind vote')} on {_count(prompts, 'prompt')}",
        "rows": [
            _row(one.name, place + 1, share) for place, (one, share) in enumerate(zip(people, shares, strict=True))
        ],
        "sentences": _sentences([one.name for one in people], shares, choices),
        "note": _note(ballots, len(choices), len(people)),
    }


def _choice(ballot: Ballot, people: Sequence[Standing]) -> Choice | None:
    """A ballot by the places of `people`; None if it names none of them as the best."""
    places = {one.identity: place for place, one in enumerate(people)}
    stood = frozenset(places[identity] for identity in ballot.stood if identity in places)
    best = places.get(ballot.best) if ballot.best else None
    return None if best is None else Choice(stood, best)


def _shares(people: int, choices: Sequence[Choice]) -> list[Share]:
    if people > 2:
        return votes.strengths(people, choices)
    wins = [sum(choice.best == place for choice in choices) for place in range(people)]
    return [votes.wilson(won, len(choices)) for won in wins]


def _row(name: str, swatch: int, share: Share) -> dict[str, Any]:
    words = f"{share.value:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f})".replace("%", " %", 1)
    return {"key": swatch, "name": name, "swatch": swatch, "words": words, **share._asdict()}


def _sentences(names: Sequence[str], shares: Sequence[Share], choices: Sequence[Choice]) -> list[str]:
    """The leader against each of the others. All pairs are tested, as the leader was not named before the votes."""
    pairs = list(combinations(range(len(names)), 2))
    counts = {pair: votes.head_to_head(choices, *pair) for pair in pairs}
    sure = dict(zip(pairs, votes.corrected([votes.sign_test(*counts[pair]) for pair in pairs]), strict=True))
    first = max(range(len(names)), key=lambda place: shares[place].value)
    told = []
    for other in sorted(set(range(len(names))) - {first}, key=lambda place: -shares[place].value):
        pair = (min(first, other), max(first, other))
        won, lost = counts[pair] if pair[0] == first else counts[pair][::-1]
        told.append(_sentence(_said(names[first]), _said(names[other]), won, lost, sure[pair], len(pairs)))
    return told


def _sentence(leader: str, other: str, won: int, lost: int, p: float, pairs: int) -> str:
    start = leader[0].upper() + leader[1:] if leader == "the base" else leader
    if won <= lost:
        even = f"{won} to {lost}" if won + lost else "no vote yet names one of them"
        return f"{start} and {other} cannot be told apart so far ({even})."
    said_p = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    if p <= votes.LEVEL:
        return f"{start} is better than {other} ({said_p})."
    more = _more(won, lost, pairs)
    if p > HARDLY:
        return f"{start} leads {other} {won} to {lost}, which may well be chance ({said_p}). {more}"
    return f"{start} looks better than {other}, not yet for sure ({said_p}). {more}"


def _more(won: int, lost: int, pairs: int) -> str:
    needed = votes.votes_needed(won, lost, pairs)
    for_whom = " for one of the two" if pairs > 1 else ""
    if needed is None:
        return f"More than {votes.MOST_VOTES:,} votes{for_whom} would be needed to tell."
    more = max(1, needed - won - lost)
    return f"About {more} more vote{'s' if more > 1 else ''}{for_whom} would tell."


def _note(ballots: Sequence[Ballot], counted: int, people: int) -> str:
    ties, bad = (sum(ballot.choice == kind for ballot in ballots) for kind in ("tie", "bad"))
    others = len(ballots) - counted - ties - bad
    left = [f"{ties} tie{'s' if ties != 1 else ''}"] if ties else []
    left += [f"{bad} all bad"] if bad else []
    left += [f"{others} for somebody not chosen now"] if others else []
    said = f"Left out: {', '.join(left)}. " if left else ""
    shown = "Chance to be chosen over an average one (Bradley-Terry)" if people > 2 else "Share of the votes"
    tests = "Sign test, two-sided" + (", Holm over all pairs" if people > 2 else "")
    return f"{said}{shown}, with 95 % interval. {tests}; votes to come: level 0.05, power 80 %, if shares stay."


def _said(name: str) -> str:
    return "the base" if name == "base" else name


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
