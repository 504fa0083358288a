"""Which time a report is about, and which buckets of a dataset belong to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.reports import Period
from monitoring_pipeline.timegrid import Granularity, TimeRange

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def period(start: str, end: str) -> Period:
    return Period(
        TimeRange(
            datetime.fromisoformat(start).replace(tzinfo=UTC), datetime.fromisoformat(end).replace(tzinfo=UTC)
        )
    )


@pytest.mark.parametrize(
    ("now", "name"),
    [
        ("2026-11-22T23:59", "2026-W46"),  # a Sunday: its week is not over
        ("2026-11-23T00:00", "2026-W47"),  # a Monday
        ("2027-01-04T06:00", "2026-W53"),
        ("2027-01-11T06:00", "2027-W01"),
    ],
)
def test_the_last_week_is_the_newest_that_is_over(now: str, name: str) -> None:
    found = Period.last_week(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (found.name, found.is_week) == (name, True)


def test_a_period_that_is_no_week_is_named_by_its_days() -> None:
    assert period("2026-03-01", "2026-04-01").name == "2026-03-01 to 2026-03-31"
    assert period("2026-03-01", "2026-03-02").name == "2026-03-01"
    assert period("2026-03-01T06:00", "2026-03-02").words == "2026-03-01 06:00 to 2026-03-02 00:00, UTC"
    assert not period("2026-03-03", "2026-03-10").is_week


@pytest.mark.parametrize(
    ("granularity", "count", "first"),
    [
        (Granularity.HOURLY, 168, "2026-03-02"),
        (Granularity.DAILY, 7, "2026-03-02"),
        (Granularity.WEEKLY, 1, "2026-03-02"),
        (Granularity.MONTHLY, 0, "2026-03-01"),
    ],
)
def test_the_buckets_are_those_that_ended_within_it(granularity: Granularity, count: int, first: str) -> None:
    found = period("2026-03-02", "2026-03-09").buckets(granularity, now=LATER)
    assert len(found) == count
    assert found.window.start == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert found.before.window.end == found.window.start


def test_a_month_belongs_to_the_week_in_which_it_ends() -> None:
    found = period("2026-03-30", "2026-04-06").buckets(Granularity.MONTHLY, now=LATER)
    assert found.starts == [datetime(2026, 3, 1, tzinfo=UTC)]
    assert found.before.starts == [datetime(2026, 2, 1, tzinfo=UTC)]


def test_a_bucket_that_is_not_over_is_left_out() -> None:
    now = datetime(2026, 3, 5, 15, tzinfo=UTC)
    found = period("2026-03-02", "2026-03-09").buckets(Granularity.DAILY, now=now)
    assert found.words == "3 days, 2026-03-02 to 2026-03-04"
    assert len(period("2026-04-02", "2026-04-09").buckets(Granularity.DAILY, now=now)) == 0


def test_places_are_counted_from_the_first() -> None:
    found = period("2026-03-02", "2026-03-09").buckets(Granularity.DAILY, now=LATER)
    assert found.with_before.place(found.window.start) == 7
    assert found.moments([0, 2]) == "2026-03-02, 2026-03-04"
    assert found.moments([*range(7)]).endswith("2026-03-06 and 2 more")
    assert found.starts[1] - found.starts[0] == timedelta(days=1)
