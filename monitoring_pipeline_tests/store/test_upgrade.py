from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from typer.testing import CliRunner

from monitoring_pipeline import pipeline
from monitoring_pipeline.cli import app
from monitoring_pipeline.config.layout import laid_out
from monitoring_pipeline.errors import StoreVersionError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import database, profiles, query, results, rollups, schema
from monitoring_pipeline.store.database import Store, open_store, upgrade
from monitoring_pipeline.store.datasets import datasets
from monitoring_pipeline.store.documents import latest
from monitoring_pipeline.store.incidents import incidents
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.store.first_release import (
    columns_of,
    first_release_file,
    first_release_on_postgres,
    rows_of,
)
from monitoring_pipeline_tests.workspaces import DATASET, START, write_day


@pytest.fixture
def first_release(database_url: str, tmp_path: Path) -> str:
    """URL of a store of the first release."""
    if database_url.startswith("sqlite"):
        first_release_file(tmp_path / "store.db")
    else:
        first_release_on_postgres(database_url, tmp_path / "first.db")
    return database_url


def opened_as_it_is(url: str) -> Store:
    return database._connect(url, create=False)


def test_a_store_of_the_first_release_is_refused_with_the_command_that_upgrades_it(
    first_release: str,
) -> None:
    with pytest.raises(StoreVersionError, match=r"schema version 0001.*monitor db upgrade"):
        open_store(first_release)


def test_a_store_of_the_first_release_upgrades_row_by_row_with_nothing_lost(
    first_release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = columns_of(first_release_file(tmp_path / "again" / "first.db"))
    old = opened_as_it_is(first_release)
    before = rows_of(old, columns)
    old.close()
    assert len(before["profile"]) == 180
    assert len(before["analyzer_result"]) == 72
    monkeypatch.setenv("MONITORING_STORE_URL", first_release)
    assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
    store = open_store(first_release)
    after = rows_of(store, columns)
    assert {name: len(rows) for name, rows in after.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    for name, rows in before.items():
        assert (rows == after[name]) is True, name
    with store.begin() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
    store.close()


def test_profiles_and_verdicts_of_the_first_release_are_read(first_release: str) -> None:
    upgrade(first_release)
    store = open_store(first_release)
    (ref,) = datasets(store)
    window = TimeRange(START, START + timedelta(days=12))
    found = profiles.bucket_profiles(store, ref, window, segments=[""])
    amounts = found["", "amount"]
    assert len(amounts) == 12
    assert [profile.n for profile in amounts.values()] == [60] * 8 + [61, 10, 60, 60]
    assert all(profile.quantiles([0.5])[0] > 0 and profile.distinct()[0] > 5 for profile in amounts.values())
    assert {key[1] for key in profiles.reference_profile(store, ref, "launch")} == {
        "amount", "country", "express",
    }  # fmt: skip
    anomalies = results.results(store, ref, anomalies_only=True)
    assert [row["analyzer_id"] for row in anomalies] == ["orders-volume-analyzer", "orders-nulls-analyzer"]
    assert len(incidents(store, ref)) == 2
    store.close()


def test_what_the_first_release_has_written_is_rolled_up(first_release: str) -> None:
    upgrade(first_release)
    store = open_store(first_release)
    (ref,) = datasets(store)
    made = rollups.roll_up(store, ref, Granularity.DAILY, now=START + timedelta(days=60)).made
    assert {block.grain for block in made} == {"week", "month"}
    window = TimeRange(START, START + timedelta(days=12))
    days = profiles.bucket_profiles(store, ref, window, segments=[""])["", "amount"]
    weeks = sorted(block.start for block in made if block.grain == "week")
    whole = TimeRange(weeks[0], weeks[-1] + timedelta(days=7))
    known = query.merged(
        store, ref, query.Question(whole, Granularity.DAILY, columns=["amount"], segments=[""])
    )
    merged = known.profile.columns[""]["amount"]
    assert merged.n == sum(day.n for day in days.values()) == 671
    assert (merged.min, merged.max) == (
        min(day.min for day in days.values()),
        max(day.max for day in days.values()),
    )
    store.close()


def test_the_pipeline_goes_on_where_the_first_release_stopped(first_release: str, tmp_path: Path) -> None:
    upgrade(first_release)
    home = tmp_path / "home"
    folder = home / "datasets" / "orders"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    store = open_store(first_release)
    (ref,) = datasets(store)
    document = latest(store, ref, "monitors")
    store.close()
    assert document is not None
    (folder / "monitors.json").write_text(laid_out(document.content))
    arrived = (START + timedelta(days=13, hours=2)).timestamp()
    os.utime(write_day(home, 12, rows=60, null_share=0.9), (arrived, arrived))
    settings = Settings(home=home, store_url=first_release, now=START + timedelta(days=13, hours=9))
    with Workspace(settings) as workspace:
        workspace.apply("orders")
        assert len(pipeline.profile_batch(workspace, "orders").buckets) == 1
        pipeline.roll_up(workspace, "orders")
        analyzed = pipeline.analyze_batch(workspace, "orders", [START + timedelta(days=12)])
        notified = pipeline.notify(workspace, "orders")
        found = {one.analyzer_id: one for one in analyzed.anomalies if one.column == "amount"}
        assert found["orders-nulls-analyzer"].baseline_batches_with_profile_count == 7  # of the first release
        assert found["orders-drift-analyzer"].reference_profile_id == "launch"
        assert [digest.monitor_id for digest in notified.digests] == ["orders-volume-monitor"]


def _downgrade(store: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with store.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")


def test_there_is_no_way_back_to_an_older_schema_and_the_refusal_says_why(store: Store) -> None:
    with pytest.raises(StoreVersionError, match=r"cannot go back.*restore the backup"):
        _downgrade(store)
    assert database.schema_version(store) == schema.SCHEMA_VERSION
    refused = CliRunner().invoke(app, ["db", "downgrade"])
    assert (refused.exit_code, "Restore the backup" in refused.output) == (2, True)
