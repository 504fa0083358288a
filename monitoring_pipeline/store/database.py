"""The database under the store: one engine, SQLite or PostgreSQL, with the settings that make each safe and quick.

SQLite runs in WAL mode (readers never wait), with `synchronous=NORMAL`, foreign keys on and a busy timeout; a
writing transaction takes the lock at its start (`BEGIN IMMEDIATE`), so that it can wait for another writer but never
fail half way. PostgreSQL is reached through psycopg 3. Every error of the database leaves this module as StoreError
with the original as its cause; no message holds a password.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote as percent_encoded

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url

from monitoring_pipeline.errors import MissingExtraError, StoreError, StoreVersionError
from monitoring_pipeline.store.schema import SCHEMA_VERSION, VERSION_TABLE

if TYPE_CHECKING:
    from psycopg import Cursor as PsycopgCursor
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_SECONDS = 120
_CACHE_KIB = 65_536
"""Most memory for SQLite's pages: the indexes of a day's results fit in, so that it writes each page once."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6D6F6E69746F72
"""Key of the PostgreSQL advisory lock that one migrating process holds; any constant."""


class Store:
    """An open store. Safe to share between threads; a process opens its own. Made by `open_store`."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self.engine = engine
        self.url = url

    def __repr__(self) -> str:
        return f"Store({_shown(self.url)!r})"

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite; otherwise it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One writing transaction: committed at the end, rolled back on any error. Raises StoreError."""
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: a consistent view that no writer disturbs. Raises StoreError."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Every error of the database inside becomes one StoreError that says what to do. The one place where it does."""
        # The driver's own errors come from statements that go past SQLAlchemy, such as COPY.
        driver_error = self.engine.dialect.loaded_dbapi.Error
        try:
            yield
        except (exc.SQLAlchemyError, driver_error) as error:
            raise StoreError(_explain(self.url, error)) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with self.explained(), self.engine.connect() as connection:
            connection.execution_options(store_writes=writes)
            if not writes and not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection


def open_store(url: str, *, create: bool = True) -> Store:
    """Open the store at a SQLAlchemy URL (`sqlite:///path` or `postgresql://…`).

    An empty database gets the tables, and the parent folder of a SQLite file is made, unless `create` is false.
    Raises StoreVersionError when the database has another schema version than this release, MissingExtraError
    without a PostgreSQL driver, StoreError when the database cannot be reached.
    """
    store = _connect(url, create=create)
    try:
        found = schema_version(store)
        if found is None:
            if not create:
                raise StoreError(f"{_shown(store.url)} holds no monitoring store")
            _migrate(store)
        elif found != SCHEMA_VERSION:
            raise StoreVersionError(_version_message(store.url, found))
    except BaseException:
        store.close()
        raise
    return store


def upgrade(url: str) -> str:
    """Bring the database at a URL to this release's schema version, and return that version.

    Safe to run at any time and by several processes at once: all steps happen in one transaction.
    Raises StoreVersionError when the database is newer than this release.
    """
    store = _connect(url, create=True)
    try:
        found = schema_version(store)
        if found is not None and found > SCHEMA_VERSION:
            raise StoreVersionError(_version_message(store.url, found))
        _migrate(store)
    finally:
        store.close()
    return SCHEMA_VERSION


def schema_version(store: Store) -> str | None:
    """The schema version that the database has; None when it is empty."""
    with store.read() as connection:
        return _schema_version(connection)


