"""Where runs that were interrupted can go on from. A new table: what is there has no checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("folder", sa.String, nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_checkpoint_job_id", "checkpoint", ["job_id"])
