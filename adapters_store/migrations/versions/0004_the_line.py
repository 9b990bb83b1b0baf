"""The order in which waiting jobs have their turns, and the grid that a run belongs to.

Until now the turns came in the order of the numbers, so that is every job's place. No run belonged to a grid.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("place", sa.Integer, nullable=False, server_default="0"))
    op.add_column("job", sa.Column("grid", sa.String))
    op.execute("UPDATE job SET place = id")
