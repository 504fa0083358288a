"""A real dataset end to end: 36 months of NYC taxi trips, daily buckets, through `monitor init` and the pipeline.

Needs the monthly Parquet files; names their folder with `--data` (skips itself where there is none). `--quick` takes
six months.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from monitoring_pipeline import pipeline
from monitoring_pipeline.onboarding import init_dataset
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace

DATA = Path(__file__).parents[2] / "shared" / "data" / "nyc_taxi"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    files = sorted(arguments.data.glob("*.parquet"))[: 6 if arguments.quick else None]
    if not files:
        print(json.dumps({"benchmark": "taxi", "skipped": f"no Parquet files in {arguments.data}"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), files)))


def run(home: Path, files: list[Path]) -> dict[str, object]:
    """Profile and analyse every day of the files; print the table, return the figures."""
    landing = home / "landing" / "taxi"
    landing.mkdir(parents=True)
    for file in files:
        shutil.copy2(file, landing)
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    init_dataset(home, str(landing), dataset_id="taxi")
    seconds["init"] = time.perf_counter() - began
    with Workspace(Settings(home=home)) as workspace:
        profiled = pipeline.profile_batch(workspace, "taxi")
        seconds["profiling"] = profiled.seconds
        analyzed = pipeline.analyze_batch(workspace, "taxi")
        seconds["analysis"] = analyzed.seconds
        notified = pipeline.notify(workspace, "taxi")
    store_mb = sum(file.stat().st_size for file in (home / "store").glob("*")) / 1e6
    table = Table("what", "figure")
    for name, value in seconds.items():
        table.add_row(f"{name}, s", f"{value:.2f}")
    table.add_row("buckets", f"{len(profiled.buckets):,}")
    table.add_row("cells per second", f"{profiled.cells / profiled.seconds:,.0f}")
    table.add_row("verdicts", f"{len(analyzed.results):,}")
    table.add_row("anomalies", f"{len(analyzed.anomalies):,}")
    table.add_row("incidents", f"{len(notified.incidents):,}")
    table.add_row("store, MB", f"{store_mb:.1f}")
    Console().print(table)
    return {
        "benchmark": "taxi",
        "months": len(files),
        "buckets": len(profiled.buckets),
        "rows": profiled.rows,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "verdicts": len(analyzed.results),
        "anomalies": len(analyzed.anomalies),
        "incidents": len(notified.incidents),
        "store_mb": round(store_mb, 1),
    }


if __name__ == "__main__":
    main()
