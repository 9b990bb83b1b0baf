"""A closer look at comparisons, as it is kept: answers token by token, reference answers, and what judges read.

Knows nothing about models, or about what may be told of a blind comparison (`Comparison.is_secret`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from adapters_store.comparison_tables import Along, Answer, Comparison, Verdict, Vote
from adapters_store.shelf import Shelf, found, mark_changed, settled

Pieces = Sequence[Sequence[Any]]


class Judged(NamedTuple):
    """A verdict, and the answer that the vote of a person on the same comparison named the best; None: it has none."""

    verdict: Verdict
    best_id: int | None


class CloserShelf(Shelf):
    """The part of the store that looks closer at comparisons."""

    def keep_along(self, comparison_id: int, along: Sequence[Pieces | None]) -> None:
        """Keep the pieces of the answers of a comparison, by place; None where an answer has none."""
        with self._database.writing() as session:
            row = found(session, Comparison, comparison_id)
            for answer, pieces in zip(row.answers, along, strict=True):
                if pieces is not None:
                    session.merge(Along(answer_id=answer.id, pieces=pieces))

    def along(self, comparison_id: int) -> dict[int, list[list[Any]]]:
        """The pieces of the answers of a comparison, by place; only of those that have any."""
        with self._database.reading() as session:
            rows = session.execute(
                select(Answer.place, Along.pieces)
                .join(Along, Along.answer_id == Answer.id)
                .where(Answer.comparison_id == comparison_id)
            ).all()
        return {place: pieces for place, pieces in rows}

    def refer(self, comparison_id: int, reference: Mapping[str, Any]) -> Comparison:
        """Keep a reference answer and how likely each contestant is to say it, in place of the one before."""
        with self._database.writing() as session:
            row = found(session, Comparison, comparison_id)
            row.reference = dict(reference)
            mark_changed(session, "comparisons")
            return settled(session, row)

    def judge(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a judge read, each in place of what it read of the same pair before. Fields of `Verdict`."""
        with self._database.writing() as session:
            for fields in verdicts:
                new = insert(Verdict).values(at=self.clock(), **fields)
                read = {name: new.excluded[name] for name in ("name", "forward", "backward", "at")}
                session.execute(new.on_conflict_do_update(index_elements=["judge", "one_id", "other_id"], set_=read))
            mark_changed(session, "comparisons")

    def verdicts(self, *, judge: str | None = None, comparison_id: int | None = None) -> list[Judged]:
        """What one judge read, or what all read of one comparison, oldest first; with the votes of people."""
        wanted = select(Verdict, Vote.answer_id).join(Vote, Vote.comparison_id == Verdict.comparison_id, isouter=True)
        if judge is not None:
            wanted = wanted.where(Verdict.judge == judge)
        if comparison_id is not None:
            wanted = wanted.where(Verdict.comparison_id == comparison_id)
        with self._database.reading() as session:
            return [Judged(verdict, best) for verdict, best in session.execute(wanted.order_by(Verdict.id)).all()]
