from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from monitoring_pipeline.cli import app
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.portability import export_datasets, import_folder
from monitoring_pipeline.portability.layout import PARTS
from monitoring_pipeline.store import audit, profiles, schema
from monitoring_pipeline.store.database import Store, open_store, upgrade
from monitoring_pipeline.store.datasets import DatasetRef, datasets, find_dataset, register_dataset
from monitoring_pipeline.store.deletion import delete_range
from monitoring_pipeline.store.documents import apply_document, history
from monitoring_pipeline.store.retention import Limits, retire
from monitoring_pipeline.store.rollups import roll_up
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline_tests.store.first_release import first_release_file
from monitoring_pipeline_tests.store.stored_days import DAY, MONDAY, held, some_profile, write, write_days

DAILY = Granularity.DAILY
NOW = datetime(2026, 8, 1, tzinfo=UTC)
_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "production.md"


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Orders with everything that a dataset can have: verdicts, digests, superseded buckets, roll-ups, retired days."""
    path = first_release_file(tmp_path_factory.mktemp("orders") / "store.db")
    upgrade(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    (ref,) = datasets(store)
    write(store, ref, datetime(2026, 3, 5, tzinfo=UTC), some_profile(5), fingerprint="repaired")
    write_days(store, ref, 30, first=datetime(2026, 3, 13, tzinfo=UTC))
    roll_up(store, ref, DAILY, now=NOW)
    retire(store, ref, DAILY, Limits({"base": datetime(2026, 4, 1, tzinfo=UTC)}), now=NOW, actor="ada")
    with store.begin() as connection:
        incident = connection.execute(sa.select(schema.incident.c.incident_id).limit(1)).scalar_one()
        moment = {"dataset": ref.pk, "incident_id": incident}
        connection.execute(
            sa.insert(schema.incident_event).values(
                **moment, moment=1, author="ada", action="acknowledge", details={}
            )
        )
        connection.execute(sa.insert(schema.bad_bucket).values(**moment, bucket=2, since=3))
    yield store
    store.close()


@pytest.fixture(scope="module")
def folder(orders: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the orders."""
    made = tmp_path_factory.mktemp("export") / "moving"
    export_datasets(orders, datasets(orders), made, now=NOW)
    return made


def taken_in(store: Store, folder: Path) -> DatasetRef:
    (done,) = import_folder(store, folder, actor="ada", now=NOW)
    assert done.conflicts == []
    ref = find_dataset(store, "org-0", "orders")
    assert ref is not None
    return ref


def files_that_differ(left: Path, right: Path) -> list[str]:
    """Names of the Parquet files whose rows are not the same."""

    def rows(place: Path, name: str) -> list[tuple[object, ...]]:
        table = pq.read_table(place / "001-orders" / f"{name}.parquet")
        return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)

    return [name for name in PARTS if rows(left, name) != rows(right, name)]


def test_what_is_exported_imported_and_exported_again_is_the_same(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    taken_in(store, folder)
    export_datasets(store, datasets(store), tmp_path / "again", now=NOW)
    assert files_that_differ(folder, tmp_path / "again") == []
    empty = [
        name for name in PARTS if not pq.read_metadata(folder / "001-orders" / f"{name}.parquet").num_rows
    ]
    assert empty == []


def test_imported_profiles_and_roll_ups_are_read_as_the_originals(
    store: Store, orders: Store, folder: Path
) -> None:
    ref, old = taken_in(store, folder), datasets(orders)[0]
    window = TimeRange(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 6, tzinfo=UTC))
    there, here = (profiles.bucket_profiles(one, of, window) for one, of in ((orders, old), (store, ref)))
    assert len(here) > 5
    assert (here == there) is True
    assert held(store, ref) == held(orders, old)
    assert held(store, ref, "week") == held(orders, old, "week")
    assert roll_up(store, ref, DAILY, now=NOW).made == ()  # they came along and are clean


def test_importing_again_adds_nothing(store: Store, folder: Path) -> None:
    taken_in(store, folder)
    (again,) = import_folder(store, folder, actor="ada", now=NOW)
    assert (again.added, again.conflicts) == ({}, [])
    assert again.known["profiles"] > 100
    assert [entry.action for entry in audit.entries(store, "org-0")] == ["import"]


def test_what_the_store_has_stays_and_what_differs_is_told(store: Store, folder: Path) -> None:
    ref = register_dataset(store, "org-0", "orders")
    other, deleted = datetime(2026, 4, 2, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC)
    write(store, ref, other, some_profile(99), fingerprint="other data")
    write(store, ref, deleted, some_profile(98))
    delete_range(store, ref, DAILY, TimeRange(deleted, deleted + DAY), actor="ada", now=NOW)
    apply_document(store, ref, "monitors", {"own": 1}, author="ada", origin="file", now=NOW)
    before = profiles.bucket_profiles(store, ref, TimeRange(other, other + DAY))
    (done,) = import_folder(store, folder, actor="ada", now=NOW)
    assert [conflict.partition(";")[0] for conflict in done.conflicts] == [
        "the monitors document differs from version 1 on",
        "the bucket 2026-04-02 00:00 was made from other data (version 1 here, 1 there)",
        "the bucket 2026-04-03 00:00 was deleted here",
    ]
    assert (before == profiles.bucket_profiles(store, ref, TimeRange(other, other + DAY))) is True
    assert deleted not in held(store, ref)
    assert datetime(2026, 4, 4, tzinfo=UTC) in held(store, ref)
    assert [version.content for version in history(store, ref, "monitors")] == [{"own": 1}]


