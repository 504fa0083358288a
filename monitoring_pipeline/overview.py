"""What the store knows, as people ask for it: verdicts, digests, the state of a dataset. Reads, never writes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from monitoring_pipeline import readiness
from monitoring_pipeline.alerting.anomalies import badness
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.figures import how_many
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.incidents import Status as IncidentStatus
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import (
    backlogs,
    channel_states,
    datasets,
    digests,
    files,
    incidents,
    profiles,
    results,
    retention,
    work,
)
from monitoring_pipeline.store.rollups import DELETED
from monitoring_pipeline.store.work import Stale
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros
from monitoring_pipeline.workspace import Workspace

FILES_NAMED = 5
"""Files that cannot be read, of which each is told by its name."""


@dataclass(frozen=True)
class Status:
    """The state of one dataset: what is profiled, what is due, what waits, what is wrong."""

    dataset_id: str
    granularity: Granularity
    buckets: int
    rows: int
    columns: int
    segments: int
    first_bucket: datetime | None
    last_bucket: datetime | None
    last_upload: datetime | None
    to_profile: int
    due: int
    todo: tuple[str, ...]
    """What is due, in words."""
    waiting: tuple[str, ...]
    """What waits for what and until when, in words."""
    trouble: tuple[str, ...]
    """What will not mend itself: work that was given up, data that does not come, stale results."""
    open_incidents: tuple[Incident, ...]
    undelivered: tuple[str, ...]


def status(workspace: Workspace, dataset_id: str, *, every: bool = False) -> Status:
    """The dataset's state now; with `every`, each bucket and analyzer has words of its own."""
    pending = readiness.pending(workspace, dataset_id)
    ref = workspace.ref(dataset_id)
    batches = profiles.batches(workspace.store, ref)
    stale = work.stale(workspace.store).get((ref.organisation, ref.dataset_id))
    return Status(
        dataset_id=dataset_id,
        granularity=workspace.dataset(dataset_id).spec.granularity,
        buckets=len(batches),
        rows=sum(batch.rows for batch in batches),
        columns=len(datasets.columns(workspace.store, ref)),
        segments=len(datasets.segments(workspace.store, ref)),
        first_bucket=min((batch.bucket for batch in batches), default=None),
        last_bucket=max((batch.bucket for batch in batches), default=None),
        last_upload=max((batch.last_upload for batch in batches), default=None),
        to_profile=len(pending.profile),
        due=len(pending.due),
        todo=tuple(pending.todo(every=every)),
        waiting=tuple(pending.summary(every=every)),
        trouble=(
            *pending.trouble(),
            *_deleted(workspace, ref),
            *_unreadable(workspace, ref),
            *([stale_words(dataset_id, stale)] if stale else []),
        ),
        open_incidents=tuple(
            found for found in find_incidents(workspace, dataset_id) if found.status is IncidentStatus.OPEN
        ),
        undelivered=tuple(undelivered(workspace, dataset_id)),
    )


def _deleted(workspace: Workspace, ref: datasets.DatasetRef) -> list[str]:
    """What people have deleted, in words: its data is there or not, and is not looked at."""
    gone = [*retention.forgotten_buckets(workspace.store, ref, cause=DELETED)]
    if not gone:
        return []
    words = (
        f"{len(gone):,} buckets from {gone[0]:%Y-%m-%d %H:%M} to {gone[-1]:%Y-%m-%d %H:%M} were deleted and stay so; "
        f"`monitor backfill {ref.dataset_id} --from TIME --to TIME --again` brings back those whose data is there"
    )
    return [words]


def _unreadable(workspace: Workspace, ref: datasets.DatasetRef) -> list[str]:
    """Files that could not be read, in words: each of the first few with its reason."""
    broken = [
        entry for entry in files.known_files(workspace.store, ref).values() if not entry.get("readable", True)
    ]
    lines = [f"{entry['path']} cannot be read: {entry.get('detail', '')}" for entry in broken[:FILES_NAMED]]
    more = len(broken) - len(lines)
    return [
        *lines,
        *([f"{more:,} more files cannot be read; `monitor profile` tells of all"] if more else []),
    ]


def stale_words(dataset_id: str, stale: Stale) -> str:
    """Stale results in words, and what to do about them."""
    return (
        f"{stale.results:,} results on {stale.buckets:,} buckets from {stale.first:%Y-%m-%d %H:%M} to "
        f"{stale.last:%Y-%m-%d %H:%M} are stale, because their data has changed since they were given; "
        f"`monitor reanalyze {dataset_id}` gives them anew"
    )


def verdicts(
    workspace: Workspace, dataset_id: str, buckets: Collection[datetime]
) -> tuple[AnalyzerResult, ...]:
    """Every current result on the buckets, anomalies first, worst first."""
    wanted = {*buckets}
    if not wanted:
        return ()
    granularity = workspace.dataset(dataset_id).spec.granularity
    window = TimeRange(min(wanted), granularity.shift(max(wanted), 1))
    found = find_results(workspace, dataset_id, window=window)
    return tuple(sorted((result for result in found if result.bucket in wanted), key=badness, reverse=True))


