"""The commands about time, as a person types them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_workspace(tmp_path / "data", days=20, few_rows_on=15)
    monkeypatch.setenv("MONITORING_HOME", str(made))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return made


def monitor(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_a_backfill_fills_the_store_and_says_that_there_is_no_dagster_here(home: Path) -> None:
    said = monitor("backfill", "orders", "--to", "2026-03-21").output

    assert "20 of 20 buckets" in said
    assert "20 profiled (1,9" in said
    assert "nothing was reported" in said
    assert "0 profiled" in monitor("backfill", "orders", "--to", "2026-03-21").output


def test_a_backfill_of_nothing_is_a_mistake_that_says_what_to_do(home: Path) -> None:
    said = monitor("backfill", "orders", "--from", "2020-01-01", "--to", "2020-02-01", code=2).output
    assert "`monitor status orders`" in said


def test_a_simulation_shows_when_and_whom_and_what_was_waited_for(home: Path) -> None:
    arrivals = home.parent / "arrivals.csv"
    lines = [
        f"{START + timedelta(days=day + 1, hours=2)},{START + timedelta(days=day)},100"
        for day in range(5)
        if day != 2
    ]
    arrivals.write_text("\n".join(["at,bucket,rows", *lines]))
    options = ["--from", "2026-03-01", "--to", "2026-03-08", "--arrivals", str(arrivals)]

    said = monitor("simulate", "orders", *options).output
    assert "4 arrivals" in said
    assert "2026-03-03 00:00 orders-volume-analyzer: waits for data" in said
    told = json.loads(monitor("simulate", "orders", *options, "--json").output)
    assert {name for one in told["analysed"] for name in one["monitors"]} == {"orders-volume-monitor"}
    assert {one["at"] for one in told["analysed"]} == {
        f"{START + timedelta(days=day + 1, hours=2):%Y-%m-%dT%H:%M:%S+00:00}" for day in (0, 1, 3, 4)
    }


def test_an_outage_that_cannot_be_read_is_named(home: Path) -> None:
    said = monitor(
        "simulate", "orders", "--from", "2026-03-01", "--to", "2026-03-08", "--down", "soon", code=2
    ).output
    assert "--down 'soon' is not FROM/TO" in said


def test_late_data_is_judged_again_when_asked_and_replays_as_it_was(home: Path) -> None:
    monitor("run", "orders", "--fail-on", "never")
    assert "nothing is stale" in monitor("reanalyze", "orders").output
    write_day(home, 15, rows=100)
    monitor("run", "orders", "--fail-on", "never")

    said = monitor("reanalyze", "orders").output
    assert "anomalies gone" in said
    assert "gone 2026-03-16" in said
    assert ", 0 different" in monitor("replay", "orders").output
