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

from monitoring_pipeline import readiness
from monitoring_pipeline.alerting import delivery
from monitoring_pipeline.alerting.channels import Channel, configured_channels
from monitoring_pipeline.alerting.delivery import DeliveryReport
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.incidents import ECHO, Incident, group_incidents
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.findings import Findings
from monitoring_pipeline.analysis.gates import Due, Waiting
from monitoring_pipeline.analysis.passes import passes
from monitoring_pipeline.analysis.reach import reach_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.analysis.schema_inference import SCALARS as SCHEMA_SCALARS
from monitoring_pipeline.analysis.schema_inference import infer_schema
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.profiling.merging import ProfileMerger
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import Profiler
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.sources.base import Arrival, InputProblem, ProfilePiece, Scan, problem_counts
from monitoring_pipeline.store import entity_schema, incidents, profiles, results
from monitoring_pipeline.timegrid import TimeRange
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
    results: Findings
    """All that are new; of a backfill in several passes only the anomalies."""
    count: int
    """New results."""
    failures: int
    """New results without a verdict."""
    due: tuple[Due, ...]
    waiting: tuple[Waiting, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def anomalies(self) -> tuple[AnalyzerResult, ...]:
        return self.results.anomalies


@dataclass(frozen=True)
class Notified:
    """What `notify` recorded: digests that are new, the incidents they tell of, actions that lead nowhere."""

    digests: tuple[Digest, ...]
    incidents: tuple[Incident, ...]
    problems: tuple[str, ...]


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
    dataset, scan = workspace.dataset(dataset_id), readiness.discover(workspace, dataset_id)
    asked = sorted(scan.arrivals if buckets is None else buckets)
    present = [bucket for bucket in asked if bucket in scan.arrivals]
    stale = {*present} if again else readiness.fresh(workspace, dataset_id, scan) & {*present}
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
    somebody asked for these buckets; readiness, cool-down and schedules hold all the same. Many buckets are judged in
    passes, oldest first, each written in one transaction.
    """
    began = time.perf_counter()
    run_id = run_id or str(uuid.uuid4())
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    decision = readiness.decision(workspace, dataset_id, backfill=backfill, window=_span(dataset, buckets))
    asked = None if buckets is None else {*buckets}
    due = tuple(item for item in decision.due if asked is None or item.bucket in asked)
    waiting = tuple(
        item for item in decision.waiting if asked is None or item.bucket is None or item.bucket in asked
    )
    found: list[Findings] = []
    notes: dict[str, None] = {}
    count = failures = 0
    parts = list(passes(workspace.store, ref, dataset.document, due))
    for part in parts:
        analysis = analyze(
            workspace.store,
            ref,
            dataset.document,
            part,
            now=now,
            run_id=run_id,
            schema=workspace.entity_schema(dataset_id),
            metrics=dataset.metrics,
            backfill=backfill and buckets is not None,
        )
        written = results.write_tables(
            workspace.store,
            ref,
            (block.to_table() for block in analysis.results.blocks),
            evaluated=[(item.analyzer_id, item.analyzer_version, item.bucket) for item in part],
            now=now,
        )
        fresh = analysis.results.among(written)
        count, failures = count + len(fresh), failures + fresh.failures
        found.append(fresh if len(parts) == 1 else fresh.only_anomalies())
        notes |= dict.fromkeys(analysis.notes)
    return Analyzed(
        run_id=run_id,
        results=Findings(block for one in found for block in one.blocks),
        count=count,
        failures=failures,
        due=due,
        waiting=waiting,
        notes=tuple(notes),
        seconds=time.perf_counter() - began,
    )


def notify(workspace: Workspace, dataset_id: str, *, quietly: bool = False) -> Notified:
    """Turn verdicts that nobody has been told of into incidents and digests in the outbox; `deliver` sends them.

    Run by run: what a run that died had found is told now, in the words it would have used then. `quietly` keeps the
    incidents and records no digest, for a past that nobody needs to be woken for.
    """
    ref = workspace.ref(dataset_id)
    told = [
        _tell(workspace, dataset_id, run_id, quietly=quietly)
        for run_id in results.untold_runs(workspace.store, ref)
    ]
    return Notified(
        digests=tuple(digest for part in told for digest in part.digests),
        incidents=tuple({incident.id: incident for part in told for incident in part.incidents}.values()),
        problems=tuple(dict.fromkeys(problem for part in told for problem in part.problems)),
    )


def _tell(workspace: Workspace, dataset_id: str, run_id: str, *, quietly: bool) -> Notified:
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    verdicts = [AnalyzerResult.from_row(row) for row in results.results(workspace.store, ref, run_id=run_id)]
    touched = _update_incidents(workspace, dataset, verdicts)
    told = results.alarmed_before(workspace.store, ref, run_id)
    digests = (
        []
        if quietly
        else build_digests(
            dataset.document,
            [verdict for verdict in verdicts if verdict.analysis_id not in told],
            now=now,
            run_id=run_id,
            organisation=ref.organisation,
            incidents=touched,
        )
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
    mergers: dict[datetime, ProfileMerger] = {}
    cells: Counter[datetime] = Counter()
    for piece in workspace.source(dataset.id).read(scan, buckets, problems=problems):
        if isinstance(piece, ProfilePiece):
            if piece.bucket not in mergers:
                mergers[piece.bucket] = ProfileMerger(
                    spec.segments,
                    settings=spec.profile,
                    exclude=spec.exclude,
                    positive=spec.columns.positive,
                )
            mergers[piece.bucket].update(piece.profile)
            continue
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
    made = {**profilers, **mergers}
    for bucket in sorted(made):
        if bucket not in changed:
            profile = made[bucket].finish()
            problems += _told_by(profile, dataset.id, bucket)
            yield bucket, profile, cells[bucket]


def _told_by(profile: DatasetProfile, dataset_id: str, bucket: datetime) -> list[InputProblem]:
    """What the profile warns about, as problems of its bucket."""
    place = f"{dataset_id}, bucket {bucket:%Y-%m-%d %H:%M}"
    return [InputProblem(one.kind, place, str(one), buckets=(bucket,)) for one in profile.warnings]


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
        resting=list(_resting(workspace, dataset_id, arrival.bucket)),
    )
    return ProfiledBucket(
        bucket=arrival.bucket,
        rows=profile.rows.get(OVERALL, 0),
        columns=len(profile.columns.get(OVERALL, {})),
        segments=len(profile.rows),
        version=version,
        problems=quality,
    )


def _resting(workspace: Workspace, dataset_id: str, bucket: datetime) -> Iterator[results.Resting]:
    """Verdicts on other buckets, and of other datasets, whose baselines hold the bucket."""
    for other in workspace.catalog.datasets.values():
        itself = other.id == dataset_id
        for reach in reach_of(other.document, bucket, dataset_id=None if itself else dataset_id):
            ref = workspace.ref(other.id)
            yield results.Resting(ref, reach.analyzer_id, reach.window, reach.any_segment)


def _learn_schema(workspace: Workspace, dataset_id: str, done: Sequence[ProfiledBucket]) -> None:
    """Infer the entity schema from what was profiled: the dataset's newest bucket says what its columns are now.

    Older buckets, such as those whose outcomes have come, only add columns that are not known yet, newest first.
    """
    ref, granularity = workspace.ref(dataset_id), workspace.dataset(dataset_id).spec.granularity
    newest = max(row.bucket for row in profiles.batches(workspace.store, ref))
    known = EntitySchema.model_validate(entity_schema.schema(workspace.store, ref) or {})
    for bucket in sorted((one.bucket for one in done), reverse=True)[:BUCKETS_PER_PASS]:
        seen = profiles.series(
            workspace.store,
            ref,
            SCHEMA_SCALARS,
            TimeRange.of_bucket(bucket, granularity),
            granularity=granularity,
            segments=[OVERALL],
        )
        inferred = infer_schema(seen)
        known = known.overridden_by(inferred) if bucket == newest else inferred.overridden_by(known)
    entity_schema.save_schema(
        workspace.store,
        ref,
        known.model_dump(mode="json", by_alias=True, exclude_unset=True),
        now=workspace.now(),
    )


def _span(dataset: MonitoredDataset, buckets: Collection[datetime] | None) -> TimeRange | None:
    """The shortest range that holds the buckets."""
    if not buckets:
        return None
    return TimeRange(min(buckets), dataset.spec.granularity.shift(max(buckets), 1))


def _chunks(buckets: Sequence[datetime], size: int) -> Iterator[Sequence[datetime]]:
    for first in range(0, len(buckets), size):
        yield buckets[first : first + size]
