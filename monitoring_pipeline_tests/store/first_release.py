"""A store as the first release left it: twelve days of orders, judged, told of, with one day repaired afterwards.

`fixtures/first_release.sql.gz` is the dump that the code of the first commit made of its own SQLite file.
"""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from monitoring_pipeline.store import database, schema
from monitoring_pipeline.store.database import Store

_DUMP = Path(__file__).parent / "fixtures" / "first_release.sql.gz"
Rows = dict[str, list[tuple[object, ...]]]


def first_release_file(path: Path) -> Path:
    """The store as a SQLite file of schema version 0001."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(gzip.decompress(_DUMP.read_bytes()).decode())
    connection.close()
    return path


def first_release_on_postgres(url: str, path: Path) -> None:
    """The same store in an empty PostgreSQL database."""
    store = database._connect(url, create=True)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    old = sa.create_engine(f"sqlite:///{first_release_file(path)}")
    with store.begin() as connection, old.connect() as reading:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.text("DROP TABLE analysis_run"))  # the very first stores had none
        metadata = sa.MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name == schema.VERSION_TABLE:
                continue
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            marks = ", ".join("%s" for _ in table.columns)
            for row in reading.exec_driver_sql(f"SELECT {names} FROM {table.name}"):  # noqa: S608
                values = tuple(
                    bool(value) if isinstance(column.type, sa.Boolean) and value is not None else value
                    for column, value in zip(table.columns, row, strict=True)
                )
                connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)  # noqa: S608
            if "pk" in table.c:
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'pk'), max(pk)) FROM {table.name}"  # noqa: S608
                )
    old.dispose()
    store.close()


def rows_of(store: Store, columns: dict[str, list[str]] | None = None) -> Rows:
    """Every row of every table, sorted; of `columns` (by table) only, where given. JSON as text, truth as 0 and 1."""
    found: Rows = {}
    with store.read() as connection:
        tables = sa.inspect(connection).get_table_names() if columns is None else list(columns)
        for name in tables:
            if name == schema.VERSION_TABLE:
                continue
            told = columns[name] if columns else [c["name"] for c in sa.inspect(connection).get_columns(name)]
            names = ", ".join(
                f'CAST("{one}" AS TEXT)'
                if isinstance(schema.metadata.tables[name].c[one].type, sa.JSON)
                else f'"{one}"'
                for one in told
            )
            read = connection.exec_driver_sql(f"SELECT {names} FROM {name}")  # noqa: S608
            found[name] = sorted(
                (tuple(int(v) if isinstance(v, bool) else v for v in row) for row in read), key=repr
            )
    return found


def columns_of(rows_from: Path) -> dict[str, list[str]]:
    """The columns of each table of a SQLite file."""
    connection = sqlite3.connect(rows_from)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name != schema.VERSION_TABLE
    ]
    found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
    connection.close()
    return found
