"""All tables of the library on one page.

Rows are plain readers once they leave the store: everything they refer to is loaded with them. Times are seconds since
1970 (UTC) as `time.time()` gives them, so that durations are subtractions. Knows nothing about connections,
transactions or folders on disk.
"""

import json
import math
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    ScalarSelect,
    String,
    TypeDecorator,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

TOPICS = ("jobs", "progress", "adapters", "data", "models", "settings", "comparisons", "suites")


class Owner(NamedTuple):
    """A process that can be told from any other that ever had its number, also across a restart of the machine."""

    pid: int
    started: float
    boot: str


class Measure(TypeDecorator[float]):
    """A measured number. SQLite has no NaN, and a curve has no place for infinity: both are kept as "none"."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return float(value) if value is not None and math.isfinite(value) else None


def to_json(value: object) -> str:
    """`value` as JSON that any reader accepts: numbers that are not finite become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Row(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, Any: JSON}  # noqa: RUF012  SQLAlchemy's own name


class BaseModel(Row):
    """A frozen model: `source` is "starter" or "folder"; it lies in models/`folder`, or where `path` says."""

    __tablename__ = "base_model"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str]
    path: Mapped[str | None]
    folder: Mapped[str | None]
    fingerprint: Mapped[str] = mapped_column(unique=True)
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class DataSet(Row):
    """A snapshot of rows to learn from: `source` is "sample" or "file"; it lies in datasets/`folder`/rows.jsonl.

    A deleted one keeps its row: runs and adapters refer to it.
    """

    __tablename__ = "data_set"
    __table_args__ = (Index("data_set_content", "content_hash", "format", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str]
    format: Mapped[str]
    rows: Mapped[int]
    content_hash: Mapped[str]
    folder: Mapped[str]
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Weighted(NamedTuple):
    """A data set that is learned from, and how often its rows come in an epoch."""

    data_set: DataSet
    weight: float


def _mixture(row: "Adapter | Job") -> list[Weighted]:
    alone = [Weighted(row.data_set, 1.0)] if row.data_set else []
    return [Weighted(portion.data_set, portion.weight) for portion in row.portions] or alone


def _adapter_name(id: Any) -> ScalarSelect[str]:
    """The name of another adapter, read with the row: a joined parent would bring a parent of its own."""
    other = table("adapter", column("id", Integer), column("name", String)).alias("other")
    return select(other.c.name).where(other.c.id == id).correlate_except(other).scalar_subquery()


class Adapter(Row):
    """The small trained part, in adapters/`folder`. A deleted one keeps its row, so that it can come back."""

    __tablename__ = "adapter"
    # A name is free again once its adapter is deleted.
    __table_args__ = (Index("adapter_name", "name", unique=True, sqlite_where=text("deleted_at IS NULL")),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(collation="NOCASE"))
    folder: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"), index=True)
    base_model_id: Mapped[int] = mapped_column(ForeignKey("base_model.id"))
    data_set_id: Mapped[int | None] = mapped_column(ForeignKey("data_set.id"))
    method: Mapped[str]
    rank: Mapped[int]
    alpha: Mapped[float]
    target_modules: Mapped[list[str]]
    settings: Mapped[dict[str, Any]]
    training_loss: Mapped[float | None] = mapped_column(Measure)
    validation_loss: Mapped[float | None] = mapped_column(Measure)
    base_validation_loss: Mapped[float | None] = mapped_column(Measure)
    best_step: Mapped[int | None]
    steps: Mapped[int]
    seconds: Mapped[float]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]

    # Read apart from the rows that refer to them: a base's facts are long, and joined they come with every row.
    base_model: Mapped[BaseModel] = relationship(lazy="selectin")
    data_set: Mapped[DataSet | None] = relationship(lazy="selectin")
    # Those of the run that made it.
    portions: Mapped[list["Portion"]] = relationship(
        lazy="selectin",
        order_by="Portion.place",
        primaryjoin="Adapter.job_id == foreign(Portion.job_id)",
        viewonly=True,
    )
    # The adapter that the run which made this one started from. Also a deleted parent keeps its row, and so its name.
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("adapter.id"))
    parent_name: Mapped[str | None] = column_property(_adapter_name(parent_id))

    @property
    def mixture(self) -> list[Weighted]:
        """The data sets it has learned from, with their weights; [] where they are not known."""
        return _mixture(self)


class Checkpoint(Row):
    """What a run was after `step`, for it to go on from, or pinned by a person. It lies in checkpoints/`folder`."""

    __tablename__ = "checkpoint"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    step: Mapped[int]
    folder: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    # It stays whatever becomes of its run.
    pinned: Mapped[bool] = mapped_column(server_default="0", default=False)


