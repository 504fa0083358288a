"""What is to be done for a dataset now, what waits for what until when, and what was given up. Decides; does nothing.

Data is looked for where it lands, compared with what the store has profiled, and the gates say which analyzers are due
on which buckets. Whoever launches runs (the sensor) or tells people (`monitor status`) asks here.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import cast

from monitoring_pipeline.analysis.engine import unable
from monitoring_pipeline.analysis.gates import (
    BatchFacts,
    Decision,
    Due,
    Gate,
    Waiting,
    decide,
    default_grace,
    forgotten,
    grace_of,
    ready_at,
)
from monitoring_pipeline.analysis.reach import buckets_before
from monitoring_pipeline.sources.base import Arrival, FileEntry, Scan
from monitoring_pipeline.store import files, profiles, results, retention, work
from monitoring_pipeline.store.rollups import DELETED, RETIRED
from monitoring_pipeline.store.work import Failure
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

ATTEMPTS = 3
"""Runs that may fail on a bucket before its work is given up, until its data or its document changes."""

_LONGEST_READINESS = timedelta(days=400)
"""A dataset that may take longer is never late."""

BUCKETS_PER_RUN = {
    Granularity.QUARTER_HOURLY: 96,
    Granularity.HOURLY: 24,
    Granularity.DAILY: 31,
    Granularity.WEEKLY: 13,
    Granularity.MONTHLY: 12,
}


@dataclass(frozen=True)
class Facts:
    """What a decision rests on: data that is not profiled yet, and what the store knows inside the grace."""

    since: datetime
    """The oldest bucket inside the grace, or a little older."""
    changed: Mapping[datetime, Arrival]
    """Data that is not what its bucket's profile was made from, whether the bucket is over or not."""
    batches: BatchFacts
    calculated: AbstractSet[tuple[str, str, datetime]]
    last: datetime | None
    """The newest bucket with data."""
    held: int = 0
    """Buckets that the store holds."""


@dataclass(frozen=True)
class Request:
    """Neighbouring buckets that one run should do, and how often a run has failed at it. `work` names what it is."""

    first: datetime
    last: datetime
    work: str
    attempts: int


