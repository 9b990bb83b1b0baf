"""The tables of suites: prompts that are kept to be asked again, the runs over them, and what each contestant answered.

They stand apart from `tables.py` because nothing there refers to them. A suite does not change once it is made, so that
its runs compare. Knows nothing about how an answer is made or scored.
"""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, func, select, text
from sqlalchemy.orm import Mapped, column_property, mapped_column

from adapters_store.tables import Measure, Row


class SuitePrompt(Row):
    """One prompt of a suite: `messages` up to where the answer is due, and the right answer where one is known."""

    __tablename__ = "suite_prompt"
    id: Mapped[int] = mapped_column(primary_key=True)
    suite_id: Mapped[int] = mapped_column(ForeignKey("suite.id"), index=True)
    place: Mapped[int]
    messages: Mapped[Any]
    reference: Mapped[str | None]


class Suite(Row):
    """A set of prompts and how their answers are scored; `source` says in words where they came from.

    A deleted one keeps its row, so that its runs can still be read.
    """

    __tablename__ = "suite"
    # A name is free again once its suite is deleted.
    __table_args__ = (Index("suite_name", "name", unique=True, sqlite_where=text("deleted_at IS NULL")),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(collation="NOCASE"))
    system: Mapped[str]
    scores: Mapped[list[str]]
    pattern: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]

    prompt_count: Mapped[int] = column_property(
        select(func.count(SuitePrompt.id)).where(SuitePrompt.suite_id == id).correlate_except(SuitePrompt)
        .scalar_subquery()
    )  # fmt: skip


class SuiteAnswer(Row):
    """What the contestant at `place` of a run answered to one prompt. `problem` says why it could not.

    `logprob` is the sum over the `reference_tokens` of the reference under this contestant, in nats.
    """

    __tablename__ = "suite_answer"
    __table_args__ = (Index("suite_answer_place", "run_id", "prompt_id", "place", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("suite_run.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("suite_prompt.id"))
    place: Mapped[int]
    text: Mapped[str]
    tokens: Mapped[int]
    finished: Mapped[bool]
    scores: Mapped[dict[str, Any]]
    logprob: Mapped[float | None] = mapped_column(Measure)
    reference_tokens: Mapped[int]
    problem: Mapped[str]


class SuiteVerdict(Row):
    """What the judge of a run read of two answers to one prompt: that of `place`, and that of whom it is held against.

    `forward` is log P("A") - log P("B") of its next token with the answer of `place` standing as A, `backward` the same
    with the other as A. Both are None where there is nothing to judge: the answers are the same, or one is missing;
    `problem` says so, or why the judge could not read them.
    """

    __tablename__ = "suite_verdict"
    __table_args__ = (Index("suite_verdict_place", "run_id", "prompt_id", "place", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("suite_run.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("suite_prompt.id"))
    place: Mapped[int]
    forward: Mapped[float | None] = mapped_column(Measure)
    backward: Mapped[float | None] = mapped_column(Measure)
    problem: Mapped[str]


class SuiteRun(Row):
    """A suite asked of some contestants: `people` are they, in order, `sittings` who of them sits on which base model.

    `job_id` is the job that works on it, or did so last; `how` holds device, dtype and rows at the same time. `judge`
    says who compares the answers, as one of `people`, with its `payload` and whom the others are held `against`.
    """

    __tablename__ = "suite_run"
    id: Mapped[int] = mapped_column(primary_key=True)
    suite_id: Mapped[int] = mapped_column(ForeignKey("suite.id"), index=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    people: Mapped[Any]
    sittings: Mapped[Any]
    sampling: Mapped[dict[str, Any]]
    how: Mapped[dict[str, Any]]
    judge: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]

    answer_count: Mapped[int] = column_property(
        select(func.count(SuiteAnswer.id)).where(SuiteAnswer.run_id == id).correlate_except(SuiteAnswer)
        .scalar_subquery()
    )  # fmt: skip
    unread_count: Mapped[int] = column_property(
        select(func.count(SuiteAnswer.id))
        .join(SuitePrompt, SuitePrompt.id == SuiteAnswer.prompt_id)
        .where(SuiteAnswer.run_id == id, SuiteAnswer.logprob.is_(None), SuiteAnswer.problem == "")
        .where(SuitePrompt.reference.is_not(None)).correlate_except(SuiteAnswer, SuitePrompt).scalar_subquery()
    )  # fmt: skip
    verdict_count: Mapped[int] = column_property(
        select(func.count(SuiteVerdict.id)).where(SuiteVerdict.run_id == id).correlate_except(SuiteVerdict)
        .scalar_subquery()
    )  # fmt: skip
