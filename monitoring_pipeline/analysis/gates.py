"""Which analyzers are due on which buckets now, and why the others are not.

Pure decisions over facts that the caller has looked up. An analyzer is due on a bucket once the bucket is over and its
`dataReadinessDuration`, counted from the bucket's start, has passed; there is data; the newest upload has cooled down;
the schedule matches the bucket's own time; and the bucket lies inside the backfill grace. An analyzer about others
waits until all of them that will judge the bucket can, or have. Every closed gate yields a
`Waiting` with its reason, save for what is settled for good: buckets already judged or not scheduled are listed only
when somebody asks for them by a window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.analysis.composites import needs_all
from monitoring_pipeline.analysis.operational import is_missing_datapoint, is_seconds_since_last_upload
from monitoring_pipeline.analysis.planner import analyzer_version, children_of
from monitoring_pipeline.analysis.reach import buckets_before
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.schedules import CronSchedule, FixedSchedule
from monitoring_pipeline.metrics import NO_METRICS, Metric, stated_metrics
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange

Calculated = AbstractSet[tuple[str, str, datetime]]
"""(analyzer id, analyzer version, bucket) of what has been judged."""

_HOUR = timedelta(hours=1)
_DONE = "already analysed by this version of the analyzer"
_LONG = {Granularity.WEEKLY, Granularity.MONTHLY}


@dataclass(frozen=True)
class BatchFacts:
    """What is known of a dataset's batches: rows and newest upload by bucket, and the first bucket ever seen."""

    rows: Mapping[datetime, int] = field(default_factory=dict)
    last_upload: Mapping[datetime, datetime] = field(default_factory=dict)
    first_bucket: datetime | None = None
    retired: Sequence[datetime] = ()
    """Buckets whose own profiles retention has removed, ascending: nothing that looks at them can be judged any more."""
    deleted: AbstractSet[datetime] = frozenset()
    """Buckets that a person has deleted: nobody misses their data."""


@dataclass(frozen=True, order=True)
class Due:
    """One analyzer on one bucket, to be run now."""

    bucket: datetime
    analyzer_id: str
    analyzer_version: str


class Gate(StrEnum):
    """What can keep an analyzer from a bucket."""

    IDLE = "does not run"
    FORGOTTEN = "was removed from the store"
    DONE = "has run"
    GRACE = "is outside the backfill grace"
    SCHEDULE = "is not scheduled"
    READINESS = "is not ready"
    DATA = "has no data"
    CHILDREN = "waits for its analyzers"
    COOL_DOWN = "cools down"


@dataclass(frozen=True)
class Waiting:
    """One analyzer that does not run on a bucket, why, and when to look again (None: nothing will change by waiting).

    `bucket` is None when the reason holds for every bucket. `gate` is what is closed, `reason` says it in words.
    """

    analyzer_id: str
    bucket: datetime | None
    gate: Gate
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
    unable: Mapping[str, str] | None = None,
    metrics: Mapping[str, Metric] = NO_METRICS,
) -> Decision:
    """Decide for every analyzer of the document at `now`.

    Looks at the buckets inside each analyzer's grace, or at those of `window`. `backfill` lifts the grace and nothing
    else. `unable` are analyzers, by id, that cannot run, and why (`engine.unable`). `metrics` are the dataset's own, by
    folded name, beside those that the document states.
    """
    done = calculated if isinstance(calculated, AbstractSet) else frozenset(calculated)
    situation = Situation(
        document,
        facts,
        done,
        now,
        window=window,
        backfill=backfill,
        unable=unable or {},
        metrics=stated_metrics(document.entity_schema, metrics),
    )
    due: list[Due] = []
    waiting: list[Waiting] = []
    for analyzer in document.analyzers:
        for verdict in _decide(analyzer, situation):
            (due if isinstance(verdict, Due) else waiting).append(verdict)  # pyright: ignore[reportArgumentType]
    return Decision(tuple(sorted(due)), tuple(waiting))


def judge(analyzer: Analyzer, bucket: datetime, situation: Situation) -> Due | Waiting:
    """Whether one analyzer runs on one bucket in a situation: what `decide` asks for all of them."""
    case = situation.case(analyzer)
    idle = _idle(case)
    if idle is not None:
        return Waiting(analyzer.id, None, Gate.IDLE, idle)
    if case.is_done(bucket):
        return case.waits(bucket, Gate.DONE, _DONE)
    closed = _settled(case, bucket, situation.newest)
    if closed is not None:
        return case.waits(bucket, *closed)
    return _not_yet(case, bucket) or Due(bucket, analyzer.id, case.version)


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


