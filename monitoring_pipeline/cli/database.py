"""`monitor db`: the store's own database."""

from __future__ import annotations

import typer

from monitoring_pipeline.cli.app import app, explained, out
from monitoring_pipeline.settings import Settings

db = typer.Typer(no_args_is_help=True, help="The database of the store.")
app.add_typer(db, name="db", rich_help_panel="Storage")


@db.command()
def upgrade() -> None:
    """Bring the store to the tables of this release. Nothing is lost; the way back is a backup.

    Safe at any time and by several at once: everything happens in one transaction. Stop runs of older releases first,
    they do not know the new tables.
    """
    from monitoring_pipeline.store import database

    with explained():
        url = Settings().resolved_store_url
        version = database.upgrade(url)
        out.print(f"the store has the tables of schema version {version}")
