"""The pipeline in four steps: `profile_batch`, `analyze_batch`, `notify`, `deliver`.

A batch becomes profiles; profiles become metrics; metrics against a baseline become results; results become a
digest. Everything that runs the pipeline (Dagster, the command line, notebooks, tests) calls these functions and
nothing else. Each is idempotent per dataset and bucket: running it again changes nothing.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from monitoring_pipeline.alerting import delivery
from monitoring_pipeline.alerting.channels import Channel, configured_channels
from monitoring_pipeline.alerting.delivery import DeliveryReport
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.incidents import ECHO, Incident, group_incidents
from monitoring_pipeline.analysis.engine import analyze, unable
from monitoring_pipeline.analysis.gates import BatchFacts, Decision, Due, Gate, Waiting, decide
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.analysis.schema_inference import SCALARS as SCHEMA_SCALARS
from monitoring_pipeline.analysis.schema_inference import infer_schema
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import Profiler
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.sources.base import Arrival, FileEntry, InputProblem, Scan, problem_counts
from monitoring_pipeline.store import entity_schema, files, incidents, profiles, results
from monitoring_pipeline.timegrid import TimeRange, from_micros
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

BUCKETS_PER_PASS = 64
"""Buckets that are profiled in one pass over their files; bounds memory on long backfills."""

Progress = Callable[[int, int], None]
"""Called with (buckets done, buckets in all)."""


@dataclass(frozen=True)
class ProfiledBucket:
    """What one bucket's profile holds; `version` counts the loads of the bucket that differed."""

    bucket: datetime
    rows: int
    columns: int
    segments: int
    version: int
    problems: Mapping[str, int]


@dataclass(frozen=True)
class Profiled:
    """What `profile_batch` did."""

    buckets: tuple[ProfiledBucket, ...]
    unchanged: tuple[datetime, ...]
    """Buckets whose data is what their profile was made from."""
    missing: tuple[datetime, ...]
    """Buckets that were asked for and have no data."""
    problems: tuple[InputProblem, ...]
    cells: int
    """Rows × columns that were read."""
    seconds: float

    @property
    def rows(self) -> int:
        return sum(bucket.rows for bucket in self.buckets)


