"""The pipeline in five steps: `profile_batch`, `roll_up`, `analyze_batch`, `notify`, `deliver`.

A batch becomes profiles; profiles become metrics; metrics against a baseline become results; results become a
digest. Everything that runs the pipeline (Dagster, the command line, notebooks, tests) calls these functions and
nothing else. Each is idempotent per dataset and bucket: running it again changes nothing.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from monitoring_pipeline import moments, outgoing, readiness, showing
from monitoring_pipeline.alerting.channels import Channel, configured_channels
from monitoring_pipeline.alerting.delivery import DeliveryReport
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.incidents import Incident, Series, group_incidents, with_likely_cause
from monitoring_pipeline.alerting.joining import RETURN
from monitoring_pipeline.alerting.news import News, Said, reopened
from monitoring_pipeline.alerting.routes import address
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.findings import Findings
from monitoring_pipeline.analysis.gates import Due, Waiting
from monitoring_pipeline.analysis.needs import looked_at
from monitoring_pipeline.analysis.passes import passes
from monitoring_pipeline.analysis.reach import reach_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.analysis.schema_inference import SCALARS as SCHEMA_SCALARS
from monitoring_pipeline.analysis.schema_inference import infer_schema
from monitoring_pipeline.config.channels import load_channels
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.links import Links
from monitoring_pipeline.moments import Spoken
from monitoring_pipeline.profiling.merging import ProfileMerger
from monitoring_pipeline.profiling.privacy import Privacy
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import Profiler
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.sources.base import Arrival, InputProblem, ProfilePiece, Scan, problem_counts
from monitoring_pipeline.store import (
    deletion,
    entity_schema,
    held_back,
    incidents,
    profiles,
    results,
    retention,
    rollups,
    telling,
    work,
)
from monitoring_pipeline.store.deletion import Deletion
from monitoring_pipeline.store.retention import Limits, Retired
from monitoring_pipeline.store.rollups import RolledUp
from monitoring_pipeline.store.telling import Telling
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

BUCKETS_PER_PASS = 64
"""Buckets that are profiled in one pass over their files; bounds memory on long backfills."""

LONGEST_WRITE = timedelta(minutes=5)
"""A batch is in the store so long after the moment that it carries, at the latest."""

_EVER = datetime(1970, 1, 1, tzinfo=UTC)

_QUIET = "quiet-"

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
    _learn_schema(workspace, dataset_id, {one.bucket for one in done})
    return Profiled(
        buckets=tuple(done),
        unchanged=tuple(bucket for bucket in present if bucket not in stale),
        missing=tuple(bucket for bucket in asked if bucket not in scan.arrivals),
        problems=tuple(problems),
        cells=cells,
        seconds=time.perf_counter() - began,
    )


def new_run(*, quietly: bool = False) -> str:
    """A name for a run of analyzers. Of one that goes `quietly` `notify` tells nobody, whoever calls it and when.

    The name says so itself, because the run may die before it comes to `notify`, or another process may come first.
    """
    return f"{_QUIET if quietly else ''}{uuid.uuid4()}"


def roll_up(workspace: Workspace, dataset_id: str) -> RolledUp:
    """Merge what was profiled into days, weeks and months, where they are over and something in them has changed.

    Costs next to nothing when nothing has. Analysis does not wait for it: it reads the dataset's own buckets.
    """
    granularity = workspace.dataset(dataset_id).spec.granularity
    return rollups.roll_up(workspace.store, workspace.ref(dataset_id), granularity, now=workspace.now())


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
    run_id = run_id or new_run()
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


def notify(workspace: Workspace, dataset_id: str) -> Notified:
    """Turn verdicts that nobody has been told of into incidents and digests in the outbox; `deliver` sends them.

    Run by run: what a run that died had found is told now, in the words it would have used then. A run that went quietly
    (`new_run`) changes the incidents and leaves no digest, for a past that nobody needs to be woken for. What monitors
    with a schedule hold back is told once their moment has come, with or without new data.
    """
    ref = workspace.ref(dataset_id)
    told: list[Notified | Spoken] = [
        _tell(workspace, dataset_id, run_id) for run_id in results.untold_runs(workspace.store, ref)
    ]
    told.append(moments.speak(workspace, dataset_id, address=_addressing(workspace, dataset_id)))
    return Notified(
        digests=tuple(digest for part in told for digest in part.digests),
        incidents=tuple({incident.id: incident for part in told for incident in part.incidents}.values()),
        problems=tuple(dict.fromkeys(problem for part in told for problem in part.problems)),
    )


def _tell(workspace: Workspace, dataset_id: str, run_id: str) -> Notified:
    """Tell of a run once, in one transaction. Also of what has been superseded since: nobody has heard of it."""
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    found = results.results(workspace.store, ref, run_id=run_id, state=None, anomalies_only=True)
    anomalies = [AnalyzerResult.from_row(row) for row in found]
    judged = results.extent(workspace.store, ref, run_id)
    normal = results.normal_since(workspace.store, ref, run_id)
    old = results.alarmed_before(workspace.store, ref, run_id)
    new = [] if run_id.startswith(_QUIET) else [one for one in anomalies if one.analysis_id not in old]
    to_whom = _addressing(workspace, dataset_id)
    roughly = build_digests(dataset.document, new, now=now, run_id=run_id, monitors=moments.at_once(dataset))
    finish = showing.finishing(workspace, dataset_id, roughly, anomalies, normal)
    upstream = _upstream(workspace, dataset, judged) if new else []
    touched: list[Incident] = []
    addressed: Sequence[tuple[Digest, Sequence[str]]] = []
    problems: Sequence[str] = []

    def tell(records: Sequence[Mapping[str, object]]) -> Telling:
        nonlocal touched, addressed, problems
        known = [Incident.from_json(record) for record in records]
        regrouped = _regrouped(dataset, anomalies, known, normal=normal) if judged else known
        touched = [with_likely_cause(one, upstream) for one in regrouped]
        news = News.of(touched, {str(record["id"]): Said.of(record) for record in records})
        heard = [one for one in new if not news.is_muted(one)]
        digests: dict[str, list[Digest]] = {}
        for monitor in sorted(moments.at_once(dataset), key=lambda one: one.severity):
            digests[monitor.id] = build_digests(
                dataset.document,
                news.of_monitor(monitor, new, now=now),
                now=now,
                run_id=run_id,
                organisation=ref.organisation,
                incidents=touched,
                monitors=[monitor],
            )
            for digest in digests[monitor.id]:
                news = news.told_by(monitor, digest.incidents)
        touched = list(news.incidents.values())
        in_order = [one for monitor in dataset.document.monitors for one in digests.get(monitor.id, ())]
        addressed, problems = to_whom([finish(one) for one in in_order])
        return Telling(
            [incident.to_json() for incident in touched],
            {incident.id for incident in known} - {incident.id for incident in touched},
            [(digest.to_json(), names) for digest, names in addressed],
            moments.to_be_held(dataset, heard, now=now),
            reopened(known, touched),
        )

    keys = telling.tell_run(workspace.store, ref, run_id, tell, window=_near(dataset, judged), now=now)
    recorded = [digest for digest, _ in addressed if digest.dedup_key in keys]
    named = {incident.id for digest in recorded for incident in digest.incidents}
    return Notified(
        tuple(recorded), tuple(incident for incident in touched if incident.id in named), tuple(problems)
    )


def _addressing(workspace: Workspace, dataset_id: str) -> moments.Address:
    """Where the digests of a dataset lead and to whom they go."""
    document = workspace.dataset(dataset_id).document
    channels, rules = configured_channels(workspace.settings), load_channels(workspace.home)

    def address_all(digests: Sequence[Digest]) -> tuple[list[tuple[Digest, Sequence[str]]], list[str]]:
        linked = [replace(one, link=_page_of(workspace, one)) for one in digests]
        return address(document, linked, channels, routes=rules.routes)

    return address_all


def holding(workspace: Workspace) -> list[str]:
    """The datasets some of whose monitors hold something back for the moment of their schedule."""
    return sorted(held_back.waiting(workspace.store) & workspace.catalog.datasets.keys())


def tell_what_is_due(
    workspace: Workspace, dataset_id: str, pending: readiness.Pending | None = None
) -> Notified:
    """Record the digests of monitors whose moment has come since the last run. `pending` saves looking for data again."""
    if not moments.due(workspace, dataset_id, pending):
        return Notified((), (), ())
    spoken = moments.speak(workspace, dataset_id, address=_addressing(workspace, dataset_id), pending=pending)
    return Notified(spoken.digests, spoken.incidents, spoken.problems)


def deliver(workspace: Workspace, *, channels: Mapping[str, Channel] | None = None) -> DeliveryReport:
    """Send what waits in the outbox, through the configured channels unless given. Safe at any time and again.

    First what has become due without a run is recorded: what monitors held back until now (`tell_what_is_due`), and what
    is to be said of incidents and channels (`outgoing`).
    """
    for dataset_id in holding(workspace):
        tell_what_is_due(workspace, dataset_id)
    return outgoing.send(workspace, channels=channels)


def retire(
    workspace: Workspace, dataset_id: str, *, dry_run: bool = False, actor: str | None = None
) -> Retired:
    """Remove what is older than the dataset's `retention` says, finest profiles first; with `dry_run` only say what.

    A bucket's own profiles stay while roll-ups do not hold what they say, and while analyzers may still look at them.
    """
    store, ref, now = workspace.store, workspace.ref(dataset_id), workspace.now()
    kept, granularity = workspace.retention(dataset_id), workspace.dataset(dataset_id).spec.granularity
    limits = Limits(
        {
            grain: length.before(now)
            for grain, length in zip(
                ("base", "day", "week", "month"),
                (kept.base, kept.daily, kept.weekly, kept.monthly),
                strict=True,
            )
            if length is not None
        },
        results=None if kept.results is None else kept.results.before(now),
        superseded=None if kept.superseded is None else kept.superseded.before(now),
    )
    looked = [
        window
        for other in workspace.catalog.datasets.values()
        for _, window in looked_at(
            other.document, now, dataset_id=None if other.id == dataset_id else dataset_id
        )
    ]
    if dry_run:
        return retention.plan(store, ref, granularity, limits, keep=looked)
    roll_up(workspace, dataset_id)
    who = actor or workspace.author
    return retention.retire(store, ref, granularity, limits, keep=looked, now=now, actor=who)


def delete(workspace: Workspace, dataset_id: str, window: TimeRange, *, actor: str | None = None) -> Deletion:
    """Delete the buckets of a window and all that derives from them (`store.deletion.delete_range`), and roll up again.

    Their data stays where it is and is profiled again only when somebody asks for it (`again`).
    """
    ref, granularity = workspace.ref(dataset_id), workspace.dataset(dataset_id).spec.granularity
    reached: dict[tuple[str, str], results.Resting] = {}
    for batch in profiles.batches(workspace.store, ref, window):
        for one in _resting(workspace, dataset_id, batch.bucket):
            before = reached.get((one.ref.dataset_id, one.analyzer_id), one)
            whole = TimeRange(
                min(before.window.start, one.window.start), max(before.window.end, one.window.end)
            )
            reached[one.ref.dataset_id, one.analyzer_id] = replace(one, window=whole)
    gone = deletion.delete_range(
        workspace.store,
        ref,
        granularity,
        window,
        resting=reached.values(),
        actor=actor or workspace.author,
        now=workspace.now(),
    )
    roll_up(workspace, dataset_id)
    return gone


def _page_of(workspace: Workspace, digest: Digest) -> str:
    """Where a digest leads: the dashboard if there is one, else Dagster's page of the newest bucket that it tells of."""
    links, bucket = Links.of(workspace.settings), digest.last_bucket
    return links.on_dashboard(digest.dataset, bucket) or links.bucket(
        digest.dataset, digest.granularity, bucket
    )


