"""When an analyzer or a monitor applies. Always a statement about the data's own time, never about the wall clock.

For an analyzer a schedule picks buckets, by their start: a daily analyzer with the cron expression `0 0 * * 1-5`
analyses Monday's to Friday's data, whenever that data may arrive. For a monitor it names the moments at which it
speaks: a bucket is told of at the first moment at or after its end, so that every bucket has one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from monitoring_pipeline.config.fields import (
    CronText,
    DocumentModel,
    GranularityField,
    Listed,
    RangeField,
    variants,
)
from monitoring_pipeline.timegrid import EPOCH, Granularity, TimeRange, cron_matches, utc

_SECOND = timedelta(seconds=1)

_YEARS_TRIED = 28
"""After 28 years the same dates fall on the same weekdays again."""


class _Schedule(DocumentModel):
    exclusion_ranges: Listed[RangeField] = Field(
        default=(),
        description="Ranges of dataset time (UTC, end excluded) in which nothing runs, such as a big sale.",
    )

    def excludes(self, moment: datetime) -> bool:
        """Whether the moment lies in one of the exclusion ranges."""
        return any(moment in excluded for excluded in self.exclusion_ranges)


class FixedSchedule(_Schedule):
    """Once per hour, day, week (Monday) or month (the 1st)."""

    type: Literal["fixed"] = "fixed"
    cadence: GranularityField = Field(
        description="How often: hourly, daily, weekly, monthly or PT15M. A cadence coarser than the dataset's "
        "granularity analyses the first bucket of each period, so a weekly analyzer of daily data sees Mondays. A "
        "monitor tells of all buckets of a period in one digest when the period is over."
    )

    def matches(self, moment: datetime, granularity: Granularity) -> bool:
        """Whether the bucket that starts at `moment` is the first one to start in its period of the cadence."""
        moment = utc(moment)
        if self.excludes(moment) or granularity.floor(moment) != moment:
            return False
        previous = granularity.shift(moment, -1)
        return self.cadence.index(moment) != self.cadence.index(previous)

    def next_moment(self, at: datetime) -> datetime | None:
        """The first moment at which a monitor speaks, at or after `at`: a boundary between two periods."""
        start = self.cadence.floor(at)
        return start if start == utc(at) else self.cadence.shift(start, 1)

    def last_moment(self, at: datetime) -> datetime | None:
        """The last moment at which a monitor speaks, at or before `at`."""
        return self.cadence.floor(at)


class CronSchedule(_Schedule):
    """The buckets that a cron expression picks."""

    type: Literal["cron"] = "cron"
    cron: CronText = Field(
        default="",
        description="A cron expression in UTC, tested on the start of the bucket: five fields as in Unix, or six "
        "with the seconds first. '0 0 * * 1-5' picks Monday to Friday of daily data, '0 9-17 * * *' the hours 9 "
        "to 17 of hourly data. Use 0 for the minute; for daily data also 0 for the hour; for weekly data the "
        "expression must include Monday, for monthly data the first of the month. Blank: never. A monitor speaks at "
        "the moments of the expression, of all buckets that have ended since the one before.",
        examples=["0 0 * * 1-5", "0 0 * * 6,0", "0 9-17 * * *"],
    )

    def matches(self, moment: datetime, granularity: Granularity) -> bool:
        """Whether the expression picks the bucket that starts at `moment`."""
        del granularity  # the expression alone decides; the argument is there for all schedules
        return bool(self.cron) and not self.excludes(utc(moment)) and cron_matches(self.cron, moment)

    def can_match(self, granularity: Granularity) -> bool:
        """Whether there is any bucket that the expression picks, exclusion ranges aside."""
        if not self.cron:
            return False
        within_day = {
            Granularity.QUARTER_HOURLY: timedelta(minutes=15),
            Granularity.HOURLY: timedelta(hours=1),
        }
        if granularity in within_day:
            return any(
                cron_matches(self.cron, moment) for moment in self._fire_times(within_day[granularity])
            )
        last = granularity.index(EPOCH.replace(year=EPOCH.year + _YEARS_TRIED))
        return any(cron_matches(self.cron, granularity.start(index)) for index in range(last))

    def next_moment(self, at: datetime) -> datetime | None:
        """The first moment at which a monitor speaks, at or after `at`; None when there is none."""
        second = utc(at).replace(microsecond=0)
        return self._fire(second - _SECOND if second == utc(at) else second, "get_next")

    def last_moment(self, at: datetime) -> datetime | None:
        """The last moment at which a monitor speaks, at or before `at`; None when there is none."""
        return self._fire(utc(at).replace(microsecond=0) + _SECOND, "get_prev")

    def _fire(self, at: datetime, step: Literal["get_next", "get_prev"]) -> datetime | None:
        from croniter import CroniterBadDateError, croniter

        if not self.cron:
            return None
        try:
            found = getattr(croniter(self.cron, at, second_at_beginning=True), step)(datetime)
        except CroniterBadDateError:
            return None
        return utc(found)

    def _fire_times(self, step: timedelta) -> list[datetime]:
        from croniter import CroniterBadDateError, croniter

        try:
            day = croniter(self.cron, EPOCH - timedelta(seconds=1), second_at_beginning=True).get_next(
                datetime
            )
        except CroniterBadDateError:
            return []
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        return [midnight + number * step for number in range(timedelta(days=1) // step)]


class ImmediateSchedule(_Schedule):
    """As soon as there are results, for every bucket."""

    type: Literal["immediate"] = "immediate"

    def matches(self, moment: datetime, granularity: Granularity) -> bool:
        """Whether the bucket that starts at `moment` lies outside the exclusion ranges."""
        del granularity
        return not self.excludes(utc(moment))

    def next_moment(self, at: datetime) -> datetime | None:
        """Any moment will do."""
        return utc(at)

    def last_moment(self, at: datetime) -> datetime | None:
        """Any moment will do."""
        return utc(at)


AnalyzerSchedule = Annotated[
    FixedSchedule | CronSchedule, Field(discriminator="type"), variants("fixed", "cron")
]
MonitorSchedule = Annotated[
    FixedSchedule | CronSchedule | ImmediateSchedule,
    Field(discriminator="type"),
    variants("fixed", "cron", "immediate"),
]
ExclusionSchedule = Annotated[CronSchedule, variants("cron", default=lambda _: "cron")]

__all__ = [
    "AnalyzerSchedule",
    "CronSchedule",
    "ExclusionSchedule",
    "FixedSchedule",
    "ImmediateSchedule",
    "MonitorSchedule",
    "TimeRange",
]