def insert(connection: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`, in the connection's dialect."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def upsert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows, or overwrite those with the same primary key."""
    if not rows:
        return
    statement = insert(connection, table)
    key = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), list(rows))


def insert_tuples(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[tuple[object, ...]],
    *,
    names: Sequence[str] | None = None,
) -> None:
    """Insert many rows that cannot conflict, each with the values of the columns `names` (all, unless given).

    Goes past SQLAlchemy's handling of rows, by the driver's fastest way: ten times as fast as its INSERT for wide rows,
    160,000 `profile` rows a second on SQLite (`executemany`), 60,000 on PostgreSQL (binary COPY). Values must be what
    the driver takes, JSON as text (`to_json`).
    """
    if not rows:
        return
    columns = [table.c[name] for name in names] if names is not None else list(table.columns)
    quote = connection.dialect.identifier_preparer.quote
    target = f"{quote(table.name)} ({', '.join(quote(column.name) for column in columns)})"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {target} VALUES ({marks})", list(rows))  # noqa: S608
        return
    cursor = cast("PsycopgCursor", connection.connection.cursor())
    with cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types([_COPY_TYPES[type(column.type)] for column in columns])
        for row in rows:
            copy.write_row(row)


_COPY_TYPES = {
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Double: "float8",
    sa.JSON: "text",  # the binary form of JSON is its text
    sa.LargeBinary: "bytea",
    sa.Text: "text",
}


def to_json(value: object) -> str:
    """A value as the store keeps JSON: infinities as the text "Infinity", as monitor documents write them, NaN as null."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def _plain(value: object) -> object:
    """Numbers and arrays of numpy, without importing it."""
    to_list = getattr(value, "tolist", None)
    if to_list is None:
        raise TypeError(f"the store cannot keep a {type(value).__name__} as JSON")
    return to_list()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain).encode


def _connect(url: str, *, create: bool) -> Store:
    parsed = _parse(url)
    path = _sqlite_path(parsed)
    if path is not None:
        if not create and not path.exists():
            raise StoreError(f"there is no store at {path}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder {path.parent} for the store: {error.strerror}"
            ) from error
    engine = sa.create_engine(
        parsed,
        json_serializer=to_json,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS} if parsed.get_backend_name() == "sqlite" else {},
        pool_pre_ping=parsed.get_backend_name() == "postgresql",
    )
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return Store(engine, parsed)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(
            url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url
        )
    except (exc.ArgumentError, ValueError):
        # `from None`: the original quotes the URL, password included.
        raise StoreError(
            "the store's URL cannot be read; accepted: sqlite:///path/to/file.db, "
            "postgresql://user:password@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        if find_spec("psycopg") is None:
            raise MissingExtraError("a PostgreSQL store", "postgres")
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(f"the store's URL names {backend!r}; accepted: sqlite, postgresql")
    return parsed


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite alone
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("store_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _schema_version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608


def _migrate(store: Store) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with store.begin() as connection:
        if not store.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreVersionError(f"cannot migrate {_shown(store.url)}: {error}") from error


def _version_message(url: URL, found: str) -> str:
    start = f"{_shown(url)} has schema version {found}, this release works with {SCHEMA_VERSION}"
    if found < SCHEMA_VERSION:
        return f"{start}; bring it up to date with: monitor db upgrade"
    return f"{start}; install a newer monitoring-pipeline"


_AGAIN = "then do the same again: what was not committed has left no trace"
_CAUSES = (
    (
        ("disk is full", "no space left", "file too large", "disk quota"),
        "its disk is full",
        f"make room, {_AGAIN}",
    ),
    (
        ("readonly database", "read-only", "permission denied"),
        "it may not be written; check the permissions",
        "",
    ),
    (
        ("unable to open database file",),
        "the file cannot be opened; check that the folder exists and its permissions",
        "",
    ),
    (("database is locked",), "another process has kept it locked for too long", f"wait for it, {_AGAIN}"),
    (("malformed", "not a database"), "the file is damaged or not a database", "bring back a backup"),
    (("disk i/o error",), "its disk cannot be read or written", f"check the disk and its room, {_AGAIN}"),
    (("password authentication failed",), "it does not accept the user or the password", ""),
    (
        (
            *("server closed", "terminating connection", "connection reset", "broken pipe"),
            *("consuming input failed", "eof detected", "connection has been closed", "connection is lost"),
            *(
                "lost synchronization",
                "connection is closed",
                "could not receive data",
                "could not send data",
            ),
            *("connection already closed", "sending query failed", "unexpected eof", "connection not open"),
        ),
        "the connection was lost",
        f"see that the database runs, {_AGAIN}",
    ),
    (
        (
            *("connection to server", "connection is bad", "connection failed", "connection refused"),
            *("could not connect", "starting up", "shutting down"),
            *("too many clients", "connection timeout", "not yet accepting", "recovery mode"),
        ),
        "it cannot be reached",
        f"see that the database runs and accepts connections, {_AGAIN}",
    ),
)
"""What messages of the databases say of a cause, the cause in our words, and what to do about it."""


def _explain(url: URL, error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    detail = " ".join(str(original).split()) or type(original).__name__
    for secret in {str(url.password), percent_encoded(str(url.password), safe="")} if url.password else ():
        detail = detail.replace(secret, "***")
    lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    found = next((one for one in _CAUSES if any(sign in detail.lower() for sign in one[0])), None)
    found = found or (_CAUSES[-2] if lost else ((), "", ""))
    _, cause, advice = found
    start = f"the store {_shown(url)} failed: {cause + ': ' if cause else ''}{detail}"
    return f"{start}; {advice}" if advice else start


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
