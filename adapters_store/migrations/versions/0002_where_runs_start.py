"""Which adapter a run starts from, and which one an adapter was trained on from.

Columns are added and no table is built anew, so every row stays where it is; what is there started from its base.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Spelt out: Alembic would add the reference afterwards, which SQLite cannot.
    op.execute("ALTER TABLE job ADD COLUMN start_adapter_id INTEGER REFERENCES adapter (id)")
    op.execute("ALTER TABLE adapter ADD COLUMN parent_id INTEGER REFERENCES adapter (id)")