def forgotten(
    analyzer: Analyzer, bucket: datetime, facts: BatchFacts, granularity: Granularity
) -> str | None:
    """Why the analyzer can say nothing of a bucket any more, where somebody wanted its data or its baseline's gone."""
    if bucket in facts.deleted:
        return "its data was deleted from the store"
    at = bisect_right(facts.retired, bucket) - 1
    if at < 0 or facts.retired[at] < granularity.shift(bucket, -buckets_before(analyzer)):
        return None
    if facts.retired[at] == bucket:
        return "retention has removed its profiles"
    return f"retention has removed profiles that it would be compared with ({_words(facts.retired[at])})"


@dataclass
class Situation:
    """What the gates look at. Whoever walks through time moves `facts`, `calculated` and `now` on."""

    document: MonitorDocument
    facts: BatchFacts
    calculated: Calculated
    now: datetime
    window: TimeRange | None = None
    backfill: bool = False
    unable: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=lambda: NO_METRICS)
    _cases: dict[str, _Case] = field(default_factory=dict, repr=False)
    _schedules: dict[str, dict[datetime, bool]] = field(default_factory=dict, repr=False)

    def case(self, analyzer: Analyzer) -> _Case:
        """One of the document's analyzers with what does not change about it, made once."""
        if analyzer.id not in self._cases:
            children = tuple(self.case(child) for child in self.children(analyzer))
            schedule = analyzer.schedule_for(self.granularity)
            self._cases[analyzer.id] = _Case(
                analyzer,
                self,
                version=analyzer_version(
                    analyzer, [child.analyzer for child in children], metrics=self.metrics
                ),
                children=children,
                schedule=schedule,
                scheduled=self._schedules.setdefault(schedule.model_dump_json(), {}),
                grace=grace_of(analyzer, self.granularity),
                is_composite=bool(children_of(analyzer)),
                is_missing_datapoint=is_missing_datapoint(analyzer),
                is_seconds_since_last_upload=is_seconds_since_last_upload(analyzer),
            )
        return self._cases[analyzer.id]

    @property
    def granularity(self) -> Granularity:
        return self.document.granularity

    def children(self, analyzer: Analyzer) -> list[Analyzer]:
        """The analyzers that a composite one is about, in its order."""
        known = {one.id: one for one in self.document.analyzers}
        return [known[name] for name in children_of(analyzer) if name in known]

    @property
    def newest(self) -> datetime:
        """The newest bucket that may be analysed: the open one with partial batches, else the last that is over."""
        last = self.granularity.floor(self.now)
        return last if self.document.allow_partial_target_batches else self.granularity.shift(last, -1)


@dataclass
class _Case:
    """One analyzer in its situation, with what is the same for all of its buckets."""

    analyzer: Analyzer
    situation: Situation = field(repr=False)
    version: str
    children: tuple[_Case, ...]
    """The analyzers that a composite one is about, in its order."""

    schedule: FixedSchedule | CronSchedule
    scheduled: dict[datetime, bool]
    """Whether the schedule matches a bucket, as far as asked: equal schedules share it, cron is slow."""

    grace: Duration
    is_composite: bool
    is_missing_datapoint: bool
    is_seconds_since_last_upload: bool

    @property
    def cutoff(self) -> datetime | None:
        """Buckets that start earlier lie outside the grace; None when it is lifted."""
        return None if self.situation.backfill else self.grace.before(self.situation.now)

    def is_done(self, bucket: datetime) -> bool:
        return (self.analyzer.id, self.version, bucket) in self.situation.calculated

    def matches(self, bucket: datetime) -> bool:
        if bucket not in self.scheduled:
            self.scheduled[bucket] = self.schedule.matches(bucket, self.situation.granularity)
        return self.scheduled[bucket]

    def able_children(self) -> list[_Case]:
        """The analyzers that can run of those that a composite one is about."""
        return [child for child in self.children if _idle(child) is None]

    def waits(self, bucket: datetime, gate: Gate, reason: str, until: datetime | None = None) -> Waiting:
        return Waiting(self.analyzer.id, bucket, gate, reason, until)


def _decide(analyzer: Analyzer, situation: Situation) -> Iterator[Due | Waiting]:
    case = situation.case(analyzer)
    idle = _idle(case)
    if idle is not None:
        yield Waiting(analyzer.id, None, Gate.IDLE, idle)
        return
    asked, newest = situation.window is not None, situation.newest
    for bucket in _candidates(case):
        if case.is_done(bucket):
            if asked:
                yield case.waits(bucket, Gate.DONE, _DONE)
            continue
        closed = _settled(case, bucket, newest)
        if closed is None:
            yield _not_yet(case, bucket) or Due(bucket, analyzer.id, case.version)
        elif asked or bucket == newest:
            yield case.waits(bucket, *closed)


