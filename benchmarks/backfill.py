"""Long histories, filled straight: a year of days with a million rows, and three years of hours, 26,280 buckets.

Times the engine's own path (`backfill.backfill`) and, apart, telling a Dagster instance of the filled partitions. With
`--keep FOLDER` the workspace and the instance stay, to look at their pages in a browser (`benchmarks/pages.py`).
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.backfill import backfill
from monitoring_pipeline.onboarding import init_dataset
from monitoring_pipeline.orchestration.reporting import report_partitions
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace

START = datetime(2023, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a month of days and a week of hours")
    parser.add_argument("--keep", type=Path, help="make the workspace here and leave it")
    arguments = parser.parse_args()
    if arguments.keep:
        shutil.rmtree(arguments.keep, ignore_errors=True)
        arguments.keep.mkdir(parents=True)
        print(json.dumps(run(arguments.keep, quick=arguments.quick)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(Path(folder), quick=arguments.quick)))


def run(home: Path, *, quick: bool) -> dict[str, object]:
    """Make both datasets, fill them, report them; print the table, return the figures."""
    days, hours = (31, 7 * 24) if quick else (365, 26_280)
    write_days(home / "landing" / "orders", days=days, rows=1_000_000 // 365)
    write_hours(home / "landing" / "visits", hours=hours, rows=60)
    (home / "dagster").mkdir()
    table = Table(
        "dataset", "buckets", "rows", "verdicts", "fill s", "told Dagster s", "ms a partition", "store MB"
    )
    found: dict[str, object] = {"benchmark": "backfill"}
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        for dataset, length in (("orders", days * DAY), ("visits", hours * DAY / 24)):
            figures = fill(home, dataset, TimeRange(START, START + length), instance)
            found[dataset] = figures
            table.add_row(dataset, *(f"{value:,}" for value in figures.values()))
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    Console().print(table)
    return found


def fill(home: Path, dataset: str, window: TimeRange, instance: dg.DagsterInstance) -> dict[str, float]:
    """One dataset through the engine's path, then through the reports."""
    init_dataset(home, str(home / "landing" / dataset), dataset_id=dataset)
    granularity = "hourly" if dataset == "visits" else "daily"
    for file in (home / "datasets" / dataset).iterdir():
        written = re.sub(r'(granularity"?: "?)\w+', rf"\g<1>{granularity}", file.read_text())
        file.write_text(written)
    with Workspace(Settings(home=home)) as workspace:
        began = time.perf_counter()
        chunks = list(backfill(workspace, dataset, window))
        filled = time.perf_counter() - began
        began = time.perf_counter()
        told = report_partitions(instance, workspace, dataset, window)
        reported = time.perf_counter() - began
    stored = sum(file.stat().st_size for file in (home / "store").glob("*"))
    return {
        "buckets": sum(chunk.profiled for chunk in chunks),
        "rows": sum(chunk.rows for chunk in chunks),
        "verdicts": sum(chunk.verdicts for chunk in chunks),
        "fill_s": round(filled, 1),
        "told_s": round(reported, 1),
        "ms_per_partition": round(1e3 * reported / max(told, 1), 1),
        "store_mb": round(stored / 1e6, 1),
    }


def write_days(folder: Path, *, days: int, rows: int) -> None:
    """A Parquet file for each day, twenty columns."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(1)
    for number in range(days):
        day = START + number * DAY
        table = {"created_at": moments(draw, day, DAY, rows)}
        table |= {f"amount_{place}": pa.array(draw.lognormal(place / 4, 1, rows)) for place in range(10)}
        table |= {f"count_{place}": pa.array(draw.poisson(3 + place, rows)) for place in range(5)}
        table |= {
            f"kind_{place}": pa.array(draw.choice([f"k{one}" for one in range(4 + place)], rows))
            for place in range(4)
        }
        pq.write_table(pa.table(table), folder / f"{day:%Y-%m-%d}.parquet")


def write_hours(folder: Path, *, hours: int, rows: int) -> None:
    """A Parquet file for each day of hours, six columns."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(2)
    for first in range(0, hours, 24):
        count = min(24, hours - first) * rows
        day = START + first * DAY / 24
        table = {
            "created_at": moments(draw, day, min(24, hours - first) * DAY / 24, count),
            "latency_ms": pa.array(draw.gamma(2, 40, count)),
            "bytes": pa.array(draw.integers(100, 90_000, count)),
            "status": pa.array(draw.choice(["200", "200", "200", "404", "500"], count)),
            "route": pa.array(draw.choice(["/", "/cart", "/pay"], count)),
            "is_mobile": pa.array(draw.random(count) < 0.4),
        }
        pq.write_table(pa.table(table), folder / f"{day:%Y-%m-%d}.parquet")


def moments(draw: np.random.Generator, start: datetime, length: timedelta, count: int) -> pa.Array:
    """Times inside a span, ascending, in microseconds UTC."""
    offsets = np.sort(draw.integers(0, int(length.total_seconds() * 1e6), count))
    return pa.array(int(start.timestamp() * 1e6) + offsets, pa.timestamp("us", "UTC"))


if __name__ == "__main__":
    main()
