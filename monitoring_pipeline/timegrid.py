"""Time as the pipeline sees it: granularities, buckets, half-open ranges, ISO-8601 durations, cron matches.

All time is UTC. A bucket is named by its start and is half-open; weeks start on Monday. At the edges time is a
timezone-aware `datetime`; inside arrays it is `int64` microseconds since 1970, or a bucket index: the number of
whole granules since the granule that holds 1970-01-01, so that windows become integer arithmetic.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MONDAY = datetime(1969, 12, 29, tzinfo=UTC)
# Where sums of moments and durations stop, so that "P9999Y ago" is a moment and buckets around it exist.
_EARLIEST, _LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; a naive `datetime` is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (utc(moment) - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Inverse of `to_micros`."""
    return EPOCH + timedelta(microseconds=int(micros))


def parse_moment(text: str) -> datetime:
    """An ISO-8601 date or time as UTC. Also reads `2022-02-25T00:00:000Z`, which the reference's own guide writes.

    Raises ValueError with what was found.
    """
    cleaned = re.sub(r"(T\d{2}:\d{2}):\d{3}Z$", r"\1:00Z", text.strip())
    try:
        return utc(datetime.fromisoformat(cleaned))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not an ISO-8601 time such as 2026-01-31 or 2026-01-31T00:00:00Z"
        ) from None


