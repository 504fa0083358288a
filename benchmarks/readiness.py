"""What a tick of the readiness sensor costs over many datasets with a long history.

Makes `--datasets` datasets (one in twenty hourly, the others daily) with `--years` of files on disk, all of them
profiled and judged, and then times ticks of the sensor as Dagster runs them: the first of a fresh process, ticks in
which nothing happened, ticks after one new file for each of ten datasets, and ticks that meet what the runs of those
files wrote. The history is written straight into the store, as runs would have left it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.orchestration.assets import DATASET_TAG
from monitoring_pipeline.orchestration.sensors import readiness_sensor
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.sources.base import FileEntry, Scan
from monitoring_pipeline.store import files, schema
from monitoring_pipeline.store.database import insert_tuples
from monitoring_pipeline.store.datasets import numbers
from monitoring_pipeline.timegrid import Granularity, to_micros
from monitoring_pipeline.workspace import Workspace

START = datetime(2023, 1, 1, tzinfo=UTC)
QUIET = 0.3
"""A tick of less has done nothing much."""
ROWS = b"at,amount\n{at},1.5\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--years", type=float, default=3.0)
    parser.add_argument("--quick", action="store_true", help="20 datasets and one year")
    parser.add_argument("--home", type=Path, help="keep the workspace here, and use it again")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.datasets, arguments.years = 20, 1.0
    home = arguments.home or Path(tempfile.mkdtemp(prefix="readiness-"))
    days = round(arguments.years * 365)
    try:
        if not (home / "store").exists():
            began = time.process_time()
            for number in range(arguments.datasets):
                describe(home, number, days)
            with Workspace(Settings(home=home)) as workspace:
                for dataset_id in sorted(workspace.catalog.datasets):
                    settle(workspace, dataset_id)
            sys.stderr.write(f"made in {time.process_time() - began:.0f} s\n")
        figures = {
            "benchmark": "readiness",
            "datasets": arguments.datasets,
            "days": days,
            **measure(home, days),
        }
    finally:
        if arguments.home is None:
            shutil.rmtree(home, ignore_errors=True)
    show(figures)
    sys.stdout.write(json.dumps(figures) + "\n")


def is_hourly(number: int) -> bool:
    return number % 20 == 7


def describe(home: Path, number: int, days: int) -> None:
    """A dataset with two analyzers and a file for each bucket."""
    name, hourly = f"dataset-{number:03}", is_hourly(number)
    granularity = Granularity.HOURLY if hourly else Granularity.DAILY
    folder, landing = home / "datasets" / name, home / "landing" / name
    folder.mkdir(parents=True)
    landing.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(
        f"id: {name}\ngranularity: {granularity.value}\nstart: {START:%Y-%m-%d}\n"
        f"source: {{path: landing/{name}}}\ntimestamp: at\n"
    )
    volume = {"type": "fixed", "metric": "shape_row_count", "lower": 1}
    nulls = {
        "type": "stddev",
        "metric": "count_null_ratio",
        "factor": 3,
        "baseline": {"type": "TrailingWindow", "size": 14},
    }
    schedule = {"type": "fixed", "cadence": granularity.value}
    document = {
        "orgId": "org-0",
        "datasetId": name,
        "granularity": granularity.value,
        "analyzers": [
            {"id": "volume", "schedule": schedule, "targetMatrix": {"type": "dataset"}, "config": volume},
            {
                "id": "nulls",
                "schedule": schedule,
                "targetMatrix": {"type": "column", "include": ["*"]},
                "config": nulls,
            },
        ],
        "monitors": [],
    }
    (folder / "monitors.json").write_text(json.dumps(document))
    for index in range(days * (24 if hourly else 1)):
        write(landing, granularity, index)


def write(landing: Path, granularity: Granularity, index: int) -> Path:
    """The file of one bucket, uploaded an hour after its end."""
    bucket = granularity.shift(START, index)
    path = landing / f"{bucket:%Y-%m-%dT%H}.csv"
    path.write_bytes(ROWS.replace(b"{at}", f"{bucket:%Y-%m-%dT%H:%M:%SZ}".encode()))
    uploaded = (granularity.shift(bucket, 1) + timedelta(hours=1)).timestamp()
    os.utime(path, (uploaded, uploaded))
    return path


def settle(workspace: Workspace, dataset_id: str) -> None:
    """Write what runs over every file would have left in the store."""
    dataset, source, ref = (
        workspace.dataset(dataset_id),
        workspace.source(dataset_id),
        workspace.ref(dataset_id),
    )
    landing = workspace.home / "landing" / dataset_id
    paths = sorted(path.name for path in landing.iterdir())
    [first] = _scan_one(workspace, dataset_id, paths[0]).files
    granularity = dataset.spec.granularity
    known: dict[str, FileEntry] = {}
    for index, name in enumerate(paths):
        info = (landing / name).stat()
        entry = replace(
            first,
            path=f"landing/{dataset_id}/{name}",
            size=info.st_size,
            modified=datetime.fromtimestamp(info.st_mtime, UTC),
            rows={granularity.shift(START, index): 1},
        )
        known[entry.path] = entry
    scan = source.scan(known)
    entries = {entry.path: entry for entry in scan.files}
    assert {path: entries[path].rows for path in entries} == {path: known[path].rows for path in known}
    files.save_files(workspace.store, ref, {path: entry.to_json() for path, entry in entries.items()})
    versions = [(one.id, analyzer_version(one)) for one in dataset.document.analyzers]
    with workspace.store.begin() as connection:
        segment = numbers(connection, ref, schema.segment, ensure=[""])[""]
        insert_tuples(
            connection,
            schema.batch,
            [
                (
                    ref.pk,
                    to_micros(bucket),
                    segment,
                    1,
                    1,
                    uploaded,
                    uploaded,
                    1,
                    one.fingerprint,
                    uploaded,
                    "{}",
                )
                for bucket, one in scan.arrivals.items()
                if (uploaded := to_micros(one.last_upload))
            ],
        )
        insert_tuples(
            connection,
            schema.evaluation,
            [
                (ref.pk, to_micros(bucket), analyzer, version, to_micros(bucket))
                for bucket in scan.arrivals
                for analyzer, version in versions
            ],
        )


def _scan_one(workspace: Workspace, dataset_id: str, name: str) -> Scan:
    """What the source says of one file alone."""
    aside = workspace.home / "aside" / "landing" / dataset_id
    aside.mkdir(parents=True)
    shutil.copy(workspace.home / "landing" / dataset_id / name, aside / name)
    from monitoring_pipeline.sources.files import FilesSource

    try:
        return FilesSource(workspace.dataset(dataset_id).spec, workspace.home / "aside").scan()
    finally:
        shutil.rmtree(workspace.home / "aside")


def run(workspace: Workspace, dataset_id: str) -> int:
    """Do what a run would do for a dataset's new files."""
    from monitoring_pipeline import pipeline

    profiled = pipeline.profile_batch(workspace, dataset_id)
    pipeline.analyze_batch(workspace, dataset_id, [one.bucket for one in profiled.buckets])
    return len(profiled.buckets)


