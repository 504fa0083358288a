"""Filling the past: chunk by chunk, safe to stop, quiet unless asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline import backfill as backfills
from monitoring_pipeline import overview
from monitoring_pipeline.backfill import backfill
from monitoring_pipeline.orchestration.reporting import report_partitions
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import digests, profiles, results
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import START, make_workspace

WINDOW = TimeRange(START, START + timedelta(days=20))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    home = make_workspace(tmp_path / "data", days=20, few_rows_on=15, nulls_on=17)
    monkeypatch.setitem(backfills.BUCKETS_PER_CHUNK, Granularity.DAILY, 6)
    with Workspace(Settings(home=home)) as opened:
        yield opened


def state(workspace: Workspace) -> list[tuple[object, ...]]:
    """What a backfill leaves: verdicts without the names and moments of runs."""
    return [
        (
            row["bucket"],
            row["analyzer_id"],
            row["segment"],
            row["column"],
            row["metric_value"],
            row["anomaly_count"],
        )
        for row in results.results(workspace.store, workspace.ref("orders"))
    ]


def test_chunks_cover_the_window_once_and_in_order(workspace: Workspace) -> None:
    chunks = list(backfill(workspace, "orders", WINDOW))

    assert [(chunk.done, chunk.total) for chunk in chunks] == [(6, 20), (12, 20), (18, 20), (20, 20)]
    assert sum(chunk.profiled for chunk in chunks) == 20
    assert [chunk.window.start for chunk in chunks[1:]] == [chunk.window.end for chunk in chunks[:-1]]
    assert sum(chunk.anomalies for chunk in chunks) == sum(bool(row[-1]) for row in state(workspace)) > 0


def test_stopping_and_going_on_gives_what_one_go_gives(workspace: Workspace, tmp_path: Path) -> None:
    filling = backfill(workspace, "orders", WINDOW)
    next(filling)
    filling.close()
    again = list(backfill(workspace, "orders", WINDOW))
    assert [chunk.profiled for chunk in again] == [0, 6, 6, 2]
    assert [chunk.unchanged for chunk in again] == [6, 0, 0, 0]

    other = make_workspace(tmp_path / "other", days=20, few_rows_on=15, nulls_on=17)
    with Workspace(Settings(home=other)) as whole:
        list(backfill(whole, "orders", WINDOW))
        assert state(whole) == state(workspace)


def test_a_second_backfill_writes_nothing(workspace: Workspace) -> None:
    list(backfill(workspace, "orders", WINDOW))
    chunks = list(backfill(workspace, "orders", WINDOW))

    assert sum(chunk.profiled + chunk.verdicts for chunk in chunks) == 0


def test_nobody_is_told_of_the_past_unless_asked(workspace: Workspace) -> None:
    first, second = (
        TimeRange(START, START + timedelta(days=16)),
        TimeRange(START + timedelta(days=16), WINDOW.end),
    )
    list(backfill(workspace, "orders", first))
    assert overview.find_incidents(workspace, "orders")
    assert not digests.digests(workspace.store, workspace.ref("orders"))

    list(backfill(workspace, "orders", second, tell=True))
    [told] = overview.find_digests(workspace, ["orders"], limit=9)
    assert told.period.start >= second.start


def test_dagster_is_told_of_what_it_does_not_know_and_only_once(workspace: Workspace) -> None:
    list(backfill(workspace, "orders", WINDOW))
    with dg.DagsterInstance.ephemeral() as instance:
        assert (
            report_partitions(instance, workspace, "orders", TimeRange(START, START + timedelta(days=5))) == 5
        )
        assert report_partitions(instance, workspace, "orders", WINDOW) == 15
        assert report_partitions(instance, workspace, "orders", WINDOW) == 0

        key = dg.AssetKey(["orders", "analyzer_results"])
        assert len(instance.get_materialized_partitions(key)) == 20
        records = instance.fetch_materializations(key, limit=100).records
        shown = {record.partition_key: record.asset_materialization.metadata for record in records}  # pyright: ignore[reportOptionalMemberAccess]
        assert shown["2026-03-16"]["anomalies"].value >= 1
        assert shown["2026-03-10"]["anomalies"].value == 0


def test_reporting_stops_when_asked(workspace: Workspace) -> None:
    list(backfill(workspace, "orders", WINDOW))
    asked = iter([False, False, True])
    with dg.DagsterInstance.ephemeral() as instance:
        told = report_partitions(
            instance, workspace, "orders", WINDOW, stopped=lambda: next(asked), at_once=3
        )
        assert told == 6
        assert report_partitions(instance, workspace, "orders", WINDOW) == 14


@pytest.mark.slow
def test_control_c_finishes_the_chunk_and_the_same_command_goes_on(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=260)
    environment = {
        "PATH": "/usr/bin:/bin",
        "MONITORING_HOME": str(home),
    }
    command = [sys.executable, "-m", "monitoring_pipeline.cli", "backfill", "orders", "--to", "2026-11-16"]
    running = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for_a_batch(home)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=120)
    with Workspace(Settings(home=home)) as workspace:
        stored = len(profiles.batches(workspace.store, workspace.ref("orders"), segment=""))
    if stored < 260:  # it was caught before its end
        assert running.returncode == 0
        assert "goes on from here" in said
        assert stored in {92, 184}

    whole = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "260 of 260 buckets" in whole.stdout
    assert "nothing was reported" in whole.stdout


def _wait_for_a_batch(home: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (home / "store" / "monitoring.db").exists():
            with Workspace(Settings(home=home)) as workspace:
                if profiles.batches(workspace.store, workspace.ref("orders")):
                    return
        time.sleep(0.05)
    raise AssertionError("no batch was written in a minute")