class Granularity(StrEnum):
    """The length of a dataset's buckets."""

    QUARTER_HOURLY = "PT15M"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @classmethod
    def parse(cls, text: str) -> Granularity:
        """Read a granularity in any case, or as PT1H, P1D, P1W, P1M. Raises ValueError."""
        name = text.strip()
        for member in cls:
            if name.lower() == member.value.lower() or name.upper() == _ISO_NAMES[member]:
                return member
        raise ValueError(f"{text!r} is not one of {', '.join(cls)}")

    def floor(self, moment: datetime) -> datetime:
        """Start of the bucket that holds `moment`."""
        return self.start(self.index(moment))

    def shift(self, start: datetime, granules: int) -> datetime:
        """Start of the bucket that lies `granules` after the one starting at `start`."""
        return self.start(self.index(start) + granules)

    def index(self, moment: datetime) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # of a bucket, not of a text
        """Bucket index of `moment`."""
        moment = utc(moment)
        if self is Granularity.MONTHLY:
            return (moment.year - 1970) * 12 + moment.month - 1
        origin, length = _LINEAR[self]
        return (moment - origin) // length

    def start(self, index: int) -> datetime:
        """Start of the bucket with that index."""
        if self is Granularity.MONTHLY:
            year, month = divmod(int(index), 12)
            return datetime(1970 + year, month + 1, 1, tzinfo=UTC)
        origin, length = _LINEAR[self]
        return origin + int(index) * length

    def index_array(self, micros: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bucket indices of an `int64` array of microseconds, same shape."""
        import numpy as np

        if self is Granularity.MONTHLY:
            return micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        origin, length = _LINEAR[self]
        return (micros - to_micros(origin)) // (length // _MICROSECOND)

    def start_array(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bucket starts in `int64` microseconds of an array of bucket indices, same shape."""
        import numpy as np

        if self is Granularity.MONTHLY:
            return indices.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
        origin, length = _LINEAR[self]
        return indices * (length // _MICROSECOND) + to_micros(origin)

    @property
    def season(self) -> int:
        """Buckets in one natural season: a day of hours, a week of days, a year of weeks or months."""
        return _SEASONS[self]


_ISO_NAMES = {
    Granularity.QUARTER_HOURLY: "PT15M",
    Granularity.HOURLY: "PT1H",
    Granularity.DAILY: "P1D",
    Granularity.WEEKLY: "P1W",
    Granularity.MONTHLY: "P1M",
}
_LINEAR = {
    Granularity.QUARTER_HOURLY: (EPOCH, timedelta(minutes=15)),
    Granularity.HOURLY: (EPOCH, timedelta(hours=1)),
    Granularity.DAILY: (EPOCH, timedelta(days=1)),
    Granularity.WEEKLY: (_FIRST_MONDAY, timedelta(weeks=1)),
}
_SEASONS = {
    Granularity.QUARTER_HOURLY: 96,
    Granularity.HOURLY: 24,
    Granularity.DAILY: 7,
    Granularity.WEEKLY: 52,
    Granularity.MONTHLY: 12,
}


@dataclass(frozen=True, order=True)
class TimeRange:
    """A half-open range of time, `start` included and `end` excluded, both UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a time range ends before it starts: {self}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"

    def buckets(self, granularity: Granularity) -> Iterator[datetime]:
        """Starts of the buckets that overlap the range, ascending."""
        if self.start == self.end:
            return
        first, last = granularity.index(self.start), granularity.index(self.end - _MICROSECOND)
        for index in range(first, last + 1):
            yield granularity.start(index)

    @classmethod
    def always(cls) -> TimeRange:
        """The longest range that moments and buckets around them fit into."""
        return cls(_EARLIEST, _LATEST)

    @classmethod
    def of_bucket(cls, start: datetime, granularity: Granularity) -> TimeRange:
        """The range that one bucket covers."""
        return cls(start, granularity.shift(start, 1))


_DURATION = re.compile(
    r"P(?!$)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Duration:
    """An ISO-8601 duration: calendar months plus a fixed length."""

    months: int = 0
    length: timedelta = timedelta()

    @classmethod
    def parse(cls, value: str | float) -> Duration:
        """Read `P1DT18H`, `P2W`, `P1M`, or a plain number of seconds. Raises ValueError."""
        try:
            return cls._parse(str(value).strip())
        except (ValueError, OverflowError):
            raise ValueError(
                f"{value!r} is not an ISO-8601 duration such as PT6H, P1DT12H, P2W or P1M, nor a number of seconds"
            ) from None

    @classmethod
    def _parse(cls, text: str) -> Duration:
        if re.fullmatch(r"\d+(\.\d+)?(e\+?\d+)?", text):
            return cls(length=timedelta(seconds=float(text)))
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(text)
        part = {name: amount or "0" for name, amount in match.groupdict().items()}
        return cls(
            months=int(part["years"]) * 12 + int(part["months"]),
            length=timedelta(
                days=7 * int(part["weeks"]) + int(part["days"]),
                hours=int(part["hours"]),
                minutes=int(part["minutes"]),
                seconds=float(part["seconds"]),
            ),
        )

    def after(self, moment: datetime) -> datetime:
        """`moment` plus this duration, at most the year 9998. A month after January 31 is the last of February."""
        try:
            return min(_add_months(utc(moment), self.months) + self.length, _LATEST)
        except (ValueError, OverflowError):
            return _LATEST

    def before(self, moment: datetime) -> datetime:
        """`moment` minus this duration, at least the year 2."""
        try:
            return max(_add_months(utc(moment) - self.length, -self.months), _EARLIEST)
        except (ValueError, OverflowError):
            return _EARLIEST

    def __str__(self) -> str:
        days, rest = divmod(self.length, timedelta(days=1))
        hours, rest = divmod(rest, timedelta(hours=1))
        minutes, rest = divmod(rest, timedelta(minutes=1))
        seconds = f"{rest.seconds}.{rest.microseconds:06}".rstrip("0").rstrip(".") if rest else ""
        date = f"{self.months}M" * bool(self.months) + f"{days}D" * bool(days)
        time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes) + f"{seconds}S" * bool(seconds)
        return f"P{date}" + (f"T{time}" if time else "") if date or time else "PT0S"


def _add_months(moment: datetime, months: int) -> datetime:
    if not months:
        return moment
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(f"there is no year {year}")
    last_day = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def cron_matches(expression: str, moment: datetime) -> bool:
    """Whether a cron expression fires at `moment` (UTC).

    Five fields as in Unix, seconds ignored; with six the first is seconds, with seven the last is years. When both the
    day of the month and the day of the week are restricted, either is enough. Raises ValueError for an expression
    that cannot be read.
    """
    cron, moment = _cron(expression), utc(moment)
    if cron is None:
        from croniter import croniter

        return croniter.match(expression, moment, second_at_beginning=True)
    on_day = moment.day in cron.days
    on_weekday = moment.isoweekday() % 7 in cron.weekdays
    return (
        moment.minute in cron.minutes
        and moment.hour in cron.hours
        and moment.month in cron.months
        and (on_day or on_weekday if cron.either_day else on_day and on_weekday)
        and moment.second in cron.seconds
        and (cron.years is None or moment.year in cron.years)
    )


def check_cron(expression: str) -> None:
    """Raise ValueError unless the expression can be read."""
    _cron(expression)


@dataclass(frozen=True)
class _Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    seconds: frozenset[int]
    years: frozenset[int] | None
    either_day: bool


@lru_cache(maxsize=1024)
def _cron(expression: str) -> _Cron | None:
    """The values that each field allows; None for forms that need a calendar (the last day, the second Friday)."""
    from croniter import CroniterError, croniter

    try:
        if any(re.fullmatch(r"[hr](\(.*\))?(/\d+)?", field, re.IGNORECASE) for field in expression.split()):
            raise ValueError("hashed and random fields give another answer each time")
        fields, nth_weekdays = croniter.expand(expression, second_at_beginning=True)
    except (CroniterError, ValueError, LookupError):
        raise ValueError(f"{expression!r} is not a cron expression such as '0 0 * * 1-5'") from None
    days, weekdays = fields[2], fields[4]
    if nth_weekdays or "l" in days or re.search(r"\dw", expression, re.IGNORECASE):
        return None

    def allowed(position: int, everything: range) -> frozenset[int]:
        named = fields[position] if position < len(fields) else ["*"]
        return frozenset(
            everything if named == ["*"] else (value for value in named if isinstance(value, int))
        )

    return _Cron(
        minutes=allowed(0, range(60)),
        hours=allowed(1, range(24)),
        days=allowed(2, range(1, 32)),
        months=allowed(3, range(1, 13)),
        weekdays=allowed(4, range(7)),
        seconds=allowed(5, range(60)),
        years=allowed(6, range(1)) if len(fields) > 6 and fields[6] != ["*"] else None,
        either_day=days != ["*"] and weekdays != ["*"],
    )
