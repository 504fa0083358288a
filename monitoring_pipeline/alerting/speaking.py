"""When a monitor speaks: the moments of its schedule, which anomalies belong to which, and which moments have come.

Moments lie on the data's own time. A bucket belongs to the first moment at or after its end, so a daily digest of hourly
data holds the anomalies of 00:00 to 23:00. A moment has come when the clock has passed it and all of its buckets are
judged; for what is not it waits until the analyzers' readiness and cool-down are over and some time more (`patience`),
and longer while there is data at hand that nobody has judged yet. What is found after that belongs to the next moment:
every anomaly is told once, and of each period there is one digest. Pure: the same facts give the same answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring_pipeline.analysis.gates import ready_at
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.config.schedules import ImmediateSchedule
from monitoring_pipeline.timegrid import Granularity, TimeRange

MADE_UP_FOR = 7
"""Moments with something to tell that were missed and are made up for one by one; more of them become one digest."""

LONGEST_WAIT = timedelta(days=7)
"""A moment does not wait longer than this for buckets that are at hand and not judged."""

_SHORTEST_PATIENCE, _LONGEST_PATIENCE = timedelta(hours=1), timedelta(days=1)
_INSTANT = timedelta(microseconds=1)

Judged = AbstractSet[tuple[str, datetime]]
"""Analyzer id and start of the bucket of every evaluation."""


def is_scheduled(monitor: Monitor) -> bool:
    """Whether the monitor waits for moments, and does not speak as soon as there is something to say."""
    return not isinstance(monitor.schedule, ImmediateSchedule)


@dataclass(frozen=True)
class Progress:
    """How far a dataset has come: what is judged, its first bucket, and what is at hand and neither judged nor given up."""

    judged: Judged
    first: datetime | None
    at_hand: Collection[datetime] = ()


def last_passed(
    document: MonitorDocument,
    monitor: Monitor,
    progress: Callable[[TimeRange], Progress],
    *,
    told_to: datetime | None,
    now: datetime,
) -> datetime | None:
    """The newest moment of the monitor that has come, if it is later than `told_to`.

    `progress` is asked for the buckets of a window at most once, and only when the clock has passed a moment.
    """
    schedule, granularity = monitor.schedule, document.granularity
    if not is_scheduled(monitor):
        return now
    moment = schedule.last_moment(now)
    if moment is None or (told_to is not None and moment <= told_to):
        return None
    analyzers = [one for one in document.analyzers if one.id in monitor.analyzer_ids and not one.disabled]
    oldest = told_to or _before(monitor, _before(monitor, moment))
    reached = progress(TimeRange(granularity.shift(min(oldest, now), -1), now))
    blocked = min(
        (end for one in reached.at_hand if (end := granularity.shift(one, 1)) > now - LONGEST_WAIT),
        default=None,
    )
    while moment is not None and (told_to is None or moment > told_to):
        if (blocked is None or moment < blocked) and (
            now >= _settled_at(analyzers, moment, granularity)
            or _all_judged(monitor, analyzers, moment, granularity, reached)
        ):
            return moment
        moment = schedule.last_moment(moment - _INSTANT)
    return None


def assigned(
    monitor: Monitor,
    buckets: Mapping[str, datetime],
    *,
    granularity: Granularity,
    told_to: datetime | None,
    passed: datetime,
) -> list[tuple[datetime, list[str]]]:
    """Of what is held back, by id with its bucket, what is told now: by moment, ascending, none after `passed`.

    A monitor that has never spoken tells of everything at once, and so does one that has missed more than
    `MADE_UP_FOR` moments with something to tell, or one that does not wait for moments any more.
    """
    groups: defaultdict[datetime, list[str]] = defaultdict(list)
    for name, bucket in buckets.items():
        moment = _moment_of(monitor, granularity.shift(bucket, 1), told_to)
        if moment is not None and moment <= passed:
            groups[moment].append(name)
    if told_to is None or not is_scheduled(monitor) or len(groups) > MADE_UP_FOR:
        together = [name for group in groups.values() for name in group]
        return [(passed, sorted(together))] if together else []
    return [(moment, sorted(groups[moment])) for moment in sorted(groups)]


def patience(granularity: Granularity, bucket: datetime) -> timedelta:
    """How long a moment waits for data that is late: one granule, at least an hour and at most a day."""
    length = granularity.shift(bucket, 1) - bucket
    return min(max(length, _SHORTEST_PATIENCE), _LONGEST_PATIENCE)


def _moment_of(monitor: Monitor, end: datetime, told_to: datetime | None) -> datetime | None:
    after = end if told_to is None else max(end, told_to + _INSTANT)
    return monitor.schedule.next_moment(after)


def _before(monitor: Monitor, moment: datetime) -> datetime:
    """The moment before one; a day before it where there is none."""
    return monitor.schedule.last_moment(moment - _INSTANT) or moment - timedelta(days=1)


def _settled_at(analyzers: Iterable[Analyzer], moment: datetime, granularity: Granularity) -> datetime:
    """Until when a moment waits for buckets without a verdict."""
    last = granularity.shift(granularity.floor(moment), -1)
    times = [granularity.shift(last, 1)]
    for analyzer in analyzers:
        ready, cool = ready_at(analyzer, last, granularity), analyzer.batch_cool_down_period
        times.append(cool.after(ready) if cool is not None else ready)
    return max(moment, max(times) + patience(granularity, last))


def _all_judged(
    monitor: Monitor,
    analyzers: Sequence[Analyzer],
    moment: datetime,
    granularity: Granularity,
    reached: Progress,
) -> bool:
    """Whether every bucket of the moment has been judged by all analyzers that pick it."""
    return all(
        (analyzer.id, bucket) in reached.judged
        for bucket in _buckets_of(monitor, moment, granularity)
        if reached.first is None or bucket >= reached.first
        for analyzer in analyzers
        if analyzer.schedule is None or analyzer.schedule.matches(bucket, granularity)
    )


def _buckets_of(monitor: Monitor, moment: datetime, granularity: Granularity) -> Iterator[datetime]:
    """The buckets that end after the moment before this one, and no later than it."""
    start = granularity.shift(granularity.floor(_before(monitor, moment)), -1)
    before = _before(monitor, moment)
    for bucket in TimeRange(start, moment).buckets(granularity):
        if before < granularity.shift(bucket, 1) <= moment:
            yield bucket
