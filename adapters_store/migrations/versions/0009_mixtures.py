"""The data sets of a run that learns from more than one, each with its weight.

Until now a run learned from one, every row once an epoch: such a run has no rows here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "portion",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data_set_id", sa.Integer, sa.ForeignKey("data_set.id"), nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_portion_data_set_id", "portion", ["data_set_id"])