def _idle(case: _Case) -> str | None:
    """Why the analyzer runs on no bucket at all."""
    analyzer, situation = case.analyzer, case.situation
    if analyzer.disabled:
        return "is disabled"
    if analyzer.id in situation.unable:
        return situation.unable[analyzer.id]
    idle = {child.analyzer.id: why for child in case.children if (why := _idle(child))}
    if idle and (needs_all(analyzer) or len(idle) == len(children_of(analyzer))):
        name, why = next(iter(idle.items()))
        return f"its analyzer {name}: {why}"
    if situation.facts.first_bucket is None:
        return "waits for the dataset's first data"
    return None


def _candidates(case: _Case) -> Iterator[datetime]:
    situation, cutoff = case.situation, case.cutoff
    granularity = situation.granularity
    if situation.window is not None:
        yield from situation.window.buckets(granularity)
        return
    first = situation.facts.first_bucket or situation.now
    if cutoff is not None:
        inside = granularity.floor(cutoff)
        first = max(first, inside if inside == cutoff else granularity.shift(inside, 1))
    for index in range(granularity.index(first), granularity.index(situation.now) + 1):
        yield granularity.start(index)


def _settled(case: _Case, bucket: datetime, newest: datetime) -> tuple[Gate, str] | None:
    """Why the bucket is closed for good: the gates that no waiting opens."""
    first = case.situation.facts.first_bucket
    if first is not None and bucket < first:
        return Gate.GRACE, f"before the dataset's first data ({_words(first)})"
    facts, granularity = case.situation.facts, case.situation.granularity
    if (gone := forgotten(case.analyzer, bucket, facts, granularity)) is not None:
        return Gate.FORGOTTEN, gone
    if bucket < newest and case.is_seconds_since_last_upload:
        return Gate.DONE, "secondsSinceLastUpload is judged on the newest bucket only"
    if (cutoff := case.cutoff) is not None and bucket < cutoff:
        return Gate.GRACE, f"outside the backfill grace of {_length(case.grace)}"
    if not case.matches(bucket):
        return Gate.SCHEDULE, _mismatch(case.schedule, bucket)
    return _settled_children(case, bucket, newest)


def _settled_children(case: _Case, bucket: datetime, newest: datetime) -> tuple[Gate, str] | None:
    """Why the bucket is closed for a composite analyzer: too few of its analyzers will ever judge it."""
    closed = [
        (child.analyzer.id, *gate)
        for child in case.able_children()
        if not child.is_done(bucket) and (gate := _settled(child, bucket, newest)) is not None
    ]
    if not closed or not (needs_all(case.analyzer) or len(closed) == len(case.able_children())):
        return None
    name, gate, reason = closed[0]
    return gate, f"its analyzer {name}: {reason}"


def _not_yet(case: _Case, bucket: datetime) -> Waiting | None:
    """The gates that open with time or data."""
    analyzer, situation = case.analyzer, case.situation
    now, facts, granularity = situation.now, situation.facts, situation.granularity
    may_be_partial = situation.document.allow_partial_target_batches
    has_data = facts.rows.get(bucket, 0) > 0
    if case.is_seconds_since_last_upload:
        ready = granularity.shift(bucket, 0 if may_be_partial else 1)
        return (
            None if ready <= now else case.waits(bucket, Gate.READINESS, f"ready at {_words(ready)}", ready)
        )
    ready = ready_at(analyzer, bucket, granularity, partial=may_be_partial and has_data)
    if now < ready:
        return case.waits(bucket, Gate.READINESS, f"ready at {_words(ready)}", ready)
    if case.is_composite:
        return _waiting_child(case, bucket)
    if not has_data:
        if case.is_missing_datapoint:
            return None
        gives_up = case.grace.after(bucket)
        return case.waits(bucket, Gate.DATA, f"waits for data until {_words(gives_up)}", _next_hour(now))
    cool_down, uploaded = analyzer.batch_cool_down_period, facts.last_upload.get(bucket)
    if cool_down is not None and uploaded is not None and now < (cooled := cool_down.after(uploaded)):
        return case.waits(bucket, Gate.COOL_DOWN, f"cools down until {_words(cooled)}", cooled)
    return None


def _waiting_child(case: _Case, bucket: datetime) -> Waiting | None:
    """The gate of a composite analyzer: each of its analyzers has judged the bucket, does so now, or never will."""
    newest = case.situation.newest
    for child in case.able_children():
        if child.is_done(bucket) or _settled(child, bucket, newest) is not None:
            continue
        if (waiting := _not_yet(child, bucket)) is not None:
            reason = f"waits for {child.analyzer.id}: {waiting.reason}"
            return case.waits(bucket, Gate.CHILDREN, reason, waiting.until)
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
