"""Checkpoints that a person has pinned: they stay when their run has ended.

Until now no checkpoint outlived its run, so none is pinned.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checkpoint", sa.Column("pinned", sa.Boolean, nullable=False, server_default="0"))
