"""Files of whylogs profiles as the source of a dataset, from where they land to the verdict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline import onboarding, overview, pipeline
from monitoring_pipeline.errors import SourceError, UsageError
from monitoring_pipeline.profiling import DatasetProfile, profile
from monitoring_pipeline.profiling.performance import PERFORMANCE, Performance
from monitoring_pipeline.profiling.whylogs import write_whylogs, write_whylogs_zip
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import profiles, results
from monitoring_pipeline.timegrid import TimeRange, to_micros
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.profiling.whylogs_files import FOLDER, columns_of, needs_files
from monitoring_pipeline_tests.workspaces import DOCUMENT, START

DESCRIPTION = """\
id: orders
granularity: daily
source: {path: landing/profiles/**/*.bin, format: whylogs}
segments: [country]
"""

DAYS = 12


def make_workspace(home: Path, description: str = DESCRIPTION, *, days: int = 0) -> Path:
    """A workspace whose dataset is whylogs profiles; the days have 200 orders each, two profiles a day."""
    folder = home / "datasets" / "orders"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(description)
    (folder / "monitors.json").write_text(json.dumps(DOCUMENT))
    for day in range(days):
        write_day(home, day)
    return home


@cache
def orders(day: int, *, rows: int = 200, null_share: float = 0.0) -> DatasetProfile:
    random = np.random.default_rng(day)
    missing = np.arange(rows) < round(null_share * rows)
    table = pa.table(
        {
            "country": pa.array(np.where(np.arange(rows) % 4 == 0, "DE", "FR")),
            "amount": pa.array(random.gamma(3.0, 20.0, rows), mask=missing),
        }
    )
    return profile(table, [["country"]])


def write_day(home: Path, day: int, name: str = "", *, rows: int = 200, null_share: float = 0.0) -> None:
    """One file for each country, as `results.writer("local").write()` of whylogs leaves them, in the afternoon."""
    moment = START + timedelta(days=day, hours=15)
    found = orders(day, rows=rows, null_share=null_share)
    for country in ("DE", "FR"):
        content = write_whylogs(found, f"country={country}", dataset_timestamp=moment)
        put(home, f"{moment:%m/%d}/{country}{name}.bin", content)


def put(home: Path, name: str, content: bytes) -> Path:
    path = home / "landing" / "profiles" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def open_workspace(home: Path, now: datetime | None = None) -> Workspace:
    return Workspace(Settings(home=home, now=now))


def counts(workspace: Workspace, column: str, scalar: str = "n") -> dict[tuple[str, datetime], float]:
    """A number of a column by segment and bucket."""
    window = TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    found = profiles.bucket_profiles(workspace.store, workspace.ref("orders"), window, columns=[column])
    return {
        (segment, datetime.fromtimestamp(bucket / 1e6, UTC)): getattr(one, scalar)
        for (segment, _), by_bucket in found.items()
        for bucket, one in by_bucket.items()
    }


def test_a_null_spike_in_a_week_of_profiles_is_found_and_told(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=DAYS)
    spike = START + timedelta(days=9)
    write_day(home, 9, null_share=0.4)

    with open_workspace(home) as workspace:
        profiled = pipeline.profile_batch(workspace, "orders")
        analyzed = pipeline.analyze_batch(workspace, "orders")
        notified = pipeline.notify(workspace, "orders")
        nulls = counts(workspace, "amount", "n_null")
        stored = profiles.batches(workspace.store, workspace.ref("orders"))

    assert (len(profiled.buckets), profiled.problems) == (DAYS, ())
    assert {(row.bucket, row.rows, row.files) for row in stored} == {
        (START + timedelta(days=day), 200, 2) for day in range(DAYS)
    }
    # The first 80 of 200 orders have no amount; every fourth is of Germany.
    assert [nulls[key, spike] for key in (OVERALL, "country=DE", "country=FR")] == [80, 20, 60]
    assert {(one.analyzer_id, one.column, one.bucket) for one in analyzed.anomalies} == {
        ("orders-nulls-analyzer", "amount", spike)
    }
    assert [digest.anomaly_count for digest in notified.digests] == [1]


def test_profiling_again_changes_nothing_and_so_does_the_same_file_again(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    with open_workspace(home) as workspace:
        pipeline.profile_batch(workspace, "orders")
        before = counts(workspace, "amount")
        again = pipeline.profile_batch(workspace, "orders")
        write_day(home, 1)  # the same bytes at another time
        os.utime(home / "landing/profiles/03/02/DE.bin", (1_800_000_000, 1_800_000_000))
        rewritten = pipeline.profile_batch(workspace, "orders")
        after = counts(workspace, "amount")
    assert (again.buckets, len(again.unchanged)) == ((), 3)
    assert [one.bucket for one in rewritten.buckets] == [START + timedelta(days=1)]
    assert after == before


def test_a_file_that_comes_later_adds_to_its_bucket_and_makes_results_stale(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10)
    bucket = START + timedelta(days=8)
    with open_workspace(home) as workspace:
        pipeline.profile_batch(workspace, "orders")
        pipeline.analyze_batch(workspace, "orders")
        write_day(home, 8, "-late", rows=40)
        report = pipeline.profile_batch(workspace, "orders")
        stored = {row.bucket: row for row in profiles.batches(workspace.store, workspace.ref("orders"))}
        stale = results.results(workspace.store, workspace.ref("orders"), stale_only=True)
    assert [(one.bucket, one.rows, one.version) for one in report.buckets] == [(bucket, 240, 2)]
    assert (stored[bucket].rows, stored[bucket].files) == (240, 4)
    assert to_micros(bucket) in {row["bucket"] for row in stale}


def test_a_run_that_is_killed_between_buckets_is_finished_by_the_next(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=6)
    whole = make_workspace(tmp_path / "whole", days=6)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from monitoring_pipeline import pipeline\n"
        "from monitoring_pipeline.settings import Settings\n"
        "from monitoring_pipeline.workspace import Workspace\n"
        "def die(done, of):\n"
        "    done == 3 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "pipeline.profile_batch(Workspace(Settings(home=Path(sys.argv[1]))), 'orders', progress=die)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(home)], check=False, capture_output=True)
    assert killed.returncode == -9
    with open_workspace(home) as workspace:
        rest = pipeline.profile_batch(workspace, "orders")
        found = counts(workspace, "amount", "mean")
    with open_workspace(whole) as workspace:
        pipeline.profile_batch(workspace, "orders")
        expected = counts(workspace, "amount", "mean")
    assert (len(rest.buckets), len(rest.unchanged)) == (3, 3)
    assert found == expected


def test_a_damaged_file_is_one_problem_and_stops_nothing(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    put(home, "03/02/torn.bin", write_whylogs(orders(1), dataset_timestamp=START)[:60])
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
        told = overview.status(workspace, "orders").trouble
    [problem] = report.problems
    assert len(report.buckets) == 3
    assert (problem.kind, problem.path) == ("unreadable", "landing/profiles/03/02/torn.bin")
    assert "profile header: " in problem.detail
    assert "kept aside as _quarantine/orders/torn-" in problem.detail
    assert [line for line in told if "torn.bin cannot be read: profile header: " in line]


def test_a_damaged_file_whose_path_tells_its_bucket_counts_in_its_quality(tmp_path: Path) -> None:
    dated = DESCRIPTION.replace("whylogs}", 'whylogs, date_in_path: "%Y/%m/%d"}')
    home = make_workspace(tmp_path / "data", dated.replace("profiles/", "profiles/2026/"))
    for day, name in ((1, "one"), (1, "two"), (2, "one")):
        content = write_whylogs(orders(day), dataset_timestamp=datetime(2020, 1, 1, tzinfo=UTC))
        put(home, f"2026/03/0{1 + day}/{name}.bin", content if name == "one" else b"WHY1")
    with open_workspace(home) as workspace:
        pipeline.profile_batch(workspace, "orders")
        stored = profiles.batches(workspace.store, workspace.ref("orders"))
    assert {row.bucket.day: (row.rows, row.quality.get("unreadable")) for row in stored} == {
        2: (200, 1),
        3: (200, None),
    }


def test_profiles_without_a_time_are_a_problem(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=1)
    put(home, "timeless.bin", write_whylogs(orders(1), dataset_timestamp=datetime(1970, 1, 1, tzinfo=UTC)))
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
    [problem] = report.problems
    assert (problem.kind, problem.rows, len(report.buckets)) == ("bad_timestamp", 200, 1)
    assert "dataset_timestamp" in problem.detail


def test_segments_that_profiles_do_not_have_are_told(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", DESCRIPTION.replace("[country]", "[country, shop]"), days=1)
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
    [problem] = report.problems
    assert (problem.kind, problem.buckets) == ("missing_column", (START,))
    assert problem.detail == "no profile is segmented by shop, so there are no such segments"


def test_an_upload_of_all_segments_in_a_zip_is_one_batch(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", DESCRIPTION.replace("**/*.bin", "*.zip"))
    put(home, "day.zip", write_whylogs_zip(orders(0), dataset_timestamp=START))
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
        found = counts(workspace, "amount")
    assert [(one.rows, one.segments, one.columns) for one in report.buckets] == [(200, 3, 2)]
    assert found == {("", START): 200, ("country=DE", START): 50, ("country=FR", START): 150}


@needs_files
def test_what_whylogs_wrote_reaches_the_store_with_its_numbers(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", DESCRIPTION.replace("[country]", "[seg]"))
    for name in ("seg1_0.bin", "seg1_1.bin"):
        shutil.copy(FOLDER / name, put(home, name, b""))
    bucket = datetime(2024, 3, 5, tzinfo=UTC)
    with open_workspace(home) as workspace:
        report = pipeline.profile_batch(workspace, "orders")
        found = {name: counts(workspace, name) for name in columns_of("plain.bin")}
        means = counts(workspace, "f", "mean")
    assert [(one.bucket, one.rows, one.segments) for one in report.buckets] == [(bucket, 20_000, 3)]
    for name, truth in columns_of("plain.bin").items():
        assert found[name][OVERALL, bucket] == truth["counts/n"]
        for segment, file in (("seg=A", "seg1_0.bin"), ("seg=B", "seg1_1.bin")):
            assert found[name][segment, bucket] == columns_of(file)[name]["counts/n"]
    assert means[OVERALL, bucket] == pytest.approx(columns_of("plain.bin")["f"]["distribution/mean"])


@needs_files
def test_all_files_of_whylogs_make_two_buckets_and_carry_their_performance(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", DESCRIPTION.replace("[country]", "[seg]"))
    for file in FOLDER.glob("*.bin"):
        shutil.copy(file, put(home, file.name, b""))
    with open_workspace(home, datetime(2026, 11, 23, tzinfo=UTC)) as workspace:
        for file in home.glob("landing/profiles/*.bin"):
            os.utime(file, (1_795_300_000, 1_795_300_000))  # 21 November 2026
        report = pipeline.profile_batch(workspace, "orders")
        [components] = [
            found.extra
            for by_bucket in profiles.bucket_profiles(
                workspace.store,
                workspace.ref("orders"),
                TimeRange(datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC)),
                columns=[""],
                segments=["seg=A"],
            ).values()
            for found in by_bucket.values()
        ]
    assert [problem for problem in report.problems if problem.kind == "unreadable"] == []
    assert [one.bucket for one in report.buckets] == [
        datetime(2024, 3, 5, tzinfo=UTC),
        datetime(2026, 11, 21, tzinfo=UTC),
    ]
    assert Performance.from_bytes(components[PERFORMANCE]).total("rows") == 310  # clsseg_0.bin


@needs_files
def test_regression_metrics_without_columns_add_no_rows(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", DESCRIPTION.replace("segments: [country]\n", ""))
    for name in ("plain.bin", "reg.bin"):
        shutil.copy(FOLDER / name, put(home, name, b""))
    with open_workspace(home) as workspace:
        [batch] = pipeline.profile_batch(workspace, "orders").buckets
    assert (batch.rows, batch.columns) == (20_000, 11)


def test_a_folder_of_profiles_becomes_a_dataset_by_one_command(tmp_path: Path) -> None:
    home = tmp_path / "data"
    for day in range(5):
        write_day(home, day)
    made = onboarding.init_dataset(home, str(home / "landing/profiles"), dataset_id="orders")
    with open_workspace(home) as workspace:
        spec = workspace.dataset("orders").spec
        profiled = pipeline.profile_batch(workspace, "orders")
        analyzed = pipeline.analyze_batch(workspace, "orders")
    assert made.dataset_id == "orders"
    assert (spec.granularity, spec.source.format, spec.segments) == ("daily", "whylogs", (("country",),))
    assert [one.rows for one in profiled.buckets] == [200] * 5
    assert analyzed.count > 0
    with pytest.raises(UsageError, match="a time of their own"):
        onboarding.init_dataset(home, str(home / "landing/profiles"), dataset_id="more", timestamp="at")


def test_a_folder_of_damaged_profiles_is_one_clear_error(tmp_path: Path) -> None:
    put(tmp_path, "bad.bin", b"WHY1")
    with pytest.raises(SourceError, match=r"bad\.bin: segment header: "):
        onboarding.init_dataset(tmp_path, str(tmp_path / "landing/profiles"))