@dataclass(frozen=True)
class Pending:
    """What is to be done for a dataset now, and what has to wait."""

    dataset_id: str
    granularity: Granularity
    profile: tuple[datetime, ...]
    """Buckets that are over and whose data is new or changed, ascending."""
    due: tuple[Due, ...]
    waiting: tuple[Waiting, ...]
    arrivals: Mapping[datetime, Arrival]
    """The data of the buckets that are to be profiled."""
    failed: Mapping[datetime, Failure]
    """Buckets on which this very work has failed before."""
    overdue: str | None
    """In words, when no data has come for longer than expected."""
    again: datetime
    """When time alone may change the answer; before, only data, results or a document can."""

    @cached_property
    def buckets(self) -> tuple[datetime, ...]:
        """Buckets with anything to do, ascending."""
        return tuple(sorted({*self.profile, *(due.bucket for due in self.due)}))

    @cached_property
    def work(self) -> Mapping[datetime, str]:
        """What is to be done on each bucket, as a short text that is the same as long as that is."""
        parts: dict[datetime, list[str]] = {bucket: [] for bucket in self.buckets}
        for bucket in self.profile:
            parts[bucket].append(self.arrivals[bucket].fingerprint)
        for due in self.due:
            parts[due.bucket].append(f"{due.analyzer_id}:{due.analyzer_version}")
        return {bucket: _digest(sorted(lines)) for bucket, lines in parts.items()}

    @property
    def given_up(self) -> tuple[Failure, ...]:
        """Work that failed too often to be tried again as it is."""
        return tuple(one for one in self.failed.values() if one.attempts >= ATTEMPTS)

    def requests(self, start: datetime) -> Iterator[Request]:
        """The runs to ask for, ascending, of buckets from `start` on.

        Neighbouring buckets share a run. A bucket on which a run has failed gets one of its own, so that it holds up
        no other; one that was given up gets none.
        """
        fresh = [bucket for bucket in self.buckets if bucket >= start and bucket not in self.failed]
        alone = [
            (one.bucket, one.bucket)
            for one in self.failed.values()
            if one.attempts < ATTEMPTS and one.bucket >= start
        ]
        for first, last in sorted([*ranges(fresh, self.granularity), *alone]):
            inside = [
                self.work[bucket]
                for bucket in self.buckets[
                    bisect_left(self.buckets, first) : bisect_right(self.buckets, last)
                ]
            ]
            failed = self.failed.get(first)
            yield Request(first, last, _digest(inside), failed.attempts if failed else 0)

    def todo(self, *, every: bool = False) -> list[str]:
        """What is due, in words: buckets to profile, and a line for each analyzer; or one for `every` bucket as well."""
        if every:
            return [
                *(f"profiling is due on {_moment(bucket)}" for bucket in self.profile),
                *(f"{due.analyzer_id} is due on {_moment(due.bucket)}" for due in self.due),
            ]
        by_analyzer: dict[str, list[datetime]] = {}
        for due in self.due:
            by_analyzer.setdefault(due.analyzer_id, []).append(due.bucket)
        lines = [f"profiling is due on {span_in_words(self.profile)}"] if self.profile else []
        return [
            *lines,
            *(f"{name} is due on {span_in_words(buckets)}" for name, buckets in by_analyzer.items()),
        ]

    def summary(self, *, every: bool = False) -> list[str]:
        """What waits and for what, in words: one line for each analyzer and reason; or for `every` bucket."""
        if every:
            return [
                f"{one.analyzer_id} on {_moment(one.bucket)}: {one.reason}"
                if one.bucket is not None
                else f"{one.analyzer_id}: {one.reason}"
                for one in self.waiting
            ]
        lines: list[str] = []
        for (analyzer_id, gate), group in _grouped(self.waiting).items():
            nearest = min(group, key=lambda one: one.until or datetime.max.replace(tzinfo=self.again.tzinfo))
            if nearest.bucket is None:
                lines.append(f"{analyzer_id}: {nearest.reason}")
            elif len(group) == 1:
                lines.append(f"{analyzer_id} on {_moment(nearest.bucket)}: {nearest.reason}")
            else:
                buckets = [one.bucket for one in group if one.bucket is not None]
                lines.append(
                    f"{analyzer_id}: {gate.value}, {span_in_words(buckets)}; "
                    f"first {_moment(nearest.bucket)}: {nearest.reason}"
                )
        return lines

    def trouble(self) -> list[str]:
        """What will not mend itself, in words: work that was given up, data that does not come."""
        lines = [
            f"{_moment(one.bucket)} was given up after {one.attempts} failed runs, the last at "
            f"{_moment(one.failed_at)} UTC ({one.run_id}): {one.error}; it is tried again when its data or the "
            f"document changes, or by `monitor run {self.dataset_id} --from {one.bucket:%Y-%m-%dT%H:%M} "
            f"--to {self.granularity.shift(one.bucket, 1):%Y-%m-%dT%H:%M}`"
            for one in self.given_up
        ]
        return [*lines, *([self.overdue] if self.overdue else [])]


def discover(workspace: Workspace, dataset_id: str) -> Scan:
    """Look for the dataset's files; those seen before are not read again."""
    ref = workspace.ref(dataset_id)
    known = {
        path: FileEntry.from_json(entry) for path, entry in files.known_files(workspace.store, ref).items()
    }
    scan = workspace.source(dataset_id).scan(known, as_of=workspace.as_of)
    found = {entry.path: entry for entry in scan.files}
    differing = {path: entry.to_json() for path, entry in found.items() if known.get(path) is not entry}
    files.save_files(workspace.store, ref, differing, gone=known.keys() - found.keys())
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