def find_results(
    workspace: Workspace,
    dataset_id: str,
    *,
    window: TimeRange | None = None,
    anomalies_only: bool = False,
    limit: int | None = None,
) -> list[AnalyzerResult]:
    """Current results, newest first."""
    rows = results.results(
        workspace.store,
        workspace.ref(dataset_id),
        window=window,
        anomalies_only=anomalies_only,
        limit=limit,
        newest_first=True,
    )
    return [AnalyzerResult.from_row(row) for row in rows]


def find_digests(workspace: Workspace, dataset_ids: Sequence[str], *, limit: int) -> list[Digest]:
    """The newest recorded digests of some datasets, newest first."""
    found = [
        (record.created, Digest.from_json(record.content))
        for dataset_id in dataset_ids
        for record in digests.digests(workspace.store, workspace.ref(dataset_id), limit=limit)
    ]
    return [digest for _, digest in sorted(found, key=lambda pair: pair[0], reverse=True)[:limit]]


def find_incidents(workspace: Workspace, dataset_id: str) -> list[Incident]:
    """Every incident of a dataset, newest first."""
    records = incidents.incidents(workspace.store, workspace.ref(dataset_id))
    return sorted(
        (Incident.from_json(record) for record in records), key=lambda found: found.start, reverse=True
    )


def undelivered(workspace: Workspace, dataset_id: str, *, tried: bool = False) -> list[str]:
    """What no channel has accepted yet, in words: for each channel what waits and why, and what was given up.

    `tried` leaves out what nobody has tried to send yet.
    """
    ref, states = workspace.ref(dataset_id), channel_states.channel_states(workspace.store)
    lines: list[str] = []
    for left in backlogs.unsent(workspace.store, ref):
        if tried and not left.attempts:
            continue
        why = f"; {left.error}" if left.error else ""
        messages, since = how_many(left.number, "message"), f"{left.since:%Y-%m-%d %H:%M}"
        if left.given_up:
            again = "`monitor digest --send --again` sends what was given up"
            lines.append(f"{messages} to {left.channel} given up, the oldest of {since}; {again}{why}")
            continue
        ill = states.get(left.channel)
        if ill and ill.failing_since:
            rest = f" and is tried again at {ill.rests_until:%H:%M}" if ill.rests_until else ""
            why = f"; {left.channel} has refused messages since {ill.failing_since:%Y-%m-%d %H:%M}{rest}{why}"
        lines.append(f"{messages} to {left.channel} since {since}, {how_many(left.attempts, 'attempt')}{why}")
    return lines


def refused(workspace: Workspace) -> set[str]:
    """The datasets with messages that were tried and that no channel has accepted."""
    return backlogs.refused(workspace.store) & workspace.catalog.datasets.keys()


def outbox(workspace: Workspace) -> list[str]:
    """Names of the deliveries that could be sent now, with the attempts behind them; empty when nothing waits."""
    return [f"{pk}:{attempts}" for pk, attempts in digests.due_deliveries(workspace.store, workspace.now())]


PLOTTED = 5
"""Columns whose means are worth a plot over time."""


def key_metrics(
    workspace: Workspace, dataset_id: str, buckets: Collection[datetime]
) -> dict[datetime, dict[str, float]]:
    """The few numbers of each bucket that say most at one glance, by name: what the Dagster UI plots over partitions.

    The share of nulls over all columns (from 0 to 1), and the means of up to five numeric columns, those with
    a role (score, prediction, target) first. What a bucket does not have is absent.
    """
    wanted = sorted({*buckets})
    if not wanted:
        return {}
    spec = workspace.dataset(dataset_id).spec
    found = profiles.series(
        workspace.store,
        workspace.ref(dataset_id),
        ("n", "n_null", "m_n", "mean"),
        TimeRange(wanted[0], spec.granularity.shift(wanted[-1], 1)),
        granularity=spec.granularity,
        segments=[OVERALL],
    )
    places = [place for place, (_, column) in enumerate(found.keys) if column != profiles.DATASET_COLUMN]
    roles = [spec.columns.score, spec.columns.prediction, spec.columns.target]
    numeric = [place for place in places if np.nansum(found.values["m_n"][place]) > 0]
    plotted = sorted(numeric, key=lambda place: found.keys[place][1] not in roles)[:PLOTTED]
    values, nulls = (
        np.nansum(found.values["n"][places], axis=0),
        np.nansum(found.values["n_null"][places], axis=0),
    )
    metrics: dict[datetime, dict[str, float]] = {}
    for at, micros in enumerate(found.buckets.tolist()):
        bucket = from_micros(micros)
        if bucket not in wanted or not values[at]:
            continue
        means = {
            f"mean of {found.keys[place][1]}": float(found.values["mean"][place, at]) for place in plotted
        }
        metrics[bucket] = {"null share": float(nulls[at] / values[at])} | {
            name: value for name, value in means.items() if np.isfinite(value)
        }
    return metrics