class Portion(Row):
    """A data set of the mixture a run learns from: where it stands there, and how often its rows come in an epoch."""

    __tablename__ = "portion"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  SQLAlchemy's own name
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data_set_id: Mapped[int] = mapped_column(ForeignKey("data_set.id"), index=True)
    weight: Mapped[float] = mapped_column(Double)
    data_set: Mapped[DataSet] = relationship(lazy="selectin")


class Job(Row):
    """One queued piece of long work, in one of the states of states.py. `token` rises with each claim."""

    __tablename__ = "job"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    settings: Mapped[dict[str, Any]]
    base_model_id: Mapped[int | None] = mapped_column(ForeignKey("base_model.id"))
    data_set_id: Mapped[int | None] = mapped_column(ForeignKey("data_set.id"))
    key: Mapped[str | None] = mapped_column(unique=True)
    why: Mapped[str]
    stop: Mapped[str | None]
    attempt: Mapped[int]
    token: Mapped[int]
    pid: Mapped[int | None]
    pid_started: Mapped[float | None]
    boot_id: Mapped[str | None]
    heartbeat_at: Mapped[float | None]
    progress: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]

    # Asked of the adapters, so that the two can never disagree: the newest one that is not deleted.
    adapter_id: Mapped[int | None] = column_property(
        select(func.max(Adapter.id))
        .where(Adapter.job_id == id, Adapter.deleted_at.is_(None))
        .correlate_except(Adapter)
        .scalar_subquery()
    )
    # The step that the run goes on from, should it be interrupted; None: it would begin anew. That of the newest: one
    # that is pinned may be of a later step, where the run had to go back behind it.
    checkpoint_step: Mapped[int | None] = column_property(
        select(Checkpoint.step)
        .where(Checkpoint.job_id == id)
        .order_by(Checkpoint.id.desc())
        .limit(1)
        .correlate_except(Checkpoint)
        .scalar_subquery()
    )
    # How many checkpoints of it a person has pinned.
    pinned: Mapped[int] = column_property(
        select(func.count())
        .select_from(Checkpoint)
        .where(Checkpoint.job_id == id, Checkpoint.pinned.is_(True))
        .correlate_except(Checkpoint)
        .scalar_subquery()
    )
    base_model: Mapped[BaseModel | None] = relationship(lazy="selectin")
    data_set: Mapped[DataSet | None] = relationship(lazy="selectin")
    # Empty where the run learns from `data_set` alone, every row once an epoch; else `data_set` is the first of them.
    portions: Mapped[list[Portion]] = relationship(lazy="selectin", order_by=Portion.place)
    # None: the run starts from the base model.
    start_adapter_id: Mapped[int | None] = mapped_column(ForeignKey("adapter.id"))
    start_adapter_name: Mapped[str | None] = column_property(_adapter_name(start_adapter_id))
    # Jobs wait in this order; no two jobs have the same.
    place: Mapped[int] = mapped_column(server_default="0")
    # What the runs of one grid share; None: the run was queued by itself.
    grid: Mapped[str | None]
    # The device that a person has chosen, as "cuda:1"; None: whichever is free.
    wanted_device: Mapped[str | None]
    # The device that the worker of the last attempt was given; None where devices have no names.
    device: Mapped[str | None]

    @property
    def mixture(self) -> list[Weighted]:
        """The data sets the run learns from, with their weights."""
        return _mixture(self)

    @property
    def owner(self) -> Owner | None:
        """The process that claimed the job last, or None before the first claim and while it waits again."""
        if self.pid is None or self.pid_started is None or self.boot_id is None:
            return None
        return Owner(self.pid, self.pid_started, self.boot_id)


class JobEvent(Row):
    """One change in the life of a job: when, by whom, from which state to which, and why."""

    __tablename__ = "job_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    at: Mapped[float]
    who: Mapped[str]
    state_from: Mapped[str | None]
    state_to: Mapped[str]
    why: Mapped[str]


class Metric(Row):
    """What one optimizer step measured. Clustered by job and step: a chart reads one stretch of it."""

    __tablename__ = "metric"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  SQLAlchemy's own name
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    loss: Mapped[float | None] = mapped_column(Measure)
    validation_loss: Mapped[float | None] = mapped_column(Measure)
    learning_rate: Mapped[float | None] = mapped_column(Measure)
    gradient_norm: Mapped[float | None] = mapped_column(Measure)
    tokens: Mapped[int | None]
    tokens_per_second: Mapped[float | None] = mapped_column(Measure)
    memory_bytes: Mapped[int | None]
    seconds: Mapped[float | None] = mapped_column(Measure)


# What is measured of a step: all columns of a metric but those that name it.
MEASURED = tuple(name for name in Metric.__table__.columns.keys() if name not in ("job_id", "step"))  # noqa: SIM118


class Setting(Row):
    """A small thing this installation remembers."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any]


class Topic(Row):
    """The revision at which something of this topic last changed."""

    __tablename__ = "topic"
    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
