"""How Alembic reaches the library: on the connection and inside the transaction it is handed.

Knows nothing about files or locks; `database.py` opens, backs up, locks and commits.
"""

from alembic import context

from adapters_store.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    # SQLite alters most things only by building the table anew.
    render_as_batch=True,
)
# No transaction is begun here: all migrations belong to the one the connection comes with.
context.run_migrations()
