"""A real dataset end to end, as people would have lived it: 36 months of NYC taxi trips in daily buckets.

`monitor init` makes the monitors. Every day is profiled and judged, and told on the morning after, in order of time: the
notifications are those that a person would have got. Verdicts follow from the data alone, so they are made in one go and
handed out day by day; `--day-by-day` makes them one day at a time as well, which takes five minutes and ends in the same
list. Each notification is set against the events that are really in the data. Needs the monthly Parquet files; names
their folder with `--data` (skips itself where there is none). `--quick` takes six months.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from monitoring_pipeline import pipeline
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.onboarding import init_dataset
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import results
from monitoring_pipeline.timegrid import TimeRange, from_micros
from monitoring_pipeline.workspace import Workspace

DATA = Path(__file__).parents[2] / "shared" / "data" / "nyc_taxi"

MORNING = timedelta(days=1, hours=9)
"""When a day is told, from its start."""

FALSE = "false"


@dataclass(frozen=True)
class Event:
    """Something that is really in the data: when, and the columns where it shows (none: anywhere)."""

    name: str
    window: TimeRange
    columns: frozenset[str] = frozenset()

    def explains(self, incident: Incident) -> bool:
        """Whether an incident began within the event, where the event shows."""
        return incident.start in self.window and (
            not self.columns or bool(self.columns & {*incident.columns})
        )


def _event(name: str, first: str, end: str, *columns: str) -> Event:
    start, stop = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, end))
    return Event(name, TimeRange(start, stop), frozenset(columns))


EVENTS = (
    _event("absurd total", "2018-08-01", "2018-09-01", "total_amount"),
    _event("surcharge", "2019-01-01", "2019-03-01", "congestion_surcharge", "extra"),
    _event("first nulls", "2019-07-01", "2019-08-01", "passenger_count"),
    _event("COVID", "2020-03-01", "2020-06-01"),
    _event("absurd distance", "2020-11-01", "2020-12-01", "trip_distance"),
)


@dataclass(frozen=True)
class Notification:
    """A message that a person would have got."""

    bucket: datetime
    severity: int
    title: str
    event: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--day-by-day", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    files = sorted(arguments.data.glob("*.parquet"))[: 6 if arguments.quick else None]
    if not files:
        print(json.dumps({"benchmark": "taxi", "skipped": f"no Parquet files in {arguments.data}"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), files, day_by_day=arguments.day_by_day)))


def run(home: Path, files: Sequence[Path], *, day_by_day: bool = False) -> dict[str, object]:
    """Profile, judge and tell every day of the files; print the tables, return the figures."""
    landing = home / "landing" / "taxi"
    landing.mkdir(parents=True)
    for file in files:
        shutil.copy2(file, landing)
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    init_dataset(home, str(landing), dataset_id="taxi")
    seconds["init"] = time.perf_counter() - began
    settings = Settings(home=home)
    with Workspace(settings) as workspace:
        profiled = pipeline.profile_batch(workspace, "taxi")
        seconds["profiling"] = profiled.seconds
        buckets = sorted(one.bucket for one in profiled.buckets)
        if not day_by_day:
            seconds["analysis"] = pipeline.analyze_batch(workspace, "taxi").seconds
    store_mb = sum(file.stat().st_size for file in (home / "store").glob("*")) / 1e6
    began = time.perf_counter()
    living = lived_day_by_day(settings, buckets) if day_by_day else lived(settings, buckets)
    notifications = [told for bucket, digests in living for told in notifications_of(bucket, digests)]
    seconds["telling"] = time.perf_counter() - began
    _show(notifications)
    with Workspace(_replayed(settings) if not day_by_day else settings) as workspace:
        verdicts = results.results(workspace.store, workspace.ref("taxi"))
    false = sum(one.event == FALSE for one in notifications)
    quarters = max(len(files) / 3, 1)
    figures: dict[str, object] = {
        "benchmark": "taxi",
        "months": len(files),
        "buckets": len(buckets),
        "rows": profiled.rows,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "verdicts": len(verdicts),
        "anomalies": sum(bool(row["anomaly_count"]) for row in verdicts),
        "notifications": len(notifications),
        "events_told": len({one.event for one in notifications} - {FALSE}),
        "events": len(EVENTS) if len(files) == 36 else None,
        "false": false,
        "false_per_quarter": round(false / quarters, 2),
        "store_mb": round(store_mb, 1),
    }
    table = Table("what", "figure")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)
    return figures


def lived(settings: Settings, buckets: Sequence[datetime]) -> Iterator[tuple[datetime, Sequence[Digest]]]:
    """What was told on each morning, out of verdicts that are there already: handed out to a second store day by day."""
    by_bucket: defaultdict[datetime, list[dict[str, object]]] = defaultdict(list)
    with Workspace(settings) as workspace:
        for row in results.results(workspace.store, workspace.ref("taxi")):
            by_bucket[from_micros(int(str(row["bucket"])))].append(row)
    alarming = {bucket for bucket, rows in by_bucket.items() if any(row["anomaly_count"] for row in rows)}
    for days in _stretches(buckets, alarming):
        with Workspace(_replayed(settings).model_copy(update={"now": days[-1] + MORNING})) as workspace:
            rows = [{**row, "run_id": f"{days[0]:%Y-%m-%d}"} for day in days for row in by_bucket[day]]
            results.write_results(workspace.store, workspace.ref("taxi"), rows, now=workspace.now())
            yield days[-1], pipeline.notify(workspace, "taxi").digests


def _stretches(buckets: Sequence[datetime], alarming: Collection[datetime]) -> Iterator[list[datetime]]:
    """Days with anomalies one by one, and the days between them together: there is nothing to tell on those."""
    for alarm, days in groupby(buckets, key=lambda bucket: bucket in alarming):
        if alarm:
            yield from ([day] for day in days)
        else:
            yield list(days)


def lived_day_by_day(
    settings: Settings, buckets: Sequence[datetime]
) -> Iterator[tuple[datetime, Sequence[Digest]]]:
    """The same with every day judged on its own."""
    for bucket in buckets:
        with Workspace(settings.model_copy(update={"now": bucket + MORNING})) as workspace:
            pipeline.analyze_batch(workspace, "taxi", [bucket])
            yield bucket, pipeline.notify(workspace, "taxi").digests


def notifications_of(bucket: datetime, digests: Sequence[Digest]) -> Iterator[Notification]:
    """Each digest as a message, with the event that explains one of its incidents."""
    for digest in digests:
        events = [event.name for event in EVENTS if any(map(event.explains, digest.incidents))]
        title = "; ".join(incident.title for incident in digest.incidents)
        yield Notification(bucket, digest.severity, title, events[0] if events else FALSE)


def _replayed(settings: Settings) -> Settings:
    return settings.model_copy(update={"store_url": f"sqlite:///{settings.home / 'replayed.db'}"})


def _show(notifications: Sequence[Notification]) -> None:
    marks: Mapping[str, str] = {FALSE: "[yellow]false[/yellow]"}
    table = Table("day", "severity", "told", "event")
    for one in notifications:
        title = one.title.replace("[", "\\[")
        table.add_row(f"{one.bucket:%Y-%m-%d}", str(one.severity), title, marks.get(one.event, one.event))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
