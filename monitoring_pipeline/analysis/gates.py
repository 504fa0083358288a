"""Which analyzers are due on which buckets now, and why the others are not.

Pure decisions over facts that the caller has looked up. An analyzer is due on a bucket once the bucket is over and its
`dataReadinessDuration`, counted from the bucket's start, has passed; there is data; the newest upload has cooled down;
the schedule matches the bucket's own time; and the bucket lies inside the backfill grace. Every closed gate yields a
`Waiting` with its reason, save for what is settled for good: buckets already judged or not scheduled are listed only
when somebody asks for them by a window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring_pipeline.analysis.operational import is_missing_datapoint, is_seconds_since_last_upload
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.schedules import CronSchedule, FixedSchedule
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange

Calculated = AbstractSet[tuple[str, str, datetime]]
"""(analyzer id, analyzer version, bucket) of what has been judged."""

_HOUR = timedelta(hours=1)
_LONG = {Granularity.WEEKLY, Granularity.MONTHLY}


@dataclass(frozen=True)
class BatchFacts:
    """What is known of a dataset's batches: rows and newest upload by bucket, and the first bucket ever seen."""

    rows: Mapping[datetime, int] = field(default_factory=dict)
    last_upload: Mapping[datetime, datetime] = field(default_factory=dict)
    first_bucket: datetime | None = None


@dataclass(frozen=True, order=True)
class Due:
    """One analyzer on one bucket, to be run now."""

    bucket: datetime
    analyzer_id: str
    analyzer_version: str


@dataclass(frozen=True)
class Waiting:
    """One analyzer that does not run on a bucket, why, and when to look again (None: nothing will change by waiting).

    `bucket` is None when the reason holds for every bucket.
    """

    analyzer_id: str
    bucket: datetime | None
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What runs now and what does not, by bucket."""

    due: tuple[Due, ...]
    waiting: tuple[Waiting, ...]


def decide(
    document: MonitorDocument,
    *,
    facts: BatchFacts,
    calculated: Collection[tuple[str, str, datetime]],
    now: datetime,
    window: TimeRange | None = None,
    backfill: bool = False,
) -> Decision:
    """Decide for every analyzer of the document at `now`.

    Looks at the buckets inside each analyzer's grace, or at those of `window`. `backfill` lifts the grace and nothing
    else.
    """
    done = calculated if isinstance(calculated, AbstractSet) else frozenset(calculated)
    situation = _Situation(document, facts, done, now, window, backfill)
    due: list[Due] = []
    waiting: list[Waiting] = []
    for analyzer in document.analyzers:
        for verdict in _decide(analyzer, situation):
            (due if isinstance(verdict, Due) else waiting).append(verdict)  # pyright: ignore[reportArgumentType]
    return Decision(tuple(sorted(due)), tuple(waiting))


def default_grace(granularity: Granularity) -> Duration:
    """How far back an analyzer looks for buckets it has not judged: 30 days, or 190 on weekly and monthly data."""
    return Duration(length=timedelta(days=190 if granularity in _LONG else 30))


def grace_of(analyzer: Analyzer, granularity: Granularity) -> Duration:
    """The analyzer's `backfillGracePeriodDuration`, or the default."""
    return analyzer.backfill_grace_period_duration or default_grace(granularity)


def ready_at(
    analyzer: Analyzer, bucket: datetime, granularity: Granularity, *, partial: bool = False
) -> datetime:
    """When a bucket is ready for the analyzer: its start plus the longer of one granule and `dataReadinessDuration`.

    With `partial` target batches the granule does not count.
    """
    readiness = analyzer.data_readiness_duration
    explicit = readiness.after(bucket) if readiness else bucket
    return explicit if partial else max(explicit, granularity.shift(bucket, 1))


@dataclass(frozen=True)
class _Situation:
    document: MonitorDocument
    facts: BatchFacts
    calculated: Calculated
    now: datetime
    window: TimeRange | None
    backfill: bool
    scheduled: dict[str, dict[datetime, bool]] = field(default_factory=dict)
    """Whether a schedule matches a bucket, for every schedule once: analyzers share them, and cron is slow."""

    @property
    def granularity(self) -> Granularity:
        return self.document.granularity

    @property
    def newest(self) -> datetime:
        """The newest bucket that may be analysed: the open one with partial batches, else the last that is over."""
        last = self.granularity.floor(self.now)
        return last if self.document.allow_partial_target_batches else self.granularity.shift(last, -1)


