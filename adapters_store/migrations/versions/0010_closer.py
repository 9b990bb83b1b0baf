"""What a closer look at a comparison finds: every token's likelihood, that of a reference answer, and judges' verdicts.

Comparisons of before have no likelihoods: the tokens of their answers were not kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "along",
        sa.Column("answer_id", sa.Integer, sa.ForeignKey("answer.id"), primary_key=True, autoincrement=False),
        sa.Column("pieces", sa.JSON, nullable=False),
    )
    op.add_column("comparison", sa.Column("reference", sa.JSON))
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("comparison_id", sa.Integer, sa.ForeignKey("comparison.id"), nullable=False),
        sa.Column("one_id", sa.Integer, sa.ForeignKey("answer.id"), nullable=False),
        sa.Column("other_id", sa.Integer, sa.ForeignKey("answer.id"), nullable=False),
        sa.Column("judge", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("forward", sa.Double, nullable=False),
        sa.Column("backward", sa.Double, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("verdict_pair", "verdict", ["judge", "one_id", "other_id"], unique=True)
    op.create_index("ix_verdict_comparison_id", "verdict", ["comparison_id"])
