"""Plays the demo: makes the data, lets the pipeline see it arrive, and compares what it says with what was planted.

The last fourteen days are replayed morning by morning with a pretended clock, through the readiness sensor and the jobs
of the code location, in process: what has not arrived by then does not exist yet. The daily history before them goes
through Dagster as well, in ranged runs. The hourly one goes straight to the store, the way a long backfill does: Dagster
keeps a record of each partition, which takes longer than profiling and analysing an hour.
"""

from __future__ import annotations

import io
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitoring_pipeline import overview, pipeline, readiness, terminal
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.demo.business import generate
from monitoring_pipeline.demo.incidents import (
    LEADS,
    REQUESTS,
    FoundIncident,
    PlantedIncident,
    Score,
    Truth,
    compare,
)
from monitoring_pipeline.errors import MonitoringError, UsageError
from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.jobs import DIGEST_JOB
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.orchestration.sensors import SENSOR
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store.deletion import delete_dataset
from monitoring_pipeline.workspace import DATASET_FILE, Workspace

REPLAYED_DAYS = 14
REPLAYED_DAYS_OF_HOURS = 3
"""Days of the hourly dataset that Dagster sees; those before go straight to the store."""
MORNING = timedelta(hours=9)
"""When each replayed day is looked at: the night's data has arrived, the readiness durations have passed."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Work:
    """What the pipeline did, added up."""

    runs: int = 0
    seconds: float = 0.0
    hours: int = 0
    hour_verdicts: int = 0
    hour_seconds: float = 0.0


def run_demo(home: Path, *, end: date | None, seed: int, console: Console) -> Score:
    """Generate, run, compare and print; the last line printed is the score."""
    end = end or (datetime.now(UTC) - MORNING).date()
    _place_documents(home)
    began = time.perf_counter()
    with terminal.progress(console, "1/4 the business makes data") as progress:
        truth = generate(home, end=end, seed=seed, progress=progress)
    console.print(
        f"1/4 made {truth.days} days of {LEADS} and {REQUESTS} in {time.perf_counter() - began:.1f} s"
    )
    work = Work()
    _forget(home, end)
    console.print(
        "2/4 Dagster replays fourteen mornings; the hourly history goes straight to the store beside it"
    )
    _run_pipeline(home, end, work, console)
    with Workspace(_settings(home, _midnight(end) + MORNING)) as workspace:
        score = compare(truth.incidents, list(_found(workspace)))
        _report(console, workspace, truth, score, work)
    return score


def _place_documents(home: Path) -> None:
    """Copy the two datasets' documents into the workspace unless they are there."""
    shipped = Path(__file__).parent / "datasets"
    source = shipped if shipped.exists() else Path(__file__).parents[2] / "data" / "datasets"
    for dataset_id in (LEADS, REQUESTS):
        target = home / "datasets" / dataset_id
        if (target / DATASET_FILE).exists():
            continue
        if not (source / dataset_id).exists():
            raise UsageError("the demo's documents are not installed; run it from a checkout of the project")
        shutil.copytree(source / dataset_id, target)


def _settings(home: Path, now: datetime) -> Settings:
    return Settings(home=home, now=now)


def _forget(home: Path, end: date) -> None:
    """Forget an earlier demo: its verdicts were about other data."""
    with Workspace(_settings(home, _midnight(end))) as workspace:
        for dataset_id in (LEADS, REQUESTS):
            delete_dataset(workspace.store, workspace.ref(dataset_id))


def _run_pipeline(home: Path, end: date, work: Work, console: Console) -> None:
    """The hourly history in a process of its own; meanwhile the mornings of the leads, and at the end those of both."""
    mornings = [_midnight(end) - timedelta(days=back) + MORNING for back in range(REPLAYED_DAYS, -1, -1)]
    apart = REPLAYED_DAYS - REPLAYED_DAYS_OF_HOURS
    began = time.perf_counter()
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside,
        _instance(home) as instance,
        terminal.progress(console, "Dagster replays the mornings") as progress,
    ):
        hours = beside.submit(_history, home, mornings[apart])
        with Workspace(_settings(home, mornings[0])) as workspace:
            readiness.discover(workspace, LEADS)
        for day, morning in enumerate(mornings):
            if day == apart:
                work.hours, work.hour_verdicts, work.hour_seconds = hours.result()
            datasets = [LEADS] if day < apart else [LEADS, REQUESTS]
            while DIGEST_JOB not in (done := _tick(home, morning, instance, datasets, work)) and done:
                pass
            progress(day + 1, len(mornings))
    work.seconds = time.perf_counter() - began
    console.print(
        f"3/4 {work.runs} Dagster runs in {work.seconds:.1f} s; beside them {work.hours:,} hours of {REQUESTS} "
        f"in {work.hour_seconds:.1f} s ({work.hour_verdicts:,} verdicts)"
    )


