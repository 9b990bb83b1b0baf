"""Comparisons with their answers, and the votes on blind ones.

Until now a comparison was gone with the page that showed it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparison",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("prompt", sa.String, nullable=False),
        sa.Column("system", sa.String, nullable=False),
        sa.Column("base_model_id", sa.Integer, sa.ForeignKey("base_model.id"), nullable=False),
        sa.Column("base_name", sa.String, nullable=False),
        sa.Column("base_fingerprint", sa.String, nullable=False),
        sa.Column("precision", sa.String, nullable=False),
        sa.Column("sampling", sa.JSON, nullable=False),
        sa.Column("how", sa.JSON, nullable=False),
        sa.Column("sides", sa.Integer),
        sa.Column("ended", sa.String, nullable=False),
    )
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("comparison_id", sa.Integer, sa.ForeignKey("comparison.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id")),
        sa.Column("strength", sa.Double, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("tokens_per_second", sa.Double),
        sa.Column("weights", sa.String),
        sa.Column("divergence", sa.Double),
    )
    op.create_index("ix_answer_comparison_id", "answer", ["comparison_id"])
    op.create_index("ix_answer_identity", "answer", ["identity"])
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("comparison_id", sa.Integer, sa.ForeignKey("comparison.id"), nullable=False, unique=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("choice", sa.String, nullable=False),
        sa.Column("answer_id", sa.Integer, sa.ForeignKey("answer.id")),
    )
    op.bulk_insert(
        sa.table("topic", sa.column("name"), sa.column("revision")), [{"name": "comparisons", "revision": 0}]
    )
