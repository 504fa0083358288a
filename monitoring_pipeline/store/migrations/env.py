"""How Alembic runs the migrations: on the connection, and inside the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

from monitoring_pipeline.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