def fresh(workspace: Workspace, dataset_id: str, scan: Scan) -> set[datetime]:
    """Buckets that are over (or may be partial) and whose data is not what their profile was made from.

    What a person has deleted is not among them, whatever has become of its data.
    """
    return {*_over(workspace, dataset_id, _differing(workspace, dataset_id, scan.arrivals))}


def decision(
    workspace: Workspace, dataset_id: str, *, window: TimeRange | None = None, backfill: bool
) -> Decision:
    """What the gates say of the batches in the store; of those of a window, or of all. `backfill` lifts the grace."""
    if window is None and not backfill:
        window_read = inside_grace(workspace.dataset(dataset_id), workspace.now())
    else:
        window_read = window
    known = _facts(workspace, dataset_id, {}, window_read)
    return _decide(workspace, dataset_id, known, window=window, backfill=backfill)


def pending(workspace: Workspace, dataset_id: str) -> Pending:
    """What is due now: buckets whose data is new or changed, and analyzers on them."""
    scan = discover(workspace, dataset_id)
    failed = work.failures(workspace.store, workspace.ref(dataset_id))
    return pending_by(workspace, dataset_id, facts(workspace, dataset_id, scan), failed)


def facts(workspace: Workspace, dataset_id: str, scan: Scan) -> Facts:
    """What a decision now rests on. Reads which data every bucket was profiled from, and else only the grace."""
    profiled = work.fingerprints(workspace.store, workspace.ref(dataset_id))
    window = inside_grace(workspace.dataset(dataset_id), workspace.now())
    changed = _differing(workspace, dataset_id, scan.arrivals, profiled)
    return replace(_facts(workspace, dataset_id, changed, window), held=len(profiled))


def discover_more(workspace: Workspace, dataset_id: str, before: Scan, since: datetime) -> Scan | None:
    """Look for files that have come since a scan; None when more has happened than that (`FilesSource.scan_more`)."""
    scan = workspace.source(dataset_id).scan_more(before, since, as_of=workspace.as_of)
    if scan is not None:
        added = {entry.path: entry.to_json() for entry in scan.added}
        files.save_files(workspace.store, workspace.ref(dataset_id), added)
    return scan


def facts_after_arrivals(workspace: Workspace, dataset_id: str, before: Facts, scan: Scan) -> Facts:
    """The same after files have come, by a scan that tells of the buckets from `before.since` on."""
    older = {bucket: arrival for bucket, arrival in before.changed.items() if bucket < before.since}
    return facts_after_writing(workspace, dataset_id, replace(before, changed={**older, **scan.arrivals}))


def facts_after_writing(workspace: Workspace, dataset_id: str, before: Facts) -> Facts:
    """The same after somebody wrote to the store, while the data that has arrived is what it was."""
    changed = before.changed
    if changed:
        window = TimeRange(min(changed), max(changed) + timedelta(microseconds=1))
        profiled = work.fingerprints(workspace.store, workspace.ref(dataset_id), window)
        changed = _differing(workspace, dataset_id, changed, profiled)
    window = inside_grace(workspace.dataset(dataset_id), workspace.now())
    return replace(_facts(workspace, dataset_id, changed, window), since=before.since)


def pending_by(
    workspace: Workspace, dataset_id: str, known: Facts, failed: Mapping[datetime, Failure]
) -> Pending:
    """What is due now by facts that were looked up before."""
    dataset, now = workspace.dataset(dataset_id), workspace.now()
    granularity = dataset.spec.granularity
    decided = _decide(workspace, dataset_id, known, backfill=False)
    to_profile = tuple(sorted(_over(workspace, dataset_id, known.changed)))
    moments = (waiting.until for waiting in decided.waiting)
    found = Pending(
        dataset_id=dataset_id,
        granularity=granularity,
        profile=to_profile,
        due=decided.due,
        waiting=decided.waiting,
        arrivals={bucket: known.changed[bucket] for bucket in to_profile},
        failed={},
        overdue=_overdue(workspace, dataset, known.last),
        again=min(
            [
                granularity.shift(granularity.floor(now), 1),
                *(moment for moment in moments if moment is not None and moment > now),
            ]
        ),
    )
    same = {bucket: one for bucket, one in failed.items() if found.work.get(bucket) == one.work}
    return replace(found, failed=same) if same else found


