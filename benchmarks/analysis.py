"""What verdicts cost: one day of 1,000 columns in 20 segments under ten analyzers, from a store that holds 90 days.

Every column in every segment is judged ten times: by fixed bounds, by standard deviations over 14 and 30 days, by
its difference from a week, by a comparison with a baseline and with a list, by its order; and, for the half of the
columns that are continuous, by the drift of their histogram over 14 days and their mean, for the discrete half by the
drift of their frequent items over 14 days and a comparison of these. Seconds run from the question what is due to the
last result in the store (`analyze_batch`).

The profiles are real ones of about 1,000 rows a segment, dealt out at random over columns and days. The store is made
once, in a folder for temporary files, or in the database at `--url`, and used again by the next run; only results are
cleared. A backfill of 90 days is measured on fewer columns: every verdict costs the same, so what a thousand columns
would take is said beside, multiplied.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# Sums over arrays must not wake a second core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy import event

from monitoring_pipeline.pipeline import analyze_batch
from monitoring_pipeline.profiling import DatasetProfile, profile
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import upgrade
from monitoring_pipeline.store.profiles import batches, write_batch
from monitoring_pipeline.workspace import Workspace

CACHE = Path(tempfile.gettempdir()) / "monitoring-pipeline-benchmark-analysis"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS, SEGMENTS, ROWS = 90, 20, 1_000
DEALT = 48
"""Profiles of each kind and segment that are dealt out."""
TARGET_SECONDS, TARGET_QUERIES, TARGET_VERDICTS = 10.0, 50, 200_000
ANALYZERS = 10
"""Verdicts on every column of a segment and day."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few columns, in less than 30 seconds")
    parser.add_argument("--url", help="a PostgreSQL database that may be filled; default: SQLite")
    parser.add_argument("--columns", type=int, help="columns of the wide dataset; default 1,000")
    parser.add_argument("--measure", nargs=2, metavar=("COLUMNS", "DAYS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:  # how this program calls itself, so that each peak of memory is its own
        columns, days = map(int, arguments.measure)
        print(json.dumps(measured(columns, days, url=arguments.url)))
        return
    wide = arguments.columns or (100 if arguments.quick else 1_000)
    narrow, lengths = (10, (1, 7, 30)) if arguments.quick else (50, (1, 7, 30, 90))
    for columns in (wide, narrow):
        with opened(columns, url=arguments.url) as workspace:
            fill(workspace, columns)
    found = {
        "benchmark": "analysis",
        "store": "PostgreSQL" if arguments.url else "SQLite",
        "one_day": in_a_process(wide, 1, url=arguments.url),
        "backfill": [in_a_process(narrow, days, url=arguments.url) for days in lengths],
    }
    show(found, wide)
    print(json.dumps(found))


# --- measuring -----------------------------------------------------------------------------------------------------


@dataclass
class Statements:
    """Counts what is asked of the database or told to it, save for where a transaction begins."""

    count: int = 0

    def __call__(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.count += not statement.startswith("BEGIN")


def in_a_process(columns: int, days: int, *, url: str | None) -> dict[str, float]:
    """`measured` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--measure",
        str(columns),
        str(days),
        *(["--url", url] if url else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measured(columns: int, days: int, *, url: str | None) -> dict[str, float]:
    """Analyse the last `days` days; memory and bytes in megabytes."""
    with opened(columns, url=url) as workspace:
        clear(workspace, columns)
        before = size(workspace)
        statements = Statements()
        event.listen(workspace.store.engine, "before_cursor_execute", statements)
        buckets = [START + day * DAY for day in range(DAYS - days, DAYS)]
        resident = peak()
        wall, cpu = time.perf_counter(), time.process_time()
        analyzed = analyze_batch(workspace, name_of(columns), buckets)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        verdicts = analyzed.count
        told = {
            "columns": columns,
            "days": days,
            "verdicts": verdicts,
            "anomalies": len(analyzed.anomalies),
            "failures": analyzed.failures,
            "seconds": round(wall, 2),
            "cpu_seconds": round(cpu, 2),
            "microseconds_per_verdict": round(cpu / max(verdicts, 1) * 1e6, 1),
            "queries": statements.count,
            "peak_mb": round(peak()),
            "extra_mb": round(peak() - resident),
            "results_mb": round((size(workspace) - before) / 1e6, 1),
        }
        assert not analyzed.notes, analyzed.notes
        return told


def peak() -> float:
    """Most memory that the process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size(workspace: Workspace) -> int:
    """Bytes that the store's results take."""
    with workspace.store.read() as connection:
        if workspace.store.is_sqlite:
            pages, free, width = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * width
        return connection.exec_driver_sql("SELECT pg_total_relation_size('analyzer_result')").scalar_one()


def clear(workspace: Workspace, columns: int) -> None:
    """Forget the results of an earlier run."""
    ref = workspace.ref(name_of(columns))
    for table in (schema.analyzer_result, schema.evaluation, schema.analysis_run):
        with workspace.store.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.dataset == ref.pk))


# --- what is analysed ----------------------------------------------------------------------------------------------


def name_of(columns: int) -> str:
    return f"columns-{columns}"


@contextmanager
def opened(columns: int, *, url: str | None) -> Iterator[Workspace]:
    """The workspace of a dataset with so many columns."""
    home = CACHE / name_of(columns)
    folder = home / "datasets" / name_of(columns)
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "id": name_of(columns),
        "description": "Real profiles, dealt out at random",
        "owner": "team:benchmarks",
        "granularity": "daily",
        "start": f"{START:%Y-%m-%d}",
        "source": {"path": "landing"},
        "timestamp": "moment",
        "segments": ["region"],
    }
    (folder / "dataset.yaml").write_text(json.dumps(described))
    (folder / "monitors.json").write_text(json.dumps(document(columns)))
    settings = Settings(home=home, store_url=url, now=START + (DAYS + 2) * DAY)
    upgrade(settings.resolved_store_url)  # the store may be that of an earlier release
    with Workspace(settings) as workspace:
        yield workspace