def _regrouped(
    dataset: MonitoredDataset,
    anomalies: Sequence[AnalyzerResult],
    known: Sequence[Incident],
    *,
    normal: Mapping[Series, datetime],
) -> list[Incident]:
    """The incidents near new verdicts: opened, extended, merged and resolved by them."""
    severities = {monitor.id: monitor.severity for monitor in dataset.document.monitors}
    analyzers = {analyzer.id: analyzer for analyzer in dataset.document.analyzers}
    return group_incidents(anomalies, known, severities=severities, analyzers=analyzers, normal=normal)


def _upstream(
    workspace: Workspace, dataset: MonitoredDataset, judged: tuple[datetime, datetime] | None
) -> list[tuple[str, Incident]]:
    """Incidents near these buckets of the datasets that this one is made from, directly or not."""
    names, found, window = list(dataset.spec.upstream), list[tuple[str, Incident]](), _near(dataset, judged)
    for name in names:  # grows
        if name == dataset.id or name not in workspace.catalog.datasets:
            continue
        names += [one for one in workspace.dataset(name).spec.upstream if one not in names]
        records = incidents.incidents(workspace.store, workspace.ref(name), window=window)
        found += [(name, Incident.from_json(record)) for record in records]
    return found


def _near(dataset: MonitoredDataset, judged: tuple[datetime, datetime] | None) -> TimeRange:
    """Where incidents lie that verdicts on these buckets, from the first to the last, may change, besides open ones."""
    granularity = dataset.spec.granularity
    first, last = judged or (granularity.floor(_EVER),) * 2
    return TimeRange(granularity.shift(first, -RETURN), granularity.shift(last, RETURN + 1))