def inside_grace(dataset: MonitoredDataset, now: datetime) -> TimeRange:
    """From the oldest bucket that any analyzer may judge by itself, as far ahead as data may be dated."""
    granularity = dataset.spec.granularity
    graces = [grace_of(analyzer, granularity) for analyzer in dataset.document.analyzers]
    oldest = min(grace.before(now) for grace in graces or [default_grace(granularity)])
    return TimeRange(granularity.shift(oldest, -1), granularity.shift(now, 1) + timedelta(days=2))


def ranges(buckets: Sequence[datetime], granularity: Granularity) -> Iterator[tuple[datetime, datetime]]:
    """Neighbouring buckets as (first, last), none longer than one run should be.

    >>> from datetime import UTC
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 4)]
    >>> [(first.day, last.day) for first, last in ranges(days, Granularity.DAILY)]
    [(1, 2), (4, 4)]
    """
    run: list[datetime] = []
    for bucket in sorted(buckets):
        if run and (bucket != granularity.shift(run[-1], 1) or len(run) >= BUCKETS_PER_RUN[granularity]):
            yield run[0], run[-1]
            run = []
        run.append(bucket)
    if run:
        yield run[0], run[-1]


def _differing(
    workspace: Workspace,
    dataset_id: str,
    arrivals: Mapping[datetime, Arrival],
    profiled: Mapping[datetime, str] | None = None,
) -> dict[datetime, Arrival]:
    """Data that is not what its bucket's profile was made from, save for what a person has deleted."""
    store, ref = workspace.store, workspace.ref(dataset_id)
    known = work.fingerprints(store, ref) if profiled is None else profiled
    found = {
        bucket: arrival for bucket, arrival in arrivals.items() if known.get(bucket) != arrival.fingerprint
    }
    if not found:
        return found
    window = TimeRange(min(found), max(found) + timedelta(microseconds=1))
    deleted = retention.forgotten_buckets(store, ref, window, cause=DELETED)
    return {bucket: arrival for bucket, arrival in found.items() if bucket not in deleted}


def _over(workspace: Workspace, dataset_id: str, changed: Mapping[datetime, Arrival]) -> Iterator[datetime]:
    dataset, now = workspace.dataset(dataset_id), workspace.now()
    granularity, partial = dataset.spec.granularity, dataset.document.allow_partial_target_batches
    return (bucket for bucket in changed if partial or granularity.shift(bucket, 1) <= now)


def _facts(
    workspace: Workspace, dataset_id: str, changed: Mapping[datetime, Arrival], window: TimeRange | None
) -> Facts:
    store, ref = workspace.store, workspace.ref(dataset_id)
    held = work.span(store, ref)
    rows: dict[datetime, int] = {}
    last_upload: dict[datetime, datetime] = {}
    for batch in profiles.batches(store, ref, window):
        rows[batch.bucket], last_upload[batch.bucket] = batch.rows, batch.last_upload
    for bucket, arrival in changed.items():
        rows[bucket], last_upload[bucket] = arrival.rows, arrival.last_upload
    known = [*changed, *([held.first, held.last] if held else [])]
    gone = _forgotten(workspace, dataset_id, window)
    return Facts(
        window.start if window is not None else (known[0] if known else workspace.now()),
        changed,
        replace(
            _absences(gone),
            rows=rows,
            last_upload=last_upload,
            first_bucket=min(known) if known else None,
        ),
        frozenset(
            (analyzer_id, version, from_micros(bucket))
            for analyzer_id, version, bucket in results.calculated(store, ref, window)
        ),
        last=max([*known, *gone], default=None),
    )


