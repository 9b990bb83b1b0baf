"""Who judges the answers of a run over a suite, and what the judge read."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("suite_run", sa.Column("judge", sa.JSON))
    op.create_table(
        "suite_verdict",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("suite_run.id"), nullable=False),
        sa.Column("prompt_id", sa.Integer, sa.ForeignKey("suite_prompt.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("forward", sa.Double),
        sa.Column("backward", sa.Double),
        sa.Column("problem", sa.String, nullable=False),
    )
    op.create_index("suite_verdict_place", "suite_verdict", ["run_id", "prompt_id", "place"], unique=True)
