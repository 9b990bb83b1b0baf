"""The schema of the first release.

It stands on its own and never follows later changes of tables.py: a library made today is migrated step by step.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TOPICS = ("jobs", "progress", "adapters", "data", "models", "settings")


def upgrade() -> None:
    _base_models_and_data_sets()
    _jobs()
    _adapters()
    _settings_and_topics()


def _base_models_and_data_sets() -> None:
    op.create_table(
        "base_model",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("path", sa.String),
        sa.Column("folder", sa.String),
        sa.Column("fingerprint", sa.String, nullable=False, unique=True),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "data_set",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("format", sa.String, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.String, nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("data_set_content", "data_set", ["content_hash", "format"], unique=True)


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("base_model_id", sa.Integer, sa.ForeignKey("base_model.id")),
        sa.Column("data_set_id", sa.Integer, sa.ForeignKey("data_set.id")),
        sa.Column("key", sa.String, unique=True),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("stop", sa.String),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_started", sa.Double),
        sa.Column("boot_id", sa.String),
        sa.Column("heartbeat_at", sa.Double),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
    )
    op.create_index("ix_job_state", "job", ["state"])
    op.create_table(
        "job_event",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("state_from", sa.String),
        sa.Column("state_to", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
    )
    op.create_index("ix_job_event_job_id", "job_event", ["job_id"])
    op.create_table(
        "metric",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("loss", sa.Double),
        sa.Column("validation_loss", sa.Double),
        sa.Column("learning_rate", sa.Double),
        sa.Column("gradient_norm", sa.Double),
        sa.Column("tokens", sa.Integer),
        sa.Column("tokens_per_second", sa.Double),
        sa.Column("memory_bytes", sa.Integer),
        sa.Column("seconds", sa.Double),
        sqlite_with_rowid=False,
    )


def _adapters() -> None:
    op.create_table(
        "adapter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(collation="NOCASE"), nullable=False),
        sa.Column("folder", sa.String, nullable=False, unique=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id")),
        sa.Column("base_model_id", sa.Integer, sa.ForeignKey("base_model.id"), nullable=False),
        sa.Column("data_set_id", sa.Integer, sa.ForeignKey("data_set.id")),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("target_modules", sa.JSON, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("training_loss", sa.Double),
        sa.Column("validation_loss", sa.Double),
        sa.Column("base_validation_loss", sa.Double),
        sa.Column("best_step", sa.Integer),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
    )
    op.create_index("ix_adapter_job_id", "adapter", ["job_id"])
    op.create_index("adapter_name", "adapter", ["name"], unique=True, sqlite_where=sa.text("deleted_at IS NULL"))


def _settings_and_topics() -> None:
    op.create_table(
        "setting",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    topic = op.create_table(
        "topic",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.bulk_insert(topic, [{"name": name, "revision": 0} for name in TOPICS])