def _profile_chunk(
    workspace: Workspace,
    dataset: MonitoredDataset,
    scan: Scan,
    buckets: Sequence[datetime],
    problems: list[InputProblem],
) -> Iterator[tuple[datetime, DatasetProfile, int]]:
    """Profiles of neighbouring buckets, made in one pass over their files, with the cells read for each."""
    spec, secret = dataset.spec, workspace.settings.privacy_key
    key = None if secret is None else secret.get_secret_value()
    privacy = Privacy.of(spec.privacy, key=key, roles=spec.columns)
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
                    privacy=privacy,
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
                privacy=privacy,
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


def _learn_schema(workspace: Workspace, dataset_id: str, done: Collection[datetime]) -> None:
    """Infer the entity schema from what was profiled: the dataset's newest bucket says what its columns are now.

    Older buckets, such as those whose outcomes have come, only add columns that are not known yet, newest first. Besides
    the buckets that are `done` those count that were written since the schema was last learned: whoever wrote them may
    have died before it could learn.
    """
    ref, now = workspace.ref(dataset_id), workspace.now()
    granularity = workspace.dataset(dataset_id).spec.granularity
    learned = entity_schema.learned_at(workspace.store, ref)
    _, recent = work.profiled_since(workspace.store, ref, learned - LONGEST_WRITE if learned else _EVER)
    fresh = {*done, *(one.bucket for one in recent)}
    held = work.span(workspace.store, ref)
    if not fresh or held is None:
        return
    known = EntitySchema.model_validate(entity_schema.schema(workspace.store, ref) or {})
    for bucket in sorted(fresh, reverse=True)[:BUCKETS_PER_PASS]:
        seen = profiles.series(
            workspace.store,
            ref,
            SCHEMA_SCALARS,
            TimeRange.of_bucket(bucket, granularity),
            granularity=granularity,
            segments=[OVERALL],
        )
        inferred = infer_schema(seen)
        known = known.overridden_by(inferred) if bucket == held.last else inferred.overridden_by(known)
    entity_schema.save_schema(
        workspace.store,
        ref,
        known.model_dump(mode="json", by_alias=True, exclude_unset=True),
        now=now,
    )


def _span(dataset: MonitoredDataset, buckets: Collection[datetime] | None) -> TimeRange | None:
    """The shortest range that holds the buckets."""
    if not buckets:
        return None
    return TimeRange(min(buckets), dataset.spec.granularity.shift(max(buckets), 1))


def _chunks(buckets: Sequence[datetime], size: int) -> Iterator[Sequence[datetime]]:
    for first in range(0, len(buckets), size):
        yield buckets[first : first + size]