def document(columns: int) -> dict[str, Any]:
    """Ten analyzers for every column."""

    def trailing(days: int) -> dict[str, Any]:
        return {"type": "TrailingWindow", "size": days}

    def analyzer(name: str, include: str = "*", *, target_size: int = 1, **config: Any) -> dict[str, Any]:
        segments = [{"tags": []}, {"tags": [{"key": "region", "value": "*"}]}]
        return {
            "id": name,
            "schedule": {"type": "fixed", "cadence": "daily"},
            "backfillGracePeriodDuration": "P3650D",
            "targetSize": target_size,
            "targetMatrix": {"type": "column", "include": [include], "segments": segments},
            "config": config,
        }

    def stddev(metric: str, days: int) -> dict[str, Any]:
        return {"type": "stddev", "metric": metric, "factor": 4, "baseline": trailing(days)}

    def drift(metric: str) -> dict[str, Any]:
        return {"type": "drift", "metric": metric, "threshold": 0.5, "baseline": trailing(14)}

    return {
        "orgId": "org-0",
        "datasetId": name_of(columns),
        "granularity": "daily",
        "analyzers": [
            analyzer("nulls-bounded", type="fixed", metric="count_null_ratio", upper=0.1),
            analyzer("nulls-as-usual", **stddev("count_null_ratio", 14)),
            analyzer("distinct-as-usual", **stddev("unique_est", 30)),
            analyzer("volume-as-usual", **stddev("count", 30)),
            analyzer("volume-near-last-week", type="diff", metric="count", mode="pct", threshold=50, baseline=trailing(7)),
            analyzer("type-unchanged", type="comparison", metric="inferred_data_type", operator="eq", baseline=trailing(7)),
            analyzer(
                "type-known",
                type="list_comparison",
                metric="inferred_data_type",
                operator="in",
                expected=["fraction", "fractional", "string"],
            ),
            analyzer(
                "volume-falls", target_size=5, type="monotonic", metric="count", direction="DECREASING", numBuckets=4
            ),
            analyzer("histogram-drift", "group:continuous", **drift("histogram")),
            analyzer("items-drift", "group:discrete", **drift("frequent_items")),
            analyzer("mean-as-usual", "group:continuous", **stddev("mean", 30)),
            analyzer(
                "items-known",
                "group:discrete",
                type="frequent_string_comparison",
                metric="frequent_items",
                operator="baseline_includes_all_target",
                baseline=trailing(7),
            ),
        ],
        "monitors": [],
    }  # fmt: skip


