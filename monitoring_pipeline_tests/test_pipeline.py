"""The four steps together, on real files and a real store."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from monitoring_pipeline import overview, pipeline
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import profiles, results
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.alerting.fake_slack import TOKEN, Answer, fake_slack
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day


def open_workspace(home: Path, now: datetime | None = None) -> Workspace:
    return Workspace(Settings(home=home, now=now))


def analyse_everything(workspace: Workspace) -> pipeline.Analyzed:
    pipeline.profile_batch(workspace, "orders")
    return pipeline.analyze_batch(workspace, "orders")


def dump(home: Path) -> list[tuple[object, ...]]:
    """Every row of the store but for run ids and the moments at which things were done."""
    database = sqlite3.connect(home / "store" / "monitoring.db")
    rows: list[tuple[object, ...]] = []
    for (table,) in database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall():
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        kept = [name for name in columns if name not in VOLATILE]
        names = ", ".join(f'"{name}"' for name in kept)
        rows += [(table, *row) for row in database.execute(f'SELECT {names} FROM "{table}"')]  # noqa: S608
    return sorted(rows, key=repr)


VOLATILE = {
    "pk", "run_id", "result_id", "created", "updated", "opened", "resolved", "profiled_at", "evaluated_at",
    "written_at", "told_at", "registered_at", "content", "digest", "delivered_at", "next_attempt", "claimed_until",
    "revision", "made_at",
}  # fmt: skip


def test_a_batch_goes_all_the_way_to_a_digest(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=20, few_rows_on=15, nulls_on=17)

    with open_workspace(home) as workspace:
        analyzed = analyse_everything(workspace)
        notified = pipeline.notify(workspace, "orders")
        report = pipeline.deliver(workspace)

    assert {(result.column, result.bucket) for result in analyzed.anomalies} == {
        ("", START + timedelta(days=15)),
        ("amount", START + timedelta(days=17)),
    }
    assert [digest.anomaly_count for digest in notified.digests] == [2]
    assert {incident.start for incident in notified.incidents} == {
        START + timedelta(days=15),
        START + timedelta(days=17),
    }
    assert (report.delivered, report.failed) == (1, 0)


def test_running_again_changes_nothing(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)

    with open_workspace(home) as workspace:
        analyse_everything(workspace)
        pipeline.notify(workspace, "orders")
        pipeline.deliver(workspace)
    before = dump(home)
    with open_workspace(home) as workspace:
        again = pipeline.profile_batch(workspace, "orders")
        analyzed = pipeline.analyze_batch(workspace, "orders")
        notified = pipeline.notify(workspace, "orders")
        report = pipeline.deliver(workspace)

    assert (again.buckets, len(again.unchanged)) == ((), 10)
    assert (analyzed.results, notified.digests, report.delivered) == ((), (), 0)
    assert dump(home) == before


def test_bucket_by_bucket_gives_what_all_at_once_gives(tmp_path: Path) -> None:
    at_once = make_workspace(tmp_path / "once", days=12, few_rows_on=9, nulls_on=10)
    one_by_one = make_workspace(tmp_path / "single", days=12, few_rows_on=9, nulls_on=10)

    with open_workspace(at_once) as workspace:
        analyse_everything(workspace)
        expected = verdicts_of(workspace)
    with open_workspace(one_by_one) as workspace:
        for day in range(12):
            bucket = START + timedelta(days=day)
            pipeline.profile_batch(workspace, "orders", [bucket])
            pipeline.analyze_batch(workspace, "orders", [bucket])
        assert verdicts_of(workspace) == expected


def verdicts_of(workspace: Workspace) -> list[tuple[object, ...]]:
    rows = results.results(workspace.store, workspace.ref("orders"))
    skipped = {"run_id", "result_id", "created", "user_initiated_backfill", "dataset"}
    return [tuple(value for name, value in row.items() if name not in skipped) for row in rows]


def test_an_anomaly_is_told_although_the_run_died_before_it_could(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)

    with open_workspace(home) as workspace:
        analyse_everything(workspace)  # and the process dies here
    with open_workspace(home) as workspace:
        pipeline.analyze_batch(workspace, "orders")
        notified = pipeline.notify(workspace, "orders")

    assert [digest.anomaly_count for digest in notified.digests] == [1]


def test_a_file_that_changes_makes_a_new_version_and_marks_results_stale(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10)
    bucket = START + timedelta(days=8)

    with open_workspace(home) as workspace:
        analyse_everything(workspace)
        write_day(home, 8, rows=120)
        report = pipeline.profile_batch(workspace, "orders")
        stored = {row.bucket: row for row in profiles.batches(workspace.store, workspace.ref("orders"))}
        stale = results.results(workspace.store, workspace.ref("orders"), stale_only=True)

    assert [(done.bucket, done.version, done.rows) for done in report.buckets] == [(bucket, 2, 120)]
    assert stored[bucket].rows == 120
    next_day = bucket + timedelta(days=1)  # its baseline holds the bucket
    assert {row["bucket"] for row in stale} == {int(one.timestamp() * 1e6) for one in (bucket, next_day)}


def test_what_has_not_arrived_yet_does_not_exist_in_a_replay(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=5)
    for day, path in enumerate(sorted((home / "landing" / "orders").iterdir())):
        arrived = (START + timedelta(days=day + 1, hours=2)).timestamp()
        os.utime(path, (arrived, arrived))

    with open_workspace(home, START + timedelta(days=3, hours=1)) as workspace:
        report = pipeline.profile_batch(workspace, "orders")

    assert [done.bucket for done in report.buckets] == [START, START + timedelta(days=1)]


def test_unusable_input_is_counted_and_the_rest_is_profiled(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    (home / "landing" / "orders" / "half.parquet").write_bytes(b"PAR1 half written")
    early = pa.table({"placed_at": [datetime(2026, 2, 1, tzinfo=UTC)], "country": ["DE"]})
    pq.write_table(early, home / "landing" / "orders" / "early.parquet")

    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")

    assert len(report.buckets) == 3
    assert {problem.kind for problem in report.problems} == {"unreadable", "outside"}


def test_segments_add_up_to_the_whole(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=2)

    with open_workspace(home) as workspace:
        pipeline.profile_batch(workspace, "orders")
        ref = workspace.ref("orders")
        rows = {
            segment: [row.rows for row in profiles.batches(workspace.store, ref, segment=segment)]
            for segment in (OVERALL, "country=DE", "country=FR")
        }

    whole = rows.pop(OVERALL)
    assert [sum(parts) for parts in zip(*rows.values(), strict=True)] == whole == [100, 100]


def test_status_says_what_is_due_and_what_waits(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)

    with open_workspace(home, START + timedelta(days=400)) as workspace:
        before = overview.status(workspace, "orders")
        analyse_everything(workspace)
        after = overview.status(workspace, "orders")

    assert (before.to_profile, before.due, before.last_bucket) == (3, 6, None)
    assert (after.to_profile, after.due, after.last_bucket) == (0, 0, START + timedelta(days=2))
    assert any("data" in line for line in after.waiting)


@pytest.mark.slow
def test_killed_at_any_instant_and_run_again_gives_the_state_of_one_clean_run(tmp_path: Path) -> None:
    clean = make_workspace(tmp_path / "clean", days=15, few_rows_on=12, nulls_on=13)
    killed = make_workspace(tmp_path / "killed", days=15, few_rows_on=12, nulls_on=13)
    for home in (clean, killed):
        for path in (home / "landing" / "orders").iterdir():
            os.utime(path, (START.timestamp(), START.timestamp()))

    def launch(home: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "monitoring_pipeline.cli", "run", "--fail-on", "never"],
            env={**os.environ, "MONITORING_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    began = time.monotonic()
    assert launch(clean).wait(timeout=120) == 0
    usual = time.monotonic() - began
    instants = random.Random(5)
    for _ in range(12):
        process = launch(killed)
        time.sleep(instants.uniform(0.3, 1.0) * usual)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert launch(killed).wait(timeout=120) == 0

    assert dump(killed) == dump(clean)


def test_a_monitor_that_names_slack_reaches_slack_once(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)

    with fake_slack() as slack:
        settings = Settings(home=home, slack_token=SecretStr(TOKEN), slack_api_url=slack.api_url)
        slack.will_answer(Answer(status=500))
        with Workspace(settings) as workspace:
            analyse_everything(workspace)
            pipeline.notify(workspace, "orders")
            first = pipeline.deliver(workspace)
        later = settings.model_copy(update={"now": datetime.now(UTC) + timedelta(hours=1)})
        with Workspace(later) as workspace:
            second, third = pipeline.deliver(workspace), pipeline.deliver(workspace)

    assert (first.delivered, first.waiting) == (1, 2)  # the console took it, Slack was down
    assert (second.delivered, second.waiting, third.delivered) == (2, 0, 0)
    refused, told, over = [request.body for request in slack.requests]
    assert "rows 100 → 10, expected at least 50" in told["text"]
    assert refused["text"] == told["text"]
    assert over["text"] == "orders: resolved: Rows down"
    assert (told.get("thread_ts"), over["thread_ts"] is None) == (None, False)


def test_odd_data_is_warned_about_and_kept_with_its_batch(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=2)
    again = home / "landing" / "orders" / "again.parquet"
    names = ["placed_at", "country", "amount", "amount"]
    columns = [pa.array([START]), pa.array(["DE"]), pa.array(["12 EUR"]), pa.array([1.0])]
    pq.write_table(pa.Table.from_arrays(columns, names=names), again)
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
        batches = profiles.batches(workspace.store, workspace.ref("orders"))

    first, second = report.buckets
    assert (first.rows, first.problems) == (101, {"mixed_types": 1, "repeated_column": 1})
    assert second.problems == {}
    assert {batch.bucket: batch.quality for batch in batches if batch.segment == OVERALL} == {
        START: first.problems,
        START + timedelta(days=1): {},
    }
    told = {problem.kind: str(problem) for problem in report.problems}
    assert told["mixed_types"].endswith(
        "column 'amount': holds values of several types: 100 fractional, 1 string"
    )
    assert "again.parquet" in told["repeated_column"]
