"""How Alembic reaches the library: on the connection and inside the transaction it is handed.

Knows nothing about files or locks; `database.py` opens, backs up, locks and commits.
"""

from alembic import context

from adapters_store.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    # One transaction for all of it, so that a killed migration leaves the old schema; SQLite can, Alembic assumes not.
    transactional_ddl=True,
    # SQLite alters most things only by building the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
