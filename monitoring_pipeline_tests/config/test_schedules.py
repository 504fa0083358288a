"""Schedules are tested on the start of a bucket, never on the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.schedules import CronSchedule, FixedSchedule, ImmediateSchedule
from monitoring_pipeline.timegrid import Granularity, TimeRange

OUTSIDE = (
    TimeRange(datetime(1970, 1, 1, tzinfo=UTC), datetime(2021, 11, 21, tzinfo=UTC)),
    TimeRange(datetime(2022, 1, 2, tzinfo=UTC), datetime(3000, 1, 2, tzinfo=UTC)),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cadence", "moment", "expected"),
    [
        ("weekly", "2022-04-04", True),
        ("weekly", "2022-04-02", False),
        ("weekly", "2022-04-04T14:00", False),
        ("daily", "2022-04-02", True),
        ("daily", "2022-04-04T14:00", False),
        ("daily", "2022-04-01T02:45", False),
        ("hourly", "2022-04-04T14:00", True),
        ("hourly", "2022-04-01T02:45", False),
        ("PT15M", "2022-04-01T02:45", True),
        ("PT15M", "2022-04-01T02:46", False),
        ("monthly", "2022-04-01", True),
        ("monthly", "2022-04-02", False),
        ("monthly", "2022-04-04T14:00", False),
    ],
)
def test_fixed_cadences_of_the_reference(cadence: str, moment: str, expected: bool):
    """The reference's FixedCadenceScheduleTests; 2022-04-04 is a Monday."""
    schedule = FixedSchedule(cadence=Granularity.parse(cadence))
    assert schedule.matches(at(moment), Granularity.QUARTER_HOURLY) is expected


def test_a_weekly_analyzer_of_daily_data_analyses_mondays():
    weekly = FixedSchedule(cadence=Granularity.WEEKLY)
    days = [at("2026-01-01") + timedelta(days=number) for number in range(14)]
    assert [day.day for day in days if weekly.matches(day, Granularity.DAILY)] == [5, 12]


def test_a_cadence_finer_than_the_data_analyses_every_bucket():
    hourly = FixedSchedule(cadence=Granularity.HOURLY)
    assert all(
        hourly.matches(granularity.start(granularity.index(at("2026-03-04"))), granularity)
        for granularity in Granularity
    )


def test_a_monthly_analyzer_of_weekly_data_analyses_one_week_of_each_month():
    monthly = FixedSchedule(cadence=Granularity.MONTHLY)
    mondays = [at("2026-01-05") + timedelta(weeks=number) for number in range(52)]
    matched = [monday for monday in mondays if monthly.matches(monday, Granularity.WEEKLY)]
    assert [monday.month for monday in matched] == list(range(1, 13))
    assert all(monday.day <= 7 for monday in matched)


@given(st.sampled_from(list(Granularity)), st.datetimes().filter(lambda moment: 1 < moment.year < 9999))
def test_without_a_schedule_of_its_own_every_bucket_is_analysed(granularity: Granularity, moment: datetime):
    bucket = granularity.floor(moment.replace(tzinfo=UTC))
    assert FixedSchedule(cadence=granularity).matches(bucket, granularity)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2021-11-13T19:00:21", False),
        ("2021-12-01T19:00:21", True),
        ("2021-12-01T17:00:21", False),
        ("2021-12-01T21:00:21", False),
        ("2023-12-01T19:00:21", False),
    ],
)
def test_cron_schedule_of_the_reference(moment: str, expected: bool):
    """The reference's CronScheduleTest: seconds inside the minute are ignored."""
    schedule = CronSchedule(cron="0 19 * * *", exclusion_ranges=OUTSIDE)
    assert schedule.matches(at(moment), Granularity.HOURLY) is expected


@pytest.mark.parametrize("schedule", [
    FixedSchedule(cadence=Granularity.DAILY, exclusion_ranges=OUTSIDE),
    CronSchedule(cron="0 0 * * *", exclusion_ranges=OUTSIDE),
    ImmediateSchedule(exclusion_ranges=OUTSIDE),
])  # fmt: skip
def test_exclusion_ranges_include_their_start_and_not_their_end(
    schedule: FixedSchedule | CronSchedule | ImmediateSchedule,
):
    moments = ["2021-11-20", "2021-11-21", "2022-01-01", "2022-01-02"]
    matched = [schedule.matches(at(moment), Granularity.DAILY) for moment in moments]
    assert matched == [False, True, True, False]


def test_weekdays_only():
    weekdays = CronSchedule(cron="0 0 * * 1-5")
    week = [at("2026-01-05") + timedelta(days=number) for number in range(7)]
    assert [weekdays.matches(day, Granularity.DAILY) for day in week] == [True] * 5 + [False] * 2


def test_naive_moments_are_taken_as_utc():
    naive = datetime(2026, 1, 5)  # noqa: DTZ001
    assert FixedSchedule(cadence=Granularity.WEEKLY).matches(naive, Granularity.DAILY)