def _history(home: Path, now: datetime) -> tuple[int, int, float]:
    """Profile and analyse the hours that are there by `now`; returns hours, verdicts and seconds."""
    began = time.perf_counter()
    with Workspace(_settings(home, now)) as workspace:
        workspace.apply(REQUESTS)
        profiled = pipeline.profile_batch(workspace, REQUESTS)
        analyzed = pipeline.analyze_batch(workspace, REQUESTS)
        pipeline.notify(workspace, REQUESTS)
    return len(profiled.buckets), analyzed.count, time.perf_counter() - began


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance that `make dev` shows, when the demo is made in its workspace; otherwise one beside the data."""
    if home == Path("data") and Path("dagster.yaml").exists():
        instance = dg.DagsterInstance.from_config(".")
    else:
        (home / "dagster").mkdir(parents=True, exist_ok=True)
        instance = dg.DagsterInstance.local_temp(str(home / "dagster"))
    with instance:
        yield instance


def _tick(
    home: Path, now: datetime, instance: dg.DagsterInstance, datasets: Sequence[str], work: Work
) -> list[str]:
    """One tick of the sensor, and the runs that it asks for, in process; returns the names of their jobs."""
    resource = WorkspaceResource(home=str(home), now=now.isoformat())
    definitions = build_definitions(resource, _settings(home, now), only=datasets)
    sensor = definitions.resolve_sensor_def(SENSOR)
    with Workspace(_settings(home, now)) as workspace:
        context = dg.build_sensor_context(instance=instance, resources={"workspace": workspace})
        logging.disable(logging.INFO)
        asked = sensor(context)
        logging.disable(logging.NOTSET)
    if not isinstance(asked, dg.SensorResult):
        return []
    for event in asked.asset_events:
        instance.report_runless_asset_event(event)
    for request in asked.run_requests or []:
        job = definitions.resolve_job_def(str(request.job_name))
        with redirect_stdout(io.StringIO()):
            result = job.execute_in_process(
                instance=instance,
                partition_key=request.partition_key,
                tags=request.tags,
                run_config=QUIET,
                raise_on_error=False,
            )
        if not result.success:
            raise MonitoringError(
                f"the run {result.run_id} of {request.job_name} failed; `make dev` shows why"
            )
        work.runs += 1
    return [str(request.job_name) for request in asked.run_requests or []]


def _found(workspace: Workspace) -> Iterator[FoundIncident]:
    for dataset_id in (LEADS, REQUESTS):
        for incident in overview.find_incidents(workspace, dataset_id):
            for episode in incident.episodes:  # people are told of an incident again when it comes back
                named = {member.column for member in episode}
                last = max(member.bucket for member in episode)
                yield FoundIncident(
                    dataset=dataset_id,
                    columns=frozenset(named),
                    segments=tuple(sorted({member.segment for member in episode})),
                    start=min(member.bucket for member in episode),
                    end=incident.worst.granularity.shift(last, 1),
                    title=incident.title,
                )


def _report(console: Console, workspace: Workspace, truth: Truth, score: Score, work: Work) -> None:
    table = Table(
        "dataset", "buckets", "rows", "columns", "segments", "seconds", box=None, header_style="bold"
    )
    for dataset_id, seconds in ((LEADS, work.seconds), (REQUESTS, work.hour_seconds)):
        status = overview.status(workspace, dataset_id)
        table.add_row(
            dataset_id,
            f"{status.buckets:,}",
            f"{status.rows:,}",
            f"{status.columns:,}",
            f"{status.segments:,}",
            f"{seconds:.1f}",
        )
    console.print("\n4/4 profiled")
    console.print(table)
    console.print("\nplanted, and what was found")
    for planted in truth.incidents:
        _show_planted(console, planted, score)
    for report in score.false:
        console.print(
            f"  [yellow]! false[/yellow]  {report.start:%b %d %H:%M}  {report.dataset}: {escape(report.title)}",
            highlight=False,
        )
    digests = overview.find_digests(workspace, [LEADS], limit=100)
    if digests:
        console.print("\none of the digests that people get\n")
        console.print(render_text(_telling(digests)), highlight=False, markup=False)
    console.print(
        "\nnext\n"
        "  make dev                        the same workspace in the Dagster UI, http://localhost:3000\n"
        "  .venv/bin/monitor status        what is due, what waits, what is open\n"
        "  .venv/bin/monitor init FILE     begin with your own data\n",
        highlight=False,
    )
    found = len(truth.incidents) - len(score.missed)
    console.print(
        f"incidents: {len(truth.incidents)} planted, {found} found, {len(score.missed)} missed, "
        f"{len(score.false)} false",
        highlight=False,
    )


def _show_planted(console: Console, planted: PlantedIncident, score: Score) -> None:
    reports = [report for truth, report in score.found if truth.id == planted.id]
    mark = "[green]✓ found[/green] " if reports else "[red]✗ missed[/red]"
    console.print(f"  {mark}  {planted.start:%b %d %H:%M}  {escape(planted.description)}", highlight=False)
    for report in reports[:1]:
        console.print(f"                          {escape(report.title)}", style="dim", highlight=False)


def _telling(digests: list[Digest]) -> Digest:
    """The digest that shows most: the one about most columns, of the most severe."""
    return min(digests, key=lambda digest: (digest.severity, -digest.incident_count, -digest.anomaly_count))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
