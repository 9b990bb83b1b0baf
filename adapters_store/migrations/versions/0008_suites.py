"""Suites of prompts, the runs over them, and the answers.

Until now a set of prompts was asked one by one, and nothing told what had changed since the last time.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suite",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(collation="NOCASE"), nullable=False),
        sa.Column("system", sa.String, nullable=False),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("pattern", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
    )
    op.create_index("suite_name", "suite", ["name"], unique=True, sqlite_where=sa.text("deleted_at IS NULL"))
    op.create_table(
        "suite_prompt",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("suite_id", sa.Integer, sa.ForeignKey("suite.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("messages", sa.JSON, nullable=False),
        sa.Column("reference", sa.String),
    )
    op.create_index("ix_suite_prompt_suite_id", "suite_prompt", ["suite_id"])
    op.create_table(
        "suite_run",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("suite_id", sa.Integer, sa.ForeignKey("suite.id"), nullable=False),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id")),
        sa.Column("people", sa.JSON, nullable=False),
        sa.Column("sittings", sa.JSON, nullable=False),
        sa.Column("sampling", sa.JSON, nullable=False),
        sa.Column("how", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_suite_run_suite_id", "suite_run", ["suite_id"])
    op.create_table(
        "suite_answer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("suite_run.id"), nullable=False),
        sa.Column("prompt_id", sa.Integer, sa.ForeignKey("suite_prompt.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("logprob", sa.Double),
        sa.Column("reference_tokens", sa.Integer, nullable=False),
        sa.Column("problem", sa.String, nullable=False),
    )
    op.create_index("suite_answer_place", "suite_answer", ["run_id", "prompt_id", "place"], unique=True)
    op.bulk_insert(sa.table("topic", sa.column("name"), sa.column("revision")), [{"name": "suites", "revision": 0}])
