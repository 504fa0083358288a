"""Turns: of several processes one at a time does a thing, for as long as it lives, whatever the clocks say.

A turn is a lock that the operating system or PostgreSQL takes away from a process that dies: no time is involved. On
SQLite it is a locked file beside the database (an in-memory database has one process only, and an operating system
without `flock` no turns: what a claim's lease says must do there), on PostgreSQL an advisory lock of the session.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store.database import Store

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""A machine that vanishes without a word loses its turns after a minute, and not after the usual two hours."""


@contextmanager
def turn(store: Store, name: str) -> Iterator[bool]:
    """Take a turn at `name` for the length of the block, without waiting; False when somebody else has it."""
    if not store.is_sqlite:
        with _advisory(store, name) as mine:
            yield mine
    elif fcntl is None or store.url.database in (None, "", ":memory:"):
        yield True
    else:
        database = Path(str(store.url.database)).absolute()
        word = hashlib.sha256(name.encode()).hexdigest()[:8]
        with _locked(database.with_name(f"{database.name}-turn-{word}")) as mine:
            yield mine


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    assert fcntl is not None  # noqa: S101 - the caller made sure
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot lock {path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(
            descriptor
        )  # which unlocks it; the file stays, because removing it could break another one's turn


@contextmanager
def _advisory(store: Store, name: str) -> Iterator[bool]:
    key = sa.func.hashtextextended(sa.func.current_schema() + sa.literal(f" turn {name}"), 0)
    with store.explained(), store.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for setting in _KEEPALIVE:
            connection.exec_driver_sql(f"SET {setting}")
        mine = bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one())
        try:
            yield mine
        finally:
            if mine:
                connection.invalidate()  # closes the session, which gives the turn back whatever state it is in
