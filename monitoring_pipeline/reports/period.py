"""The time that a report is about: a week, or any range, and which buckets of a dataset belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring_pipeline.alerting.figures import how_long, moment, span
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros

WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Period:
    """A range of time, half-open, UTC."""

    range: TimeRange

    @classmethod
    def last_week(cls, now: datetime) -> Period:
        """The last ISO week that is over at `now`, Monday to Monday."""
        monday = Granularity.WEEKLY.floor(now)
        return cls(TimeRange(monday - WEEK, monday))

    @property
    def is_week(self) -> bool:
        """Whether it is one ISO week."""
        return (
            Granularity.WEEKLY.floor(self.range.start) == self.range.start
            and self.range.end - self.range.start == WEEK
        )

    @property
    def name(self) -> str:
        """`2026-W47` of a week; otherwise the first and the last day, `2026-11-02 to 2026-11-20`; fit for a file."""
        start, end = self.range.start, self.range.end
        if self.is_week:
            year, week, _ = start.isocalendar()
            return f"{year}-W{week:02}"
        if (start.hour, start.minute, start.second, end.hour, end.minute, end.second) == (0,) * 6:
            return span(start, end - timedelta(days=1) if end > start else end, Granularity.DAILY)
        return f"{start:%Y-%m-%d %H.%M} to {end:%Y-%m-%d %H.%M}"

    @property
    def words(self) -> str:
        """First and last moment: `2026-11-16 to 2026-11-22, UTC`; with the clock where days do not tell it."""
        if self.is_week:
            return f"{span(self.range.start, self.range.end - timedelta(days=1), Granularity.DAILY)}, UTC"
        return f"{self.name.replace('.', ':')}, UTC"

    @property
    def before(self) -> str:
        """What the time before is called."""
        return "the week before" if self.is_week else "the period before"

    @property
    def this(self) -> str:
        """What the time itself is called."""
        return "this week" if self.is_week else "this period"

    def buckets(self, granularity: Granularity, *, now: datetime) -> Buckets:
        """The buckets that ended within the period, and not after `now`."""
        first = granularity.index(self.range.start)
        end = granularity.index(min(self.range.end, max(now, self.range.start)))
        return Buckets(granularity, first, max(end - first, 0))


@dataclass(frozen=True)
class Buckets:
    """Neighbouring buckets: `count` of them, from bucket index `first` on."""

    granularity: Granularity
    first: int
    count: int

    @property
    def before(self) -> Buckets:
        """As many buckets right before these."""
        return Buckets(self.granularity, self.first - self.count, self.count)

    @property
    def with_before(self) -> Buckets:
        """Both together."""
        return Buckets(self.granularity, self.first - self.count, 2 * self.count)

    @property
    def window(self) -> TimeRange:
        """The time that they cover."""
        start = self.granularity.start
        return TimeRange(start(self.first), start(self.first + self.count))

    @property
    def starts(self) -> list[datetime]:
        """Their starts, ascending."""
        return [self.granularity.start(index) for index in range(self.first, self.first + self.count)]

    def place(self, bucket: datetime | int) -> int:
        """Which of them a bucket is, counted from 0; given by its start, or that in microseconds."""
        start = from_micros(bucket) if isinstance(bucket, int) else bucket
        return self.granularity.index(start) - self.first

    def __len__(self) -> int:
        return self.count

    @property
    def words(self) -> str:
        """`7 days from 2026-11-16 to 2026-11-22`."""
        window = self.window
        last = self.granularity.shift(window.end, -1)
        count = how_long(self.count, self.granularity)
        return f"{count}, {span(window.start, last, self.granularity)}" if self.count else count

    def moments(self, places: list[int], *, most: int = 5) -> str:
        """Some of them by name, the first few of many."""
        shown = ", ".join(moment(self.starts[place], self.granularity) for place in places[:most])
        return shown if len(places) <= most else f"{shown} and {len(places) - most:,} more"

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return how_long(1, self.granularity).removeprefix("1 ")