def _decide(analyzer: Analyzer, situation: _Situation) -> Iterator[Due | Waiting]:
    idle = _idle(analyzer, situation.facts)
    if idle is not None:
        yield Waiting(analyzer.id, None, idle)
        return
    version = analyzer_version(analyzer)
    for bucket in _candidates(analyzer, situation):
        if (analyzer.id, version, bucket) in situation.calculated:
            if situation.window is not None:
                yield Waiting(analyzer.id, bucket, "already analysed by this version of the analyzer")
            continue
        closed = _settled(analyzer, bucket, situation)
        if closed is not None:
            if situation.window is not None or bucket == situation.newest:
                yield closed
            continue
        yield _not_yet(analyzer, bucket, situation) or Due(bucket, analyzer.id, version)


def _idle(analyzer: Analyzer, facts: BatchFacts) -> str | None:
    """Why the analyzer runs on no bucket at all."""
    if analyzer.disabled:
        return "is disabled"
    if facts.first_bucket is None:
        return "waits for the dataset's first data"
    return None


def _candidates(analyzer: Analyzer, situation: _Situation) -> Iterator[datetime]:
    granularity, now = situation.granularity, situation.now
    if situation.window is not None:
        yield from situation.window.buckets(granularity)
        return
    first = situation.facts.first_bucket or now
    if not situation.backfill:
        cutoff = grace_of(analyzer, granularity).before(now)
        inside = granularity.floor(cutoff)
        first = max(first, inside if inside == cutoff else granularity.shift(inside, 1))
    last = granularity.index(now)
    for index in range(granularity.index(first), last + 1):
        yield granularity.start(index)


def _settled(analyzer: Analyzer, bucket: datetime, situation: _Situation) -> Waiting | None:
    """The gates that no waiting opens."""
    first = situation.facts.first_bucket
    if first is not None and bucket < first:
        return Waiting(analyzer.id, bucket, f"before the dataset's first data ({_words(first)})")
    if is_seconds_since_last_upload(analyzer) and bucket < situation.newest:
        return Waiting(analyzer.id, bucket, "secondsSinceLastUpload is judged on the newest bucket only")
    grace = grace_of(analyzer, situation.granularity)
    if not situation.backfill and bucket < grace.before(situation.now):
        return Waiting(analyzer.id, bucket, f"outside the backfill grace of {_length(grace)}")
    if not _matches(analyzer, bucket, situation):
        return Waiting(analyzer.id, bucket, _mismatch(analyzer.schedule_for(situation.granularity), bucket))
    return None


def _matches(analyzer: Analyzer, bucket: datetime, situation: _Situation) -> bool:
    schedule = analyzer.schedule_for(situation.granularity)
    known = situation.scheduled.setdefault(schedule.model_dump_json(), {})
    if bucket not in known:
        known[bucket] = schedule.matches(bucket, situation.granularity)
    return known[bucket]


def _not_yet(analyzer: Analyzer, bucket: datetime, situation: _Situation) -> Waiting | None:
    """The gates that open with time or data."""
    now, facts, granularity = situation.now, situation.facts, situation.granularity
    has_data = facts.rows.get(bucket, 0) > 0
    partial = situation.document.allow_partial_target_batches and has_data
    if is_seconds_since_last_upload(analyzer):
        over = granularity.shift(bucket, 0 if situation.document.allow_partial_target_batches else 1)
        return None if over <= now else Waiting(analyzer.id, bucket, f"is over at {_words(over)}", over)
    ready = ready_at(analyzer, bucket, granularity, partial=partial)
    if now < ready:
        return Waiting(analyzer.id, bucket, f"ready at {_words(ready)}", ready)
    if not has_data:
        if is_missing_datapoint(analyzer):
            return None
        gives_up = grace_of(analyzer, granularity).after(bucket)
        return Waiting(analyzer.id, bucket, f"waits for data until {_words(gives_up)}", _next_hour(now))
    cool_down, uploaded = analyzer.batch_cool_down_period, facts.last_upload.get(bucket)
    if cool_down is not None and uploaded is not None and now < (cooled := cool_down.after(uploaded)):
        return Waiting(analyzer.id, bucket, f"cools down until {_words(cooled)}", cooled)
    return None


def _mismatch(schedule: FixedSchedule | CronSchedule, bucket: datetime) -> str:
    if schedule.excludes(bucket):
        return "excluded by the schedule's exclusionRanges"
    if isinstance(schedule, FixedSchedule):
        return f"schedule runs {_CADENCES[schedule.cadence]} only"
    return f"cron schedule '{schedule.cron}' does not run on this bucket"


_CADENCES = {
    Granularity.QUARTER_HOURLY: "on quarter hours",
    Granularity.HOURLY: "on full hours",
    Granularity.DAILY: "at 00:00",
    Granularity.WEEKLY: "Mondays",
    Granularity.MONTHLY: "on the first of the month",
}


def _next_hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0) + _HOUR


def _words(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _length(duration: Duration) -> str:
    days, rest = divmod(duration.length, timedelta(days=1))
    if duration.months or rest or not days:
        return str(duration)
    return f"{days} day{'s' if days != 1 else ''}"