@dataclass(frozen=True)
class Analyzed:
    """What `analyze_batch` did: new results, what waits and why, and notes on what could not run."""

    run_id: str
    results: tuple[AnalyzerResult, ...]
    due: tuple[Due, ...]
    waiting: tuple[Waiting, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def anomalies(self) -> tuple[AnalyzerResult, ...]:
        return tuple(result for result in self.results if result.anomaly_count)


@dataclass(frozen=True)
class Notified:
    """What `notify` recorded: digests that are new, the incidents they tell of, actions that lead nowhere."""

    digests: tuple[Digest, ...]
    incidents: tuple[Incident, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Pending:
    """What is to be done for a dataset now, and what has to wait."""

    profile: tuple[datetime, ...]
    """Buckets that are over and whose data is new or changed, ascending."""
    due: tuple[Due, ...]
    waiting: tuple[Waiting, ...]
    arrivals: Mapping[datetime, Arrival]

    @property
    def buckets(self) -> tuple[datetime, ...]:
        """Buckets with anything to do, ascending."""
        return tuple(sorted({*self.profile, *(due.bucket for due in self.due)}))

    def summary(self) -> list[str]:
        """What waits and for what, in words: one line for each analyzer and reason."""
        lines: list[str] = []
        for (analyzer_id, gate), group in _grouped(self.waiting).items():
            first, last = group[0], group[-1]
            if first.bucket is None or last.bucket is None:
                lines.append(f"{analyzer_id}: {first.reason}")
            elif len(group) == 1:
                lines.append(f"{analyzer_id} on {first.bucket:%Y-%m-%d %H:%M}: {first.reason}")
            else:
                lines.append(
                    f"{analyzer_id}: {gate.value}, {len(group):,} buckets from {first.bucket:%Y-%m-%d %H:%M} "
                    f"to {last.bucket:%Y-%m-%d %H:%M}; the last {last.reason}"
                )
        return lines


def _grouped(waiting: Sequence[Waiting]) -> dict[tuple[str, Gate], list[Waiting]]:
    groups: dict[tuple[str, Gate], list[Waiting]] = {}
    for item in waiting:
        groups.setdefault((item.analyzer_id, item.gate), []).append(item)
    return groups


def discover(workspace: Workspace, dataset_id: str) -> Scan:
    """Look for the dataset's files; those seen before are not read again."""
    ref = workspace.ref(dataset_id)
    known = {
        path: FileEntry.from_json(entry) for path, entry in files.known_files(workspace.store, ref).items()
    }
    scan = workspace.source(dataset_id).scan(known, as_of=workspace.as_of)
    found = {entry.path: entry for entry in scan.files}
    if found != known:
        files.save_files(workspace.store, ref, {path: entry.to_json() for path, entry in found.items()})
    return scan


def first_bucket(workspace: Workspace, dataset_id: str) -> datetime:
    """The dataset's first bucket: as described, or the first that has data, or the present one.

    Looks for files only while none is known, so that a dataset nobody has run yet begins where its data begins.
    """
    spec = workspace.dataset(dataset_id).spec
    if spec.start is not None:
        return spec.start
    known = files.known_files(workspace.store, workspace.ref(dataset_id)).values()
    seen = [int(bucket) for entry in known for bucket in cast("Mapping[str, int]", entry["rows"])]
    if seen:
        return spec.granularity.floor(from_micros(min(seen)))
    arrivals = discover(workspace, dataset_id).arrivals
    return min(arrivals, default=spec.granularity.floor(workspace.now()))


def buckets_in(workspace: Workspace, dataset_id: str, window: TimeRange) -> list[datetime]:
    """Buckets of a window, no earlier than the dataset's first and no later than the present one, ascending."""
    granularity = workspace.dataset(dataset_id).spec.granularity
    start = max(window.start, first_bucket(workspace, dataset_id))
    end = min(window.end, granularity.shift(granularity.floor(workspace.now()), 1))
    return list(TimeRange(start, end).buckets(granularity)) if start < end else []


def pending(workspace: Workspace, dataset_id: str, *, backfill: bool = False) -> Pending:
    """What is due now: buckets whose data is new or changed, and analyzers on them. `backfill` lifts the grace."""
    scan = discover(workspace, dataset_id)
    fresh = _fresh(workspace, dataset_id, scan)
    decision = _decide(workspace, dataset_id, arrivals=scan.arrivals, backfill=backfill)
    return Pending(tuple(sorted(fresh)), decision.due, decision.waiting, scan.arrivals)


def profile_batch(
    workspace: Workspace,
    dataset_id: str,
    buckets: Collection[datetime] | None = None,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> Profiled:
    """Profile buckets (all with new or changed data, unless given) and write them to the store.

    Buckets whose data has not changed are left alone unless `again`. Each bucket is one transaction. A file that
    changes while it is read makes its buckets wait for the next call; it is among the problems.
    """
    began = time.perf_counter()
    dataset, scan = workspace.dataset(dataset_id), discover(workspace, dataset_id)
    asked = sorted(scan.arrivals if buckets is None else buckets)
    present = [bucket for bucket in asked if bucket in scan.arrivals]
    stale = {*present} if again else _fresh(workspace, dataset_id, scan) & {*present}
    wanted = [bucket for bucket in present if bucket in stale]
    problems = list(scan.problems)
    done: list[ProfiledBucket] = []
    cells = 0
    for chunk in _chunks(wanted, BUCKETS_PER_PASS):
        for bucket, profile, read in _profile_chunk(workspace, dataset, scan, chunk, problems):
            done.append(_write(workspace, dataset_id, scan.arrivals[bucket], profile, problems))
            cells += read
            if progress is not None:
                progress(len(done), len(wanted))
    if done:
        _learn_schema(workspace, dataset_id, done)
    return Profiled(
        buckets=tuple(done),
        unchanged=tuple(bucket for bucket in present if bucket not in stale),
        missing=tuple(bucket for bucket in asked if bucket not in scan.arrivals),
        problems=tuple(problems),
        cells=cells,
        seconds=time.perf_counter() - began,
    )


def analyze_batch(
    workspace: Workspace,
    dataset_id: str,
    buckets: Collection[datetime] | None = None,
    *,
    backfill: bool = True,
    run_id: str | None = None,
) -> Analyzed:
    """Run the analyzers that are due on the buckets (all, unless given) and write their results.

    A result is written once: what has been judged is not judged again. `backfill` lifts the grace period, because
    somebody asked for these buckets; readiness, cool-down and schedules hold all the same.
    """
    began = time.perf_counter()
    run_id = run_id or str(uuid.uuid4())
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    decision = _decide(workspace, dataset_id, backfill=backfill, window=_span(dataset, buckets))
    asked = None if buckets is None else {*buckets}
    due = tuple(item for item in decision.due if asked is None or item.bucket in asked)
    waiting = tuple(
        item for item in decision.waiting if asked is None or item.bucket is None or item.bucket in asked
    )
    analysis = analyze(
        workspace.store,
        ref,
        dataset.document,
        due,
        now=now,
        run_id=run_id,
        schema=workspace.entity_schema(dataset_id),
        metrics=dataset.metrics,
        backfill=backfill and buckets is not None,
    )
    written = results.write_results(
        workspace.store,
        ref,
        [result.to_row() for result in analysis.results],
        evaluated=[(item.analyzer_id, item.analyzer_version, item.bucket) for item in due],
        now=now,
    )
    fresh = tuple(result for result in analysis.results if result.analysis_id in written)
    return Analyzed(run_id, fresh, due, waiting, analysis.notes, time.perf_counter() - began)


def notify(workspace: Workspace, dataset_id: str) -> Notified:
    """Turn verdicts that nobody has been told of into incidents and digests in the outbox; `deliver` sends them.

    Run by run: what a run that died had found is told now, in the words it would have used then.
    """
    ref = workspace.ref(dataset_id)
    told = [_tell(workspace, dataset_id, run_id) for run_id in results.untold_runs(workspace.store, ref)]
    return Notified(
        digests=tuple(digest for part in told for digest in part.digests),
        incidents=tuple({incident.id: incident for part in told for incident in part.incidents}.values()),
        problems=tuple(dict.fromkeys(problem for part in told for problem in part.problems)),
    )


def _tell(workspace: Workspace, dataset_id: str, run_id: str) -> Notified:
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    verdicts = [AnalyzerResult.from_row(row) for row in results.results(workspace.store, ref, run_id=run_id)]
    touched = _update_incidents(workspace, dataset, verdicts)
    digests = build_digests(
        dataset.document, verdicts, now=now, run_id=run_id, organisation=ref.organisation, incidents=touched
    )
    recorded, problems = delivery.enqueue(
        workspace.store, ref, dataset.document, digests, configured_channels(workspace.settings), now=now
    )
    results.mark_told(workspace.store, ref, run_id, now=now)
    named = {incident.id for digest in recorded for incident in digest.incidents}
    return Notified(
        tuple(recorded), tuple(incident for incident in touched if incident.id in named), tuple(problems)
    )


def deliver(workspace: Workspace, *, channels: Mapping[str, Channel] | None = None) -> DeliveryReport:
    """Send what waits in the outbox, through the configured channels unless given. Safe at any time and again."""
    chosen = configured_channels(workspace.settings) if channels is None else channels
    return delivery.deliver(workspace.store, chosen, now=workspace.now())


def _update_incidents(
    workspace: Workspace, dataset: MonitoredDataset, verdicts: Sequence[AnalyzerResult]
) -> list[Incident]:
    """Open, extend, merge and resolve the dataset's incidents by new verdicts; returns those that are near them."""
    if not verdicts:
        return []
    ref, granularity = workspace.ref(dataset.id), dataset.spec.granularity
    window = TimeRange(
        granularity.shift(min(verdict.bucket for verdict in verdicts), -ECHO),
        granularity.shift(max(verdict.bucket for verdict in verdicts), ECHO + 1),
    )
    records = [
        *incidents.incidents(workspace.store, ref, window=window),
        *incidents.incidents(workspace.store, ref, status="open"),
    ]
    known = {str(record["id"]): Incident.from_json(record) for record in records}
    severities = {monitor.id: monitor.severity for monitor in dataset.document.monitors}
    analyzers = {analyzer.id: analyzer for analyzer in dataset.document.analyzers}
    grouped = group_incidents(verdicts, list(known.values()), severities=severities, analyzers=analyzers)
    incidents.save_incidents(
        workspace.store,
        ref,
        [incident.to_json() for incident in grouped],
        now=workspace.now(),
        merged=known.keys() - {incident.id for incident in grouped},
    )
    return grouped


def _fresh(workspace: Workspace, dataset_id: str, scan: Scan) -> set[datetime]:
    """Buckets that are over (or may be partial) and whose data is not what their profile was made from."""
    dataset, now = workspace.dataset(dataset_id), workspace.now()
    granularity, partial = dataset.spec.granularity, dataset.document.allow_partial_target_batches
    profiled = {
        row.bucket: row.fingerprint for row in profiles.batches(workspace.store, workspace.ref(dataset_id))
    }
    return {
        bucket
        for bucket, arrival in scan.arrivals.items()
        if profiled.get(bucket) != arrival.fingerprint and (partial or granularity.shift(bucket, 1) <= now)
    }


def _profile_chunk(
    workspace: Workspace,
    dataset: MonitoredDataset,
    scan: Scan,
    buckets: Sequence[datetime],
    problems: list[InputProblem],
) -> Iterator[tuple[datetime, DatasetProfile, int]]:
    """Profiles of neighbouring buckets, made in one pass over their files, with the cells read for each."""
    spec = dataset.spec
    profilers: dict[datetime, Profiler] = {}
    cells: Counter[datetime] = Counter()
    for piece in workspace.source(dataset.id).read(scan, buckets, problems=problems):
        if piece.bucket not in profilers:
            profilers[piece.bucket] = Profiler(
                spec.segments,
                settings=spec.profile,
                exclude=spec.exclude,
                roles=spec.columns,
                late=spec.outcomes is not None,
            )
        profilers[piece.bucket].update(piece.batch, adds_rows=piece.part == "rows")
        cells[piece.bucket] += piece.batch.num_rows * piece.batch.num_columns
    changed = {bucket for problem in problems if problem.kind == "changed" for bucket in problem.buckets}
    for bucket in sorted(profilers):
        if bucket not in changed:
            yield bucket, profilers[bucket].finish(), cells[bucket]


def _write(
    workspace: Workspace,
    dataset_id: str,
    arrival: Arrival,
    profile: DatasetProfile,
    problems: Sequence[InputProblem],
) -> ProfiledBucket:
    quality = problem_counts(problem for problem in problems if arrival.bucket in problem.buckets)
    version = profiles.write_batch(
        workspace.store,
        workspace.ref(dataset_id),
        arrival.bucket,
        profile,
        fingerprint=arrival.fingerprint,
        first_upload=arrival.first_upload,
        last_upload=arrival.last_upload,
        files=arrival.files,
        quality=quality,
        now=workspace.now(),
    )
    return ProfiledBucket(
        bucket=arrival.bucket,
        rows=profile.rows.get(OVERALL, 0),
        columns=len(profile.columns.get(OVERALL, {})),
        segments=len(profile.rows),
        version=version,
        problems=quality,
    )


def _learn_schema(workspace: Workspace, dataset_id: str, done: Sequence[ProfiledBucket]) -> None:
    """Infer the entity schema from the newest bucket that was profiled; columns seen before stay known."""
    ref, granularity = workspace.ref(dataset_id), workspace.dataset(dataset_id).spec.granularity
    newest = max(bucket.bucket for bucket in done)
    seen = profiles.series(
        workspace.store,
        ref,
        SCHEMA_SCALARS,
        TimeRange.of_bucket(newest, granularity),
        granularity=granularity,
        segments=[OVERALL],
    )
    inferred = infer_schema(seen)
    known = entity_schema.schema(workspace.store, ref)
    merged = inferred if known is None else EntitySchema.model_validate(known).overridden_by(inferred)
    entity_schema.save_schema(
        workspace.store,
        ref,
        merged.model_dump(mode="json", by_alias=True, exclude_unset=True),
        now=workspace.now(),
    )


def _decide(
    workspace: Workspace,
    dataset_id: str,
    *,
    arrivals: Mapping[datetime, Arrival] | None = None,
    window: TimeRange | None = None,
    backfill: bool,
) -> Decision:
    """What the gates say, over the batches in the store and those that have arrived since."""
    dataset, ref = workspace.dataset(dataset_id), workspace.ref(dataset_id)
    rows: dict[datetime, int] = {}
    last_upload: dict[datetime, datetime] = {}
    for batch in profiles.batches(workspace.store, ref):
        rows[batch.bucket], last_upload[batch.bucket] = batch.rows, batch.last_upload
    for bucket, arrival in (arrivals or {}).items():
        rows[bucket], last_upload[bucket] = arrival.rows, arrival.last_upload
    return decide(
        dataset.document,
        facts=BatchFacts(rows, last_upload, min(rows, default=None)),
        calculated={
            (analyzer_id, version, from_micros(bucket))
            for analyzer_id, version, bucket in results.calculated(workspace.store, ref)
        },
        now=workspace.now(),
        window=window,
        backfill=backfill,
        unable=unable(dataset.document, metrics=dataset.metrics),
    )


def _span(dataset: MonitoredDataset, buckets: Collection[datetime] | None) -> TimeRange | None:
    """The shortest range that holds the buckets."""
    if not buckets:
        return None
    return TimeRange(min(buckets), dataset.spec.granularity.shift(max(buckets), 1))


def _chunks(buckets: Sequence[datetime], size: int) -> Iterator[Sequence[datetime]]:
    for first in range(0, len(buckets), size):
        yield buckets[first : first + size]