def measure(home: Path, days: int) -> dict[str, object]:
    """CPU seconds of each kind of tick. The ticks are a minute apart by the pretended clock."""
    clock = [START + timedelta(days=days, hours=2)]
    with Workspace(Settings(home=home)) as workspace:
        grids = {name: one.spec.granularity for name, one in workspace.catalog.datasets.items()}
    daily = [name for name, grid in grids.items() if grid is Granularity.DAILY]
    ten = daily[:9] + [name for name, grid in grids.items() if grid is Granularity.HOURLY][:1]
    figures: dict[str, object] = {}
    logging.disable(logging.CRITICAL)
    with dg.DagsterInstance.ephemeral() as instance:
        sensor = readiness_sensor(dict.fromkeys(grids, START), [_job(name) for name in grids])
        cursor: list[str | None] = [None]

        def tick() -> tuple[float, set[str]]:
            """Seconds, and the datasets for which runs were asked."""
            clock[0] += timedelta(minutes=1)
            began = time.process_time()
            with Workspace(Settings(home=home, now=clock[0])) as workspace:
                context = dg.build_sensor_context(
                    instance=instance, resources={"workspace": workspace}, cursor=cursor[0]
                )
                answer = sensor(context)
            seconds = time.process_time() - began
            assert isinstance(answer, dg.SensorResult)
            cursor[0] = answer.cursor
            asked = {request.tags[DATASET_TAG] for request in answer.run_requests or []}
            return seconds, asked

        def until(done: Callable[[float, set[str]], bool]) -> list[float]:
            ticks: list[float] = []
            while len(ticks) < 200:
                seconds, asked = tick()
                ticks.append(round(seconds, 3))
                if done(seconds, asked):
                    break
            return ticks

        def until_quiet() -> list[float]:
            """Ticks until five in a row did nothing much; those five are not among them."""
            ticks: list[float] = []
            while len(ticks) < 200 and (len(ticks) < 5 or max(ticks[-5:]) >= QUIET):
                ticks += until(lambda *_: True)
            return ticks[:-5]

        figures["fresh_process"] = until_quiet()
        time.sleep(2.1)
        until_quiet()
        quiet = sorted(tick()[0] for _ in range(21))
        figures["nothing_new_median"], figures["nothing_new_worst"] = round(quiet[10], 3), round(quiet[-1], 3)
        for name in ten:
            grid = grids[name]
            write(home / "landing" / name, grid, days * (24 if grid is Granularity.HOURLY else 1))
        clock[0] = START + timedelta(days=days + 1, hours=3)
        found: set[str] = set()
        figures["ten_new_files"] = until(lambda _, asked: found.update(asked) or found >= {*ten})
        time.sleep(2.1)
        until_quiet()
        with Workspace(Settings(home=home, now=clock[0])) as workspace:
            for name in ten:
                run(workspace, name)
        figures["ten_runs_done"] = until(lambda _, asked: not asked)
    return figures


def _job(dataset_id: str) -> dg.JobDefinition:
    @dg.op(name=f"nothing_{dataset_id.replace('-', '_')}")
    def nothing() -> None:
        """Only ticks are timed."""

    @dg.job(name=f"monitor_{dataset_id.replace('-', '_')}")
    def job() -> None:
        nothing()

    return job


def show(figures: dict[str, object]) -> None:
    table = Table("what", "CPU seconds", title=f"{figures['datasets']} datasets, {figures['days']} days")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console(stderr=True).print(table)


if __name__ == "__main__":
    main()
