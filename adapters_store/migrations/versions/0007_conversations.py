"""Comparisons that go on with the answers of another, and columns that differ in more than who answers.

What was kept before has no `seat`: it is replayed from its adapter and strength, as it always was.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Spelt out: Alembic would add the references afterwards, which SQLite cannot.
    op.execute("ALTER TABLE comparison ADD COLUMN follows_id INTEGER REFERENCES comparison (id)")
    op.execute("ALTER TABLE comparison ADD COLUMN conversation_id INTEGER REFERENCES comparison (id)")
    op.add_column("comparison", sa.Column("told", sa.Boolean, nullable=False, server_default=sa.text("0")))
    op.create_index("ix_comparison_conversation_id", "comparison", ["conversation_id"])
    op.add_column("answer", sa.Column("seat", sa.JSON))