def fill(workspace: Workspace, columns: int) -> None:
    """Write the days that the store lacks."""
    name = name_of(columns)
    ref = workspace.ref(name)
    known = {batch.bucket for batch in batches(workspace.store, ref)}
    buckets = [START + day * DAY for day in range(DAYS)]
    missing = [bucket for bucket in buckets if bucket not in known]
    if not missing:
        return
    began, dealt = time.perf_counter(), to_deal()
    for bucket in missing:
        write_batch(
            workspace.store,
            ref,
            bucket,
            day_of(dealt, columns, day=(bucket - START).days),
            fingerprint=f"{bucket:%Y-%m-%d}",
            first_upload=bucket + DAY,
            last_upload=bucket + DAY,
            files=1,
            quality={},
            now=bucket + 2 * DAY,
        )
    Console(stderr=True).print(f"{name}: made in {time.perf_counter() - began:.0f} s")


def to_deal() -> DatasetProfile:
    """Profiles of continuous columns `f…` and discrete ones `s…`, in every segment."""
    random = np.random.default_rng(0)
    regions = SEGMENTS - 1
    rows = ROWS * regions
    table = {"region": np.array([f"r{number:02}" for number in range(regions)])[np.arange(rows) % regions]}
    names = np.array([f"value {number}" for number in range(40)])
    for number in range(DEALT):
        nulls = random.random(rows) < 0.03
        table[f"f{number}"] = pa.array(random.lognormal(1.0, 0.5, rows), mask=nulls)
        table[f"s{number}"] = pa.array(names[random.geometric(0.15, rows) % 40], mask=nulls)
    return profile(pa.table(table), [["region"]])


def day_of(dealt: DatasetProfile, columns: int, *, day: int) -> DatasetProfile:
    """A day of so many columns, half of them continuous."""
    random = np.random.default_rng(day)
    rows, found = {}, {}
    for segment in dealt.rows:
        drawn = random.integers(DEALT, size=columns).tolist()
        rows[segment] = dealt.rows[segment]
        found[segment] = {
            f"column {number:04}": dealt.columns[segment][f"{'fs'[number % 2]}{drawn[number]}"]
            for number in range(columns)
        }
    return DatasetProfile(rows, found)


# --- telling -------------------------------------------------------------------------------------------------------


def show(found: dict[str, Any], columns: int) -> None:
    """The tables."""
    console, day = Console(), found["one_day"]
    table = Table(
        "figure",
        "found",
        "target",
        title=f"One day, {columns:,} columns × {SEGMENTS} segments, {found['store']}",
    )
    share = day["verdicts"] / TARGET_VERDICTS
    for name, target in (
        ("verdicts", f"{TARGET_VERDICTS:,}"),
        ("seconds", f"≤ {TARGET_SECONDS * share:g}"),
        ("cpu_seconds", ""),
        ("microseconds_per_verdict", f"≤ {TARGET_SECONDS / TARGET_VERDICTS * 1e6:g}"),
        ("queries", f"≤ {TARGET_QUERIES}"),
        ("peak_mb", ""),
        ("extra_mb", ""),
        ("results_mb", ""),
    ):
        table.add_row(name.replace("_", " "), f"{day[name]:,}", target)
    console.print(table)
    backfills: Sequence[dict[str, float]] = found["backfill"]
    times = columns / backfills[0]["columns"]
    table = Table(
        "days",
        "verdicts",
        "seconds",
        "µs per verdict",
        "queries",
        "peak MB",
        "results MB",
        f"{columns:,} columns, multiplied",
        title=f"Backfills, {backfills[0]['columns']:,} columns × {SEGMENTS} segments",
    )
    for one in backfills:
        table.add_row(
            f"{one['days']}",
            f"{one['verdicts']:,}",
            f"{one['seconds']:.1f}",
            f"{one['microseconds_per_verdict']:.0f}",
            f"{one['queries']}",
            f"{one['peak_mb']:,}",
            f"{one['results_mb']:,.0f}",
            f"{one['seconds'] * times:,.0f} s",
        )
    console.print(table)


if __name__ == "__main__":
    main()
