"""`monitor db`: the store's own database."""

from __future__ import annotations

from typing import Annotated

import typer

from monitoring_pipeline.cli.app import app, explained, out, say_next
from monitoring_pipeline.errors import UsageError
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


@db.command(hidden=True)
def downgrade() -> None:
    """Say why there is no way back to the tables of an older release."""
    with explained():
        raise UsageError(
            "a store cannot go back to an older release: tables and columns would go, with what is in them. Nothing was "
            "changed. Restore the backup that was made before `monitor db upgrade`, or install the newer release"
        )


@db.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="MONITORING_COPY_TO",
            show_envvar=True,
            help="The empty database that becomes the copy: sqlite:///path/to/file.db or postgresql://user:password@host/database.",
        ),
    ],
) -> None:
    """Copy the whole store into another database, SQLite to PostgreSQL or back, and compare every row.

    The copy is the store as it was at one moment. The other database must be empty, and holds all of it afterwards or
    nothing: after a kill run it again. A URL with a password is safer in `MONITORING_COPY_TO`, out of sight of `ps`.

    `monitor db copy --to postgresql://monitor@db.example.org/monitoring`
    """
    from monitoring_pipeline import terminal
    from monitoring_pipeline.store.copying import copy_store

    with explained():
        with terminal.progress(out, "copying") as progress:
            copied = copy_store(
                Settings().resolved_store_url, to, progress=lambda _, done, total: progress(done, total)
            )
        rows, tables = sum(copied.rows.values()), sum(1 for count in copied.rows.values() if count)
        if copied.present:
            out.print(f"the copy is there already: {rows:,} rows in {tables} tables, every one the same")
            return
        out.print(f"copied {rows:,} rows in {tables} tables, and compared every one", highlight=False)
        say_next("MONITORING_STORE_URL=…   (set it to the new URL, then `monitor status`)")
