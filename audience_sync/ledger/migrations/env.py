"""Alembic's entry: runs the steps on the connection, and in the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from audience_sync.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, too, once the driver keeps its hands off transactions
)
with context.begin_transaction():
    context.run_migrations()
