"""When a data set was deleted: its row stays, so that what was made with it still names it.

Until now none could be deleted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("data_set", sa.Column("deleted_at", sa.Double))
