from __future__ import annotations

import os
import stat
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitoring_pipeline.errors import MissingExtraError, StoreError, StoreVersionError
from monitoring_pipeline.store import database, schema
from monitoring_pipeline.store.database import Store, open_store, schema_version, upgrade
from monitoring_pipeline.store.datasets import datasets, register_dataset
from monitoring_pipeline.store.documents import apply_document, latest
from monitoring_pipeline.timegrid import EPOCH


def _set_version(url: str, version: str) -> None:
    store = open_store(url)
    with store.begin() as connection:
        connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"))  # noqa: S608
    store.close()


def test_migrations_make_exactly_the_tables_of_the_schema(store: Store) -> None:
    with store.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE, "compare_server_default": True}
        )
        assert compare_metadata(context, schema.metadata) == []


def test_the_partial_unique_index_and_the_key_order_are_in_the_database(store: Store) -> None:
    inspector = sa.inspect(store.engine)
    unique = {index["name"]: index for index in inspector.get_indexes("analyzer_result")}
    assert unique["uq_analyzer_result_current"]["unique"]
    assert inspector.get_pk_constraint("profile")["constrained_columns"] == [
        "dataset",
        "grain",
        "bucket",
        "segment",
        "column",
    ]


def test_the_schema_version_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.SCHEMA_VERSION]


def test_opening_an_empty_database_makes_the_tables(database_url: str) -> None:
    store = open_store(database_url)
    assert schema_version(store) == schema.SCHEMA_VERSION
    assert datasets(store) == []
    store.close()


def test_opening_again_keeps_what_is_there(database_url: str) -> None:
    store = open_store(database_url)
    ref = register_dataset(store, "org-0", "a", now=EPOCH)
    store.close()
    again = open_store(database_url)
    assert datasets(again) == [ref]
    again.close()


def test_opening_without_create_refuses_an_empty_database(database_url: str) -> None:
    with pytest.raises(StoreError, match=r"no monitoring store|no store at"):
        open_store(database_url, create=False)


def test_opening_without_create_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        open_store(f"sqlite:///{tmp_path / 'deep' / 'store.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'a' / 'b' / 'store.db'}").close()
    assert (tmp_path / "a" / "b" / "store.db").exists()


def test_an_older_database_is_refused_with_the_command_that_mends_it(database_url: str) -> None:
    _set_version(database_url, "0000")
    with pytest.raises(StoreVersionError, match="monitor db upgrade") as caught:
        open_store(database_url)
    assert "0000" in str(caught.value)


def test_a_newer_database_is_refused_and_left_alone(database_url: str) -> None:
    _set_version(database_url, "9999")
    with pytest.raises(StoreVersionError, match="newer monitoring-pipeline"):
        open_store(database_url)
    with pytest.raises(StoreVersionError, match="newer monitoring-pipeline"):
        upgrade(database_url)


def test_upgrade_brings_an_empty_database_to_this_version_and_may_run_again(database_url: str) -> None:
    assert upgrade(database_url) == schema.SCHEMA_VERSION
    assert upgrade(database_url) == schema.SCHEMA_VERSION
    open_store(database_url).close()


def test_an_error_inside_a_transaction_undoes_it(store: Store) -> None:
    def half_done() -> None:
        with store.begin() as connection:
            row = {"organisation": "o", "dataset_id": "d", "registered_at": 0}
            connection.execute(sa.insert(schema.dataset).values(row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert datasets(store) == []


def test_a_broken_rule_of_the_database_is_a_store_error_with_its_cause(store: Store) -> None:
    row = {"organisation": "o", "dataset_id": "d", "registered_at": 0}
    with pytest.raises(StoreError, match=r"(?i)unique") as caught, store.begin() as connection:
        connection.execute(sa.insert(schema.dataset), [row, row])
    assert isinstance(caught.value.__cause__, sa.exc.IntegrityError)


def test_rows_of_unknown_datasets_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"(?i)foreign key"), store.begin() as connection:
        connection.execute(sa.insert(schema.segment).values(dataset=12345, key=""))


def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with store.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    store.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 120_000}


def test_a_reader_sees_one_state_while_a_writer_commits(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(schema.dataset)
    with store.read() as connection:
        assert connection.execute(count).scalar_one() == 0
        register_dataset(store, "o", "d")
        assert connection.execute(count).scalar_one() == 0
    assert len(datasets(store)) == 1


def test_infinity_and_nan_survive_in_json_on_both_databases(store: Store) -> None:
    ref = register_dataset(store, "o", "d")
    apply_document(
        store, ref, "x", {"upper": float("inf"), "deep": [{"lower": float("-inf"), "none": float("nan")}]},
        author="a", origin="file", now=EPOCH,
    )  # fmt: skip
    with store.read() as connection:
        content = connection.execute(sa.select(schema.document_version.c.content)).scalar_one()
    assert content == {"upper": "Infinity", "deep": [{"lower": "-Infinity", "none": None}]}


@pytest.mark.parametrize(
    "url", ["postgresql://monitor:s3cret@127.0.0.1:1/x", "postgres://monitor:s3cret@127.0.0.1:1/x"]
)
def test_an_unreachable_server_is_a_store_error_without_the_password(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(StoreError, match="sqlite:///") as caught:
        open_store("postgresql//monitor:s3cret@host")
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}"


def test_other_databases_are_refused_by_name() -> None:
    with pytest.raises(StoreError, match="'mysql'; accepted: sqlite, postgresql"):
        open_store("mysql://root:s3cret@host/x")


def test_the_store_does_not_show_its_password(tmp_path: Path) -> None:
    url = sa.make_url("postgresql+psycopg://monitor:s3cret@host/x")
    assert "s3cret" not in repr(Store(sa.create_engine(url), url))


def test_without_psycopg_the_line_that_installs_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'monitoring-pipeline\[postgres\]'"):
        open_store("postgresql://host/x")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="damaged or not a database") as caught:
        open_store(f"sqlite:///{path}")
    assert str(path) in str(caught.value)


def test_a_full_disk_is_named_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    ref = register_dataset(store, "o", "d")
    with store.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StoreError, match="its disk is full"):
        apply_document(store, ref, "x", {"text": "x" * 100_000}, author="a", origin="file", now=EPOCH)
    assert latest(store, ref, "x") is None
    assert apply_document(store, ref, "x", {}, author="a", origin="file", now=EPOCH).version == 1
    store.close()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(StoreError, match="permission"):
            open_store(f"sqlite:///{tmp_path / 'store.db'}")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        open_store(f"sqlite:///{tmp_path / 'file' / 'store.db'}")


def _open_and_register(url: str, number: int) -> None:
    store = open_store(url)
    register_dataset(store, "org-0", "shared")
    register_dataset(store, "org-0", f"own-{number}")
    store.close()


def test_processes_that_open_an_empty_database_at_once_all_succeed(
    database_url: str, processes: ForkServerContext
) -> None:
    started = [
        processes.Process(target=_open_and_register, args=(database_url, number)) for number in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0, 0]
    store = open_store(database_url)
    assert [ref.dataset_id for ref in datasets(store)] == ["own-0", "own-1", "own-2", "own-3", "shared"]
    store.close()
