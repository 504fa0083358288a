"""How Alembic runs the migrations: on the connection, and inside the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

from monitoring_pipeline.errors import StoreVersionError
from monitoring_pipeline.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
asked, found = context.get_revision_argument(), context.get_context().get_current_revision()
if found is not None and (asked is None or str(asked) < found):
    raise StoreVersionError(
        f"the store cannot go back from schema version {found} to {asked or 'none'}: tables and columns would go, with what "
        "is in them; restore the backup that was made before the upgrade"
    )
with context.begin_transaction():
    context.run_migrations()
