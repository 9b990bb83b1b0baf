"""Comparisons in the library: kept with all their answers, proven, voted on, and found again.

Knows nothing about models or pages; who may see the names of a blind one is for the caller (`Comparison.is_secret`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from adapters_store.comparison_tables import Answer, Comparison, Vote
from adapters_store.errors import StoreError
from adapters_store.shelf import Shelf, added, found, mark_changed, settled, within
from adapters_store.tables import BaseModel

VoteFor = Literal["best", "tie", "bad"]
PAGE = 500  # comparisons that are read at once where all are wanted


class Ballot(NamedTuple):
    """A vote by the identities of weights: who stood, and who was best; None if the vote names nobody."""

    comparison_id: int
    prompt: str
    choice: str
    stood: list[str]
    best: str | None


class ComparisonShelf(Shelf):
    """The part of the store that is about comparisons."""

    def add_comparison(
        self,
        *,
        base: BaseModel,
        answers: Sequence[Mapping[str, Any]],
        follows: Comparison | None = None,
        **facts: Any,
    ) -> Comparison:
        """Keep a comparison. `facts` are the columns of `Comparison`, `answers` those of `Answer`, in their order.

        Args:
            follows: the comparison whose answers it goes on with. If this one broke off, its names are told, and so
                are those of the whole conversation.
        """
        first = (follows.conversation_id or follows.id) if follows else None
        row = Comparison(
            created_at=self.clock(),
            base_model_id=base.id,
            base_name=base.name,
            base_fingerprint=base.fingerprint,
            answers=[Answer(place=place, **answer) for place, answer in enumerate(answers)],
            follows_id=follows.id if follows else None,
            conversation_id=first,
            **facts,
        )
        with self._database.writing() as session:
            if first is not None and row.ended != "complete":
                _tell_all(session, first)
            mark_changed(session, "comparisons")
            return added(session, row)

    def prove(
        self, comparison_id: int, weights: Sequence[str | None], divergences: Sequence[float | None], **how: Any
    ) -> Comparison:
        """Add to each answer the hash of the tensors that gave it and how far they moved the model; `how` to `how`."""
        with self._database.writing() as session:
            row = found(session, Comparison, comparison_id)
            for answer, hashed, moved in zip(row.answers, weights, divergences, strict=True):
                answer.weights, answer.divergence = hashed, moved
            row.how = {**row.how, **how}
            mark_changed(session, "comparisons")
            return settled(session, row)

    def comparison(self, id: int) -> Comparison:
        """The comparison with this id. NotFound if there is none."""
        with self._database.reading() as session:
            return found(session, Comparison, id)

    def turns(self, comparison: Comparison) -> list[Comparison]:
        """The comparisons whose answers this one goes on with, the first one first."""
        found: list[Comparison] = []
        before = comparison.follows_id
        while before is not None:
            found.insert(0, self.comparison(before))
            before = found[0].follows_id
        return found

    def comparisons(self, *, search: str = "", limit: int = 50, before: int | None = None) -> list[Comparison]:
        """The newest comparisons whose prompt, or a text in them, contains every word of `search`.

        Args:
            before: only those with smaller numbers.
        """
        with self._database.reading() as session:
            wanted = select(Comparison).order_by(Comparison.id.desc()).limit(within(limit))
            if before is not None:
                wanted = wanted.where(Comparison.id < before)
            for word in search.split()[:10]:
                wanted = wanted.where(_contains(word))
            return list(session.scalars(wanted))

    def every_comparison(self, search: str = "") -> Iterator[Comparison]:
        """All that such a search finds, the newest first, read a page at a time."""
        before = None
        while page := self.comparisons(search=search, limit=PAGE, before=before):
            yield from page
            before = page[-1].id

    def vote(self, comparison_id: int, choice: VoteFor, place: int | None = None) -> Comparison:
        """Vote once on a blind comparison: for the answer at `place` as the best, for a tie, or for all being bad.

        One vote tells the names of the whole conversation, so it is the only one in it.

        Raises:
            StoreError: it is not blind, not complete, was voted on, or has no answer there.
        """
        with self._database.writing() as session:
            row = found(session, Comparison, comparison_id)
            if not row.is_secret:
                raise StoreError(_why_not(row))
            session.add(
                Vote(comparison_id=row.id, at=self.clock(), choice=choice, answer_id=_voted_for(row, choice, place))
            )
            _tell_all(session, row.conversation_id or row.id)
            mark_changed(session, "comparisons")
            return settled(session, row)

    def ballots(self, identities: Collection[str]) -> list[Ballot]:
        """All votes on comparisons in which at least two of these stood, oldest first."""
        with self._database.reading() as session:
            rows = session.execute(
                select(Comparison.id, Comparison.prompt, Vote.choice, Vote.answer_id, Answer.id, Answer.identity)
                .join(Vote, Vote.comparison_id == Comparison.id)
                .join(Answer, Answer.comparison_id == Comparison.id)
                .order_by(Comparison.id, Answer.place)
            ).all()
        ballots: dict[int, Ballot] = {}
        for number, prompt, choice, best_id, answer_id, identity in rows:
            ballot = ballots.setdefault(number, Ballot(number, prompt, choice, [], None))
            ballot.stood.append(identity)
            if answer_id == best_id:
                ballots[number] = ballot._replace(best=identity)
        return [ballot for ballot in ballots.values() if len(set(ballot.stood) & set(identities)) > 1]


def _tell_all(session: Session, first: int) -> None:
    """Names that are told of one comparison of a conversation are told of all: the columns stand in the same places."""
    of_it = or_(Comparison.id == first, Comparison.conversation_id == first)
    session.execute(update(Comparison).where(of_it).values(told=True))


def _contains(word: str) -> Any:
    """Each word by itself, so that a search never tells which answer of a blind comparison is whose."""
    named = Comparison.answers.any(or_(*(part.icontains(word, autoescape=True) for part in (Answer.text, Answer.name))))
    return or_(Comparison.prompt.icontains(word, autoescape=True), named)


def _why_not(row: Comparison) -> str:
    if row.vote is not None:
        return "This comparison has its vote already. Ask the next prompt to vote again."
    if row.told:
        return "The names of this conversation are told already: by a vote on it, or because it was stopped."
    if row.sides is None:
        return "Only blind comparisons are voted on. Switch Names to Blind and ask again."
    return "This comparison did not come to its end, so it cannot be voted on. Ask again."


def _voted_for(row: Comparison, choice: VoteFor, place: int | None) -> int | None:
    if choice != "best":
        return None
    chosen = next((answer.id for answer in row.answers if answer.place == place), None)
    if chosen is None:
        raise StoreError(f"This comparison has no answer {place}. It has {len(row.answers)}.")
    return chosen
