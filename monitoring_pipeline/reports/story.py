"""What a report says of one dataset: everything gathered from the store, and the few sentences that sum it up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline import overview
from monitoring_pipeline.alerting.anomalies import worst_first
from monitoring_pipeline.alerting.figures import Unit, figure, figures, how_long, how_many, name
from monitoring_pipeline.alerting.incidents import Incident, Status
from monitoring_pipeline.config.dataset import DatasetSpec
from monitoring_pipeline.reports.columns import ColumnStory, column_stories
from monitoring_pipeline.reports.coverage import Coverage, coverage_of
from monitoring_pipeline.reports.drift import Drifts, drifts_of
from monitoring_pipeline.reports.judged import Judged, judged_series
from monitoring_pipeline.reports.performance import (
    Performance,
    outcome_stories,
    watched_series,
    watched_stories,
)
from monitoring_pipeline.reports.period import Buckets, Period
from monitoring_pipeline.reports.told import Told, told_of
from monitoring_pipeline.reports.volume import Volume, volume_of
from monitoring_pipeline.store import datasets, work
from monitoring_pipeline.store.tallies import (
    VerdictSeries,
    anomalies_by_bucket,
    anomalies_by_column,
)
from monitoring_pipeline.workspace import Workspace

NAMED = 3
"""Columns and metrics that sentences name."""

CHARTED_INCIDENTS = 40
"""Incidents whose worst series is read, so that it can be drawn."""


@dataclass(frozen=True)
class Story:
    """One dataset in one period."""

    dataset_id: str
    spec: DatasetSpec
    period: Period
    buckets: Buckets
    volume: Volume
    columns: tuple[ColumnStory, ...]
    drifts: Drifts
    performance: Performance
    coverage: Coverage
    incidents: tuple[Incident, ...]
    """Those of the period and those that were open through it, open ones first, worst first."""
    incidents_before: int
    judged: Mapping[VerdictSeries, Judged]
    anomalies: tuple[int, ...]
    """By bucket, (2 · n_buckets,), the period before first."""
    column_anomalies: Mapping[str, int]
    told: Told

    @property
    def open(self) -> tuple[Incident, ...]:
        """Incidents that go on."""
        return tuple(one for one in self.incidents if one.status is not Status.RESOLVED)

    @property
    def resolved(self) -> int:
        """Incidents of the period that are over."""
        return len(self.incidents) - len(self.open)

    @property
    def state(self) -> str:
        """One word: `incidents`, `between` (no bucket ended), `silent` (no data), `unwatched`, `look`, `resolved` or
        `healthy`.
        """
        if self.open:
            return "incidents"
        if not len(self.buckets):
            return "between"
        if len(self.volume.missing) == len(self.buckets) or not self.volume.now:
            return "silent"
        if not self.coverage.verdicts:
            return "unwatched"
        if self.concerns:
            return "look"
        return "resolved" if self.resolved else "healthy"

    @property
    def concerns(self) -> tuple[str, ...]:
        """What people should look at although it may be no incident, in few words each."""
        beyond = [one.column for one in self.drifts.columns if one.beyond]
        worse = [one.title for one in self.performance.outcomes if one.verdict == "worse"]
        more = f" and {len(worse) - 1:,} more" if len(worse) > 1 else ""
        return (
            *(
                [f"{how_many(len(self.volume.missing), self.buckets.noun)} without data"]
                * bool(self.volume.missing)
            ),
            *([f"drift of {_listed(beyond)}"] * bool(beyond)),
            *([f"{worse[0]}{more} worse"] if worse else []),
        )

    @property
    def headline(self) -> str:
        """How the dataset is, in a few words; names stand in backticks."""
        over = f", {self.resolved:,} resolved" if self.resolved else ""
        match self.state:
            case "incidents":
                return f"{how_many(len(self.open), 'incident')} open{over}"
            case "between":
                return f"No {self.buckets.noun} ended in this time"
            case "silent":
                return f"No data arrived{over and f'; no incident open{over}'}"
            case "unwatched":
                return "Not judged: no analyzer gave a verdict"
            case "look":
                return f"No incident open{over}; look at {', '.join(self.concerns)}"
            case "resolved":
                return f"No incident open{over}"
        return "Healthy"

    @property
    def changes(self) -> tuple[str, ...]:
        """What is different from the period before, one sentence each, the most telling first."""
        return tuple(_changes(self))


def story_of(workspace: Workspace, dataset_id: str, period: Period) -> Story:
    """Everything about one dataset. Raises MonitoringError when its profiles or source cannot be used."""
    dataset, store, ref = workspace.dataset(dataset_id), workspace.store, workspace.ref(dataset_id)
    spec, document = dataset.spec, dataset.document
    buckets = period.buckets(spec.granularity, now=workspace.now())
    schema = workspace.entity_schema(dataset_id)
    hidden = {column for column, one in schema.columns.items() if one.hidden} if schema else set()
    names = [column for column in datasets.columns(store, ref) if column not in hidden]
    columns = tuple(column_stories(store, ref, names, buckets))
    incidents, before = _incidents(workspace, dataset_id, period, buckets)
    watched = watched_series(document)
    charted = {incident.worst.series for incident in incidents[:CHARTED_INCIDENTS]}
    judged = judged_series(store, ref, buckets, {*watched, *charted})
    outcomes, known = outcome_stories(store, ref, buckets)
    span = work.span(store, ref)
    return Story(
        dataset_id=dataset_id,
        spec=spec,
        period=period,
        buckets=buckets,
        volume=volume_of(store, ref, buckets, first=span.first if span else None),
        columns=columns,
        drifts=drifts_of(
            store, ref, [one.name for one in columns], buckets, document=document, schema=schema
        ),
        performance=Performance(outcomes, known, watched_stories(watched, judged, buckets)),
        coverage=coverage_of(workspace, document, buckets),
        incidents=incidents,
        incidents_before=before,
        judged=judged,
        anomalies=_by_bucket(
            anomalies_by_bucket(store, ref, buckets.with_before.window) if len(buckets) else {}, buckets
        ),
        column_anomalies=anomalies_by_column(store, ref, buckets.window) if len(buckets) else {},
        told=told_of(store, ref, period.range),
    )


def _by_bucket(found: Mapping[datetime, int], buckets: Buckets) -> tuple[int, ...]:
    return tuple(found.get(start, 0) for start in buckets.with_before.starts)


def _incidents(
    workspace: Workspace, dataset_id: str, period: Period, buckets: Buckets
) -> tuple[tuple[Incident, ...], int]:
    """The incidents to tell of, and how many there were in the period before."""
    window = buckets.window if len(buckets) else period.range
    before = buckets.before.window if len(buckets) else None
    found = overview.find_incidents(workspace, dataset_id)
    told = [
        one
        for one in found
        if one.start < window.end and (one.end > window.start or one.status is not Status.RESOLVED)
    ]
    earlier = [one for one in found if before and one.start < before.end and one.end > before.start]
    told.sort(key=lambda one: (one.status is Status.RESOLVED, worst_first(one.worst), one.id))
    return tuple(told), len(earlier)


def _changes(story: Story) -> Iterator[str]:
    if not len(story.buckets):
        return
    before = story.period.before
    yield from _volume_words(story, before)
    yield from _incident_words(story)
    anomalies = [sum(story.anomalies[: len(story.buckets)]), sum(story.anomalies[len(story.buckets) :])]
    if anomalies[0] != anomalies[1]:
        yield f"{how_many(anomalies[1], 'anomaly', 'anomalies')}, after {anomalies[0]:,} {before}"
    yield from _schema_words(story)
    yield from _null_words(story)
    yield from _drift_words(story, before)
    yield from _performance_words(story)


def _volume_words(story: Story, before: str) -> Iterator[str]:
    volume, buckets = story.volume, story.buckets
    if volume.missing:
        count = how_many(len(volume.missing), f"{buckets.noun}")
        yield f"{count} of {len(buckets):,} without data: {buckets.moments(volume.missing)}"
    if math.isnan(volume.change):
        if volume.now:
            yield f"{volume.now:,.0f} rows; nothing is known of {before}"
        return
    if volume.now == volume.before:
        yield f"{volume.now:,.0f} rows, as many as {before}"
        return
    word = "more" if volume.change > 0 else "fewer"
    yield f"{volume.now:,.0f} rows, {figure(abs(volume.change), Unit.RATIO, digits=2)} {word} than {before}"


def _incident_words(story: Story) -> Iterator[str]:
    start = story.buckets.window.start
    new = sum(one.start >= start for one in story.incidents)
    parts = [f"{how_many(new, 'new incident')}"] if new else []
    if older := len(story.incidents) - new:
        parts.append(f"{older:,} from earlier")
    if parts:
        yield f"{' and '.join(parts)}; {story.incidents_before:,} {story.period.before}"


def _schema_words(story: Story) -> Iterator[str]:
    if math.isnan(story.volume.before) or not story.volume.now:
        return
    for words, found in (
        ("new", [one.name for one in story.columns if one.came]),
        ("gone", [one.name for one in story.columns if one.went]),
    ):
        if found:
            yield f"{how_many(len(found), 'column')} {words}: {_listed(found)}"
    for one in [one for one in story.columns if one.type_changed][:NAMED]:
        yield f"`{name(one.name)}` was {one.before.type}, is {one.now.type}"
    yield from partial_words(story)[:NAMED]


def partial_words(story: Story) -> list[str]:
    """Columns that were not there, or of another type, in some buckets of the period."""
    noun, count = f"{story.buckets.noun}s", len(story.buckets)
    lines: list[str] = []
    absent: dict[int, list[str]] = {}
    for one in story.columns:
        if missing := one.absent(story.volume.rows):
            absent.setdefault(missing, []).append(one.name)
    for missing, names in sorted(absent.items(), reverse=True):
        lines.append(f"{_listed(names)} absent on {missing:,} of {count:,} {noun}")
    for one in story.columns:
        kind, odd = one.odd_types
        if odd and not one.type_changed:
            lines.append(f"`{name(one.name)}` is {kind} on {odd:,} of {count:,} {noun}")
    return lines


def _null_words(story: Story) -> Iterator[str]:
    moved = sorted(
        (one for one in story.columns if one.nulls_moved), key=lambda one: (-abs(one.nulls_moved), one.name)
    )
    for one in moved[:NAMED]:
        was, now = figures((one.before.nulls, one.now.nulls), Unit.RATIO)
        yield f"`{name(one.name)}` nulls {was} → {now}"
    if len(moved) > NAMED:
        yield f"nulls changed in {how_many(len(moved) - NAMED, 'more column')}"


def _drift_words(story: Story, before: str) -> Iterator[str]:
    beyond = [one for one in story.drifts.columns if one.beyond]
    told = beyond or story.drifts.moved
    for one in told[:NAMED]:
        score, noise, _ = one.telling
        since = "its baseline" if one.by_reference else before
        over = ""
        if one.beyond and one.watch is not None:
            value, threshold = figures((one.watched, one.watch.threshold))
            over = f"; {one.watch.algorithm} {value}, allowed {threshold}"
        yield f"`{name(one.column)}` drifted {score:.3f} from {since} (chance gives {noise:.3f}){over}"
    if len(told) > NAMED:
        yield f"{how_many(len(told) - NAMED, 'more column')} drifted"


def _performance_words(story: Story) -> Iterator[str]:
    moved = [one for one in story.performance.outcomes if one.verdict]
    for one in moved[:NAMED]:
        was, now = figures((one.before, one.now), one.unit)
        yield f"{one.title} {was} → {now}, {one.verdict}"
    if story.performance.outcomes and story.performance.known < 0.999:
        share = figure(story.performance.known, Unit.RATIO)
        yield f"outcomes are known for {share} of the predictions so far"


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name(one)}`" for one in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED:,} more"


def buckets_words(story: Story) -> str:
    """Which buckets the period has: `7 days, 2026-11-16 to 2026-11-22`."""
    return story.buckets.words if len(story.buckets) else how_long(0, story.spec.granularity)
