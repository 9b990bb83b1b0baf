"""The tables of comparisons: what was asked of whom, what each answered, and which answer was voted for.

They stand apart from `tables.py` because nothing there refers to them. Knows nothing about how an answer is made.
"""

from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from adapters_store.tables import Measure, Row


class Comparison(Row):
    """One prompt and the answers to it. `ended` says how: "complete", "stopped", or the sentence why it broke off.

    `sides` is the seed by which a blind one is shuffled; None: names were open. `how` holds what a replay to the bit
    needs beside the sampling: device, dtype, threads, batches. One that goes on with the answers of another names it in
    `follows_id`, and the first of all in `conversation_id`; with one vote on any of them the names of all are `told`.
    `reference`: an answer somebody gave, and how likely each contestant is to say it; {text, logprobs, tokens}, the
    lists by place.
    """

    __tablename__ = "comparison"
    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[float]
    prompt: Mapped[str]
    system: Mapped[str]
    base_model_id: Mapped[int] = mapped_column(ForeignKey("base_model.id"))
    base_name: Mapped[str]
    base_fingerprint: Mapped[str]
    precision: Mapped[str]
    sampling: Mapped[dict[str, Any]]
    how: Mapped[dict[str, Any]]
    sides: Mapped[int | None]
    ended: Mapped[str]
    follows_id: Mapped[int | None] = mapped_column(ForeignKey("comparison.id"))
    conversation_id: Mapped[int | None] = mapped_column(ForeignKey("comparison.id"), index=True)
    told: Mapped[bool] = mapped_column(default=False, server_default=text("0"))
    reference: Mapped[dict[str, Any] | None]

    answers: Mapped[list["Answer"]] = relationship(lazy="selectin", order_by="Answer.place")
    vote: Mapped["Vote | None"] = relationship(lazy="selectin")

    @property
    def is_secret(self) -> bool:
        """Whether the names must not be told yet: it is blind, can be voted on, and was not."""
        return self.sides is not None and not self.told and self.vote is None and self.ended == "complete"


class Answer(Row):
    """What one contestant answered. `identity` tells its weights from all others: by the files of an adapter or base,
    with the strength. `weights` is the hash of the tensors that answered, `divergence` how far they moved the model.
    `seat` says who it was and on what, and what it was asked otherwise than the others: value, base, base_fingerprint,
    system, sampling, sample; None in comparisons of before.
    """

    __tablename__ = "answer"
    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparison.id"), index=True)
    place: Mapped[int]
    name: Mapped[str]
    adapter_id: Mapped[int | None] = mapped_column(ForeignKey("adapter.id"))
    strength: Mapped[float]
    identity: Mapped[str] = mapped_column(index=True)
    text: Mapped[str]
    tokens: Mapped[int]
    finished: Mapped[bool]
    tokens_per_second: Mapped[float | None] = mapped_column(Measure)
    weights: Mapped[str | None]
    divergence: Mapped[float | None] = mapped_column(Measure)
    seat: Mapped[dict[str, Any] | None]


class Vote(Row):
    """The one vote on a blind comparison. `choice` is "best" (of `answer_id`), "tie" or "bad"."""

    __tablename__ = "vote"
    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparison.id"), unique=True)
    at: Mapped[float]
    choice: Mapped[str]
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))


class Along(Row):
    """The answer of an adapter in pieces, one a token: [text, its log-probability, that under the base], in nats.

    Apart from the answer, as they are many and seldom looked at.
    """

    __tablename__ = "along"
    answer_id: Mapped[int] = mapped_column(ForeignKey("answer.id"), primary_key=True, autoincrement=False)
    pieces: Mapped[Any]


class Verdict(Row):
    """What a judge read out of two answers to one prompt. `judge` tells its weights from all others.

    `forward` is log P("A") - log P("B") of its next token with the answer `one_id` standing as A, `backward` the same
    with `other_id` as A: it prefers one consistently where the two have different signs.
    """

    __tablename__ = "verdict"
    __table_args__ = (Index("verdict_pair", "judge", "one_id", "other_id", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparison.id"), index=True)
    one_id: Mapped[int] = mapped_column(ForeignKey("answer.id"))
    other_id: Mapped[int] = mapped_column(ForeignKey("answer.id"))
    judge: Mapped[str]
    name: Mapped[str]
    forward: Mapped[float]
    backward: Mapped[float]
    at: Mapped[float]