def test_roll_ups_over_buckets_of_both_sides_are_made_anew(store: Store, tmp_path: Path) -> None:
    ref = register_dataset(store, "org-0", "orders")
    source = open_store(f"sqlite:///{tmp_path / 'source.db'}")
    theirs = register_dataset(source, "org-0", "orders")
    write_days(source, theirs, 5)
    roll_up(source, theirs, DAILY, now=NOW)
    export_datasets(source, [theirs], tmp_path / "moving", now=NOW)
    write(store, ref, MONDAY + 5 * DAY, some_profile(5))
    import_folder(store, tmp_path / "moving", actor="ada", now=NOW)
    roll_up(store, ref, DAILY, now=NOW)
    write(source, theirs, MONDAY + 5 * DAY, some_profile(5))
    roll_up(source, theirs, DAILY, now=NOW)
    assert _week(store, ref) == _week(source, theirs)
    assert len(_week(store, ref)) == 1
    source.close()


def _week(store: Store, ref: DatasetRef) -> list[tuple[float, float]]:
    table, names, segments = schema.profile, schema.column_name, schema.segment
    query = (
        sa.select(table.c.n, table.c.mean)
        .join(names, names.c.pk == table.c.column)
        .join(segments, segments.c.pk == table.c.segment)
        .where(
            table.c.dataset == ref.pk, table.c.grain == "week", names.c.name == "age", segments.c.key == ""
        )
    )
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_a_later_export_brings_what_was_added_since(store: Store, tmp_path: Path) -> None:
    source = open_store(f"sqlite:///{tmp_path / 'source.db'}")
    ref = register_dataset(source, "org-0", "orders")
    write_days(source, ref, 2)
    apply_document(source, ref, "monitors", {"version": 1}, author="ada", origin="file", now=NOW)
    export_datasets(source, [ref], tmp_path / "first", now=NOW)
    taken_in(store, tmp_path / "first")
    write_days(source, ref, 3)
    apply_document(source, ref, "monitors", {"version": 2}, author="ada", origin="file", now=NOW)
    export_datasets(source, [ref], tmp_path / "second", now=NOW)
    mine = taken_in(store, tmp_path / "second")
    assert held(store, mine) == [MONDAY, MONDAY + DAY, MONDAY + 2 * DAY]
    assert [one.content for one in history(store, mine, "monitors")] == [{"version": 2}, {"version": 1}]
    source.close()


def test_a_message_that_was_not_sent_is_not_sent_from_the_new_place(
    store: Store, orders: Store, tmp_path: Path
) -> None:
    with orders.begin() as connection:
        connection.execute(sa.update(schema.delivery).values(state="pending"))
    try:
        export_datasets(orders, datasets(orders), tmp_path / "moving", now=NOW)
    finally:
        with orders.begin() as connection:
            connection.execute(sa.update(schema.delivery).values(state="delivered"))
    taken_in(store, tmp_path / "moving")
    with store.read() as connection:
        states = connection.execute(sa.select(schema.delivery.c.state, schema.delivery.c.error)).all()
    assert {tuple(row) for row in states} == {("failed", "not sent: it came with an import")}


def test_another_organisation_may_take_the_dataset(store: Store, folder: Path) -> None:
    register_dataset(store, "org-0", "orders")
    (done,) = import_folder(store, folder, organisation="org-9", actor="ada", now=NOW)
    assert done.organisation == "org-9"
    theirs = find_dataset(store, "org-9", "orders")
    assert theirs is not None
    assert held(store, theirs)
    assert not held(store, register_dataset(store, "org-0", "orders"))


def test_a_folder_with_something_in_it_is_not_written_over(orders: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        export_datasets(orders, datasets(orders), tmp_path, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_a_killed_export_left_is_cleared_away(orders: Store, tmp_path: Path) -> None:
    left = tmp_path / ".moving.unfinished" / "001-orders"
    left.mkdir(parents=True)
    (left / "profiles.parquet").write_bytes(b"half")
    export_datasets(orders, datasets(orders), tmp_path / "moving", now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["moving"]


def test_the_commands_export_and_import(
    orders: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MONITORING_STORE_URL", orders.url.render_as_string())
    done = CliRunner().invoke(app, ["export", "orders", "--to", str(tmp_path / "moving")])
    assert (done.exit_code, "72 results" in done.output) == (0, True), done.output
    monkeypatch.setenv("MONITORING_STORE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    first = CliRunner().invoke(app, ["import", str(tmp_path / "moving")])
    assert (first.exit_code, "72 results" in first.output) == (0, True), first.output
    assert "nothing new" in CliRunner().invoke(app, ["import", str(tmp_path / "moving")]).output
    unknown = CliRunner().invoke(app, ["export", "ordres", "--to", str(tmp_path / "other")])
    assert (unknown.exit_code, (tmp_path / "other").exists()) == (2, False)
    assert CliRunner().invoke(app, ["import", str(tmp_path / "none")]).exit_code == 2


def test_the_example_of_the_documentation_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(import pandas.*?)```", _DOCUMENTATION.read_text(), re.DOTALL)
    monkeypatch.chdir(folder.parent)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})  # noqa: S102 - the documentation is ours
    assert "orders-nulls-analyzer" in printed.getvalue()
