"""The device that was chosen for a job, and the one its worker was given.

Until now there was one place for runs, without a name.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("wanted_device", sa.String))
    op.add_column("job", sa.Column("device", sa.String))