def beyond_recall(workspace: Workspace, dataset_id: str, due: Collection[Due]) -> dict[Due, str]:
    """Those that cannot be judged any more, because what they look at was removed on purpose, and why."""
    if not due:
        return {}
    dataset = workspace.dataset(dataset_id)
    granularity, analyzers = dataset.spec.granularity, {one.id: one for one in dataset.document.analyzers}
    window = TimeRange(min(one.bucket for one in due), granularity.shift(max(one.bucket for one in due), 1))
    facts = _absences(_forgotten(workspace, dataset_id, window))
    found = {
        one: forgotten(analyzers[one.analyzer_id], one.bucket, facts, granularity)
        for one in due
        if one.analyzer_id in analyzers
    }
    return {one: why for one, why in found.items() if why is not None}


def _absences(gone: Mapping[datetime, str]) -> BatchFacts:
    return BatchFacts(
        retired=[bucket for bucket, cause in gone.items() if cause == RETIRED],
        deleted={bucket for bucket, cause in gone.items() if cause == DELETED},
    )


def _forgotten(workspace: Workspace, dataset_id: str, window: TimeRange | None) -> dict[datetime, str]:
    """Buckets that were removed on purpose, of those that analyzers look at who judge the buckets of a window."""
    dataset = workspace.dataset(dataset_id)
    if window is not None:
        before = max((buckets_before(one) for one in dataset.document.analyzers), default=0)
        window = TimeRange(dataset.spec.granularity.shift(window.start, -before), window.end)
    return retention.forgotten_buckets(workspace.store, workspace.ref(dataset_id), window)


def _decide(
    workspace: Workspace,
    dataset_id: str,
    known: Facts,
    *,
    window: TimeRange | None = None,
    backfill: bool,
) -> Decision:
    dataset = workspace.dataset(dataset_id)
    return decide(
        dataset.document,
        facts=known.batches,
        calculated=known.calculated,
        now=workspace.now(),
        window=window,
        backfill=backfill,
        unable=unable(dataset.document, metrics=dataset.metrics),
        metrics=dataset.metrics,
    )


def _overdue(workspace: Workspace, dataset: MonitoredDataset, last: datetime | None) -> str | None:
    """Which buckets should have had data a granule ago by the longest readiness of any analyzer, and have none."""
    granularity, now = dataset.spec.granularity, workspace.now()
    analyzers = [analyzer for analyzer in dataset.document.analyzers if not analyzer.disabled]
    delays = {str(analyzer.data_readiness_duration): analyzer for analyzer in analyzers}
    expected = granularity.shift(granularity.floor(now), -2)
    while any(
        granularity.shift(ready_at(analyzer, expected, granularity), 1) > now for analyzer in delays.values()
    ):
        expected = granularity.shift(expected, -1)
        if now - expected > _LONGEST_READINESS:
            return None
    if last is not None:
        missing = granularity.index(expected) - granularity.index(last)
        if missing <= 0:
            return None
        return (
            f"no data has come for {span_in_words([granularity.shift(last, 1), expected], count=missing)}; "
            f"the newest is of {_moment(last)}"
        )
    since = dataset.spec.start or granularity.floor(workspace.ref(dataset.id).registered_at)
    if since > expected:
        return None
    return f"no data has ever come; it was expected from {_moment(since)} on"


def _grouped(waiting: Sequence[Waiting]) -> dict[tuple[str, Gate], list[Waiting]]:
    groups: dict[tuple[str, Gate], list[Waiting]] = {}
    for item in waiting:
        groups.setdefault((item.analyzer_id, item.gate), []).append(item)
    return groups


def span_in_words(buckets: Sequence[datetime], *, count: int | None = None) -> str:
    """Buckets in words; `count` where not all of them are given."""
    number = len(buckets) if count is None else count
    if number == 1:
        return _moment(buckets[0])
    return f"{number:,} buckets from {_moment(buckets[0])} to {_moment(buckets[-1])}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
