from __future__ import annotations

import os
import signal
import threading
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline.errors import StoreError, StoreVersionError, UsageError
from monitoring_pipeline.store import copying, schema
from monitoring_pipeline.store.copying import copy_store
from monitoring_pipeline.store.database import insert_tuples, open_store, upgrade
from monitoring_pipeline.store.datasets import datasets, register_dataset
from monitoring_pipeline_tests.store.first_release import Rows, first_release_file, rows_of
from monitoring_pipeline_tests.store.stored_days import MONDAY, some_profile, write, write_days


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a store with something in most tables: that of the first release, and a second dataset with roll-ups."""
    path = first_release_file(tmp_path_factory.mktemp("full") / "full.db")
    url = f"sqlite:///{path}"
    upgrade(url)
    store = open_store(url)
    ref = register_dataset(store, "org-1", "orders")
    write_days(store, ref, 2)
    write(store, ref, MONDAY, some_profile(7), fingerprint="second")  # one superseded
    store.close()
    return url


@pytest.fixture
def target(database_url: str) -> str:
    """URL of an empty database."""
    return database_url


def everything(url: str) -> Rows:
    store = open_store(url, create=False)
    rows = rows_of(store)
    store.close()
    return rows


def same(left: Rows, right: Rows) -> bool:
    """Whether two stores hold the same rows; not compared in an assert, whose explanation would take for ever."""
    return left == right


def test_every_row_of_every_table_is_copied_there_and_back(full: str, target: str, tmp_path: Path) -> None:
    copied = copy_store(full, target)
    held = everything(full)
    assert same(held, everything(target))
    assert copied.rows == {name: len(rows) for name, rows in held.items()}
    assert copied.rows["superseded_profile"] > 0
    back = f"sqlite:///{tmp_path / 'back.db'}"
    copy_store(target, back)
    assert same(held, everything(back))


def test_a_copy_numbers_on_where_the_original_stopped(full: str, target: str) -> None:
    copy_store(full, target)
    store = open_store(target)
    known = {ref.pk for ref in datasets(store)}
    ref = register_dataset(store, "org-2", "new")
    assert ref.pk not in known
    write_days(store, ref, 1)
    store.close()


def test_progress_counts_every_row_twice_once_copied_and_once_compared(full: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    copied = copy_store(full, f"sqlite:///{tmp_path / 'copy.db'}", progress=lambda *what: told.append(what))
    rows = sum(copied.rows.values())
    assert told[-1][1:] == (2 * rows, 2 * rows)
    assert {"copying profile", "comparing profile"} <= {what for what, _, _ in told}


def test_a_target_that_holds_something_else_is_refused_and_left_alone(full: str, target: str) -> None:
    store = open_store(target)
    register_dataset(store, "org-0", "mine")
    store.close()
    before = everything(target)
    with pytest.raises(StoreError, match="not empty"):
        copy_store(full, target)
    assert same(before, everything(target))


def test_a_copy_that_is_there_already_is_found_to_be_the_same(full: str, target: str) -> None:
    assert not copy_store(full, target).present
    assert copy_store(full, target).present


def test_a_copy_that_differs_in_one_value_is_refused(full: str, target: str) -> None:
    copy_store(full, target)
    store = open_store(target)
    with store.begin() as connection:
        table = schema.profile
        first = sa.select(sa.func.min(table.c.bucket)).scalar_subquery()
        connection.execute(sa.update(table).where(table.c.bucket == first).values(mean=table.c.mean + 1e-9))
    store.close()
    with pytest.raises(StoreError, match="not empty"):
        copy_store(full, target)


def test_a_store_is_not_copied_onto_itself(full: str) -> None:
    with pytest.raises(UsageError, match="--to names another database"):
        copy_store(full, full)


def test_a_source_of_another_release_is_refused(tmp_path: Path) -> None:
    old = first_release_file(tmp_path / "old.db")
    with pytest.raises(StoreVersionError, match="0001.*monitor db upgrade"):  # noqa: RUF043
        copy_store(f"sqlite:///{old}", f"sqlite:///{tmp_path / 'new.db'}")
    assert not (tmp_path / "new.db").exists()


def test_a_target_of_another_release_is_refused(full: str, tmp_path: Path) -> None:
    old = first_release_file(tmp_path / "old.db")
    with pytest.raises(StoreVersionError, match="the target is of another release"):
        copy_store(full, f"sqlite:///{old}")


def test_a_source_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        copy_store(f"sqlite:///{tmp_path / 'none.db'}", f"sqlite:///{tmp_path / 'copy.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_does_not_arrive_as_it_left_undoes_the_copy(
    full: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing(connection: sa.Connection, table: sa.Table, rows: list[tuple[object, ...]]) -> None:
        insert_tuples(connection, table, rows[1:] if table is schema.evaluation else rows)

    monkeypatch.setattr(copying, "insert_tuples", losing)
    with pytest.raises(StoreError, match="the copy of evaluation is not what was sent"):
        copy_store(full, target)
    assert not any(everything(target).values())


def test_what_is_written_meanwhile_is_not_in_the_copy(target: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'source.db'}"
    store = open_store(url)
    write_days(store, register_dataset(store, "org-0", "orders"), 1)
    before = everything(url)
    written = threading.Event()

    def meddle(*_: object) -> None:
        if not written.is_set():
            written.set()
            register_dataset(store, "org-0", "later")

    copy_store(url, target, progress=meddle)
    assert same(before, everything(target))
    assert [ref.dataset_id for ref in datasets(store)] == ["later", "orders"]
    store.close()


def _killed(source: str, target: str, at: int) -> None:
    calls = 0

    def die(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    copy_store(source, target, progress=die)


@pytest.mark.slow
def test_a_copy_that_is_killed_leaves_nothing_and_the_next_one_is_whole(
    full: str, target: str, processes: ForkServerContext
) -> None:
    for at in (9, 30):
        process = processes.Process(target=_killed, args=(full, target, at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not any(everything(target).values())
    copy_store(full, target)
    assert same(everything(full), everything(target))


def test_the_command_copies_and_says_how_much(
    full: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_STORE_URL", full)
    target = f"sqlite:///{tmp_path / 'copy.db'}"
    first = CliRunner().invoke(app, ["db", "copy", "--to", target])
    assert (first.exit_code, "compared every one" in first.output) == (0, True)
    again = CliRunner().invoke(app, ["db", "copy"], env={"MONITORING_COPY_TO": target})
    assert (again.exit_code, "there already" in again.output) == (0, True)


def test_the_command_never_prints_a_password(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_STORE_URL", full)
    url = "postgresql://monitor:s3cret@127.0.0.1:1/x"
    result = CliRunner().invoke(app, ["db", "copy", "--to", url])
    assert result.exit_code == 3
    assert "s3cret" not in result.output
    assert "127.0.0.1" in result.output
    monkeypatch.setenv("MONITORING_COPY_TO", url)
    assert "s3cret" not in CliRunner().invoke(app, ["db", "copy", "--help"]).output


def test_infinities_booleans_and_bytes_cross_between_the_databases(target: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'source.db'}"
    store = open_store(url)
    ref = register_dataset(store, "org-0", "ä 'quoted' \N{SNOWMAN}")
    with store.begin() as connection:
        connection.execute(
            sa.insert(schema.audit).values(
                organisation="o", moment=1, actor="a", action="x",
                details={"upper": float("inf"), "text": "100 % \\ \"quoted\"", "none": None},
            )
        )  # fmt: skip
        key = {"dataset": ref.pk, "grain": "base", "bucket": -1}
        names = {"segment": schema.segment.c.key, "column": schema.column_name.c.name}
        for name, column in names.items():
            made = sa.insert(column.table).values({"dataset": ref.pk, column.name: ""})
            key[name] = connection.execute(made.returning(column.table.c.pk)).scalar_one()
        connection.execute(
            sa.insert(schema.profile).values(**key, mean=float("inf"), m2=5e-324, min=-float("inf"))
        )
        connection.execute(sa.insert(schema.profile_sketch).values(**key, components=bytes(range(256))))
    store.close()
    copy_store(url, target)
    assert same(everything(url), everything(target))
