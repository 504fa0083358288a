"""Time as the pipeline sees it: granularities, buckets, half-open ranges, ISO-8601 durations, cron matches.

All time is UTC. A bucket is named by its start and is half-open; weeks start on Monday. At the edges time is a
timezone-aware `datetime`; inside arrays it is `int64` microseconds since 1970, or a bucket index: the number of
whole granules since the granule that holds 1970-01-01, so that windows become integer arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MONDAY = datetime(1969, 12, 29, tzinfo=UTC)


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
    except ValueError:
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
        if isinstance(value, (int, float)):
            return cls(length=timedelta(seconds=value))
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return cls(length=timedelta(seconds=float(text)))
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f"{value!r} is not an ISO-8601 duration such as PT6H, P1DT12H, P2W or P1M")
        part = {name: float(amount) if amount else 0.0 for name, amount in match.groupdict().items()}
        return cls(
            months=int(part["years"] * 12 + part["months"]),
            length=timedelta(
                weeks=part["weeks"],
                days=part["days"],
                hours=part["hours"],
                minutes=part["minutes"],
                seconds=part["seconds"],
            ),
        )

    def after(self, moment: datetime) -> datetime:
        """`moment` plus this duration. A month after January 31 is the last day of February."""
        return _add_months(moment, self.months) + self.length

    def before(self, moment: datetime) -> datetime:
        """`moment` minus this duration."""
        return _add_months(moment - self.length, -self.months)

    def __str__(self) -> str:
        days, rest = divmod(self.length, timedelta(days=1))
        hours, rest = divmod(rest, timedelta(hours=1))
        minutes, rest = divmod(rest, timedelta(minutes=1))
        seconds = rest.total_seconds()
        date = f"{self.months}M" * bool(self.months) + f"{days}D" * bool(days)
        time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes) + f"{seconds:g}S" * bool(seconds)
        return f"P{date}" + (f"T{time}" if time else "") if date or time else "PT0S"


def _add_months(moment: datetime, months: int) -> datetime:
    if months == 0:
        return moment
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    following = datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC)
    last_day = (following - timedelta(days=1)).day
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def cron_matches(expression: str, moment: datetime) -> bool:
    """Whether a cron expression fires at `moment` (UTC). Five fields as in Unix; with six the first is seconds."""
    from croniter import croniter

    return croniter.match(expression, utc(moment), second_at_beginning=True)


def check_cron(expression: str) -> None:
    """Raise ValueError unless the expression can be read."""
    from croniter import croniter

    if not croniter.is_valid(expression, second_at_beginning=True):
        raise ValueError(f"{expression!r} is not a cron expression such as '0 0 * * 1-5'")
