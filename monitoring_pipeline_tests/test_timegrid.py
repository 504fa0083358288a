"""Buckets, durations and cron matches: integer arithmetic that has to hold on every edge of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.timegrid import (
    EPOCH,
    Duration,
    Granularity,
    TimeRange,
    check_cron,
    cron_matches,
    from_micros,
    parse_moment,
    to_micros,
    utc,
)

GRANULARITIES = st.sampled_from(list(Granularity))
MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999)
INDICES = st.integers(-20_000, 20_000)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- buckets -----------------------------------------------------------------------------------------------------


@given(GRANULARITIES, MOMENTS)
def test_a_moment_lies_in_its_bucket(granularity: Granularity, moment: datetime):
    start = granularity.floor(moment)
    assert start <= moment < granularity.shift(start, 1)
    assert granularity.floor(start) == start
    assert moment in TimeRange.of_bucket(start, granularity)


@given(GRANULARITIES, INDICES)
def test_index_and_start_are_inverse(granularity: Granularity, index: int):
    start = granularity.start(index)
    assert granularity.index(start) == index
    assert granularity.index(start - timedelta(microseconds=1)) == index - 1


@given(GRANULARITIES, MOMENTS, st.integers(-500, 500), st.integers(-500, 500))
def test_shifts_add_up(granularity: Granularity, moment: datetime, first: int, second: int):
    start = granularity.start(max(-10_000, min(granularity.index(moment), 10_000)))
    shifted = granularity.shift(granularity.shift(start, first), second)
    assert shifted == granularity.shift(start, first + second)
    assert granularity.shift(shifted, -first - second) == start


@given(GRANULARITIES, st.lists(MOMENTS, max_size=20))
def test_arrays_agree_with_single_moments(granularity: Granularity, moments: list[datetime]):
    micros = np.array([to_micros(moment) for moment in moments], dtype=np.int64)
    indices = granularity.index_array(micros)
    assert indices.dtype == np.int64
    assert indices.tolist() == [granularity.index(moment) for moment in moments]
    starts = granularity.start_array(indices)
    assert starts.tolist() == [to_micros(granularity.floor(moment)) for moment in moments]


@given(MOMENTS)
def test_weeks_start_on_monday(moment: datetime):
    start = Granularity.WEEKLY.floor(moment)
    assert start.weekday() == 0
    assert start.isocalendar()[:2] == moment.isocalendar()[:2]


@pytest.mark.parametrize(
    ("granularity", "moment", "start", "following"),
    [
        (Granularity.DAILY, "2024-02-29T23:59:59.999999", "2024-02-29", "2024-03-01"),
        (Granularity.DAILY, "2023-02-28T12:00", "2023-02-28", "2023-03-01"),
        (Granularity.MONTHLY, "2024-02-29", "2024-02-01", "2024-03-01"),
        (Granularity.MONTHLY, "2025-12-31T23:59", "2025-12-01", "2026-01-01"),
        (Granularity.MONTHLY, "1969-12-31", "1969-12-01", "1970-01-01"),
        (Granularity.WEEKLY, "2026-01-01", "2025-12-29", "2026-01-05"),
        (Granularity.WEEKLY, "2021-01-03T23:59", "2020-12-28", "2021-01-04"),
        (Granularity.WEEKLY, "1970-01-01", "1969-12-29", "1970-01-05"),
        (Granularity.HOURLY, "1969-12-31T23:30", "1969-12-31T23:00", "1970-01-01"),
        (Granularity.QUARTER_HOURLY, "2026-03-29T01:59", "2026-03-29T01:45", "2026-03-29T02:00"),
    ],
)
def test_edges_of_the_calendar(granularity: Granularity, moment: str, start: str, following: str):
    assert granularity.floor(at(moment)) == at(start)
    assert granularity.shift(at(start), 1) == at(following)


def test_other_time_zones_are_read_as_utc():
    late = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert Granularity.DAILY.floor(late) == at("2025-12-31")
    assert utc(late) == at("2025-12-31T23:30")
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    assert utc(naive) == at("2026-01-01")


@given(MOMENTS)
def test_microseconds_are_exact(moment: datetime):
    assert from_micros(to_micros(moment)) == moment
    assert to_micros(EPOCH) == 0


@pytest.mark.parametrize("granularity", list(Granularity))
def test_granularities_are_read_in_any_case_and_as_iso_durations(granularity: Granularity):
    iso = {"PT15M": "PT15M", "hourly": "PT1H", "daily": "P1D", "weekly": "P1W", "monthly": "P1M"}[granularity]
    for text in (
        granularity.value,
        granularity.upper(),
        granularity.title(),
        f" {granularity} ",
        iso,
        iso.lower(),
    ):
        assert Granularity.parse(text) is granularity


@pytest.mark.parametrize("text", ["", "individual", "yearly", "P1Y"])
def test_other_granularities_are_refused(text: str):
    with pytest.raises(ValueError, match="daily"):
        Granularity.parse(text)


# --- ranges ------------------------------------------------------------------------------------------------------


def test_ranges_are_half_open():
    day = TimeRange(at("2026-01-01"), at("2026-01-02"))
    assert at("2026-01-01") in day
    assert at("2026-01-02") not in day


def test_buckets_of_a_range_are_those_that_overlap_it():
    noon_to_noon = TimeRange(at("2026-01-01T12:00"), at("2026-01-03T12:00"))
    assert [bucket.day for bucket in noon_to_noon.buckets(Granularity.DAILY)] == [1, 2, 3]
    whole_days = TimeRange(at("2026-01-01"), at("2026-01-03"))
    assert [bucket.day for bucket in whole_days.buckets(Granularity.DAILY)] == [1, 2]
    assert list(TimeRange(at("2026-01-01"), at("2026-01-01")).buckets(Granularity.DAILY)) == []


@pytest.mark.parametrize(
    ("end", "granularity", "count"),
    [
        ("2022-05-05", Granularity.DAILY, 30),
        ("2022-05-05", Granularity.HOURLY, 720),
        ("2022-05-05", Granularity.QUARTER_HOURLY, 2880),
    ],
)
def test_count_of_buckets_in_a_range(end: str, granularity: Granularity, count: int):
    """The reference's MultiGranularityTests: from April 5, 2022."""
    assert len(list(TimeRange(at("2022-04-05"), at(end)).buckets(granularity))) == count


def test_a_range_does_not_end_before_it_starts():
    with pytest.raises(ValueError, match="ends before it starts"):
        TimeRange(at("2026-01-02"), at("2026-01-01"))


# --- moments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T00:00:00Z", "2026-01-31"),
        ("2021-01-01T00:00:00.000Z", "2021-01-01"),
        ("2022-02-25T00:00:000Z", "2022-02-25"),
        ("2023-11-21T00:00:00+00:00", "2023-11-21"),
        ("2023-11-21T01:00:00+02:00", "2023-11-20T23:00"),
        (" 2026-01-31T10:30 ", "2026-01-31T10:30"),
    ],
)
def test_moments_are_read(text: str, moment: str):
    assert parse_moment(text) == at(moment)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026", "2026-02-30", "2026-01-31T25:00", "0001-01-01T00:00+14:00"]
)
def test_text_that_is_no_moment(text: str):
    with pytest.raises(ValueError, match="ISO-8601"):
        parse_moment(text)


# --- durations ---------------------------------------------------------------------------------------------------

DURATIONS = st.builds(
    Duration,
    months=st.integers(0, 2000),
    length=st.timedeltas(min_value=timedelta(), max_value=timedelta(days=100_000)),
)


@given(DURATIONS)
def test_a_duration_reads_back_as_it_was_written(duration: Duration):
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("text", "months", "length"),
    [
        ("P1DT18H", 0, timedelta(hours=42)),
        ("PT25H", 0, timedelta(hours=25)),
        ("P2W", 0, timedelta(days=14)),
        ("P1M", 1, timedelta()),
        ("PT1M", 0, timedelta(minutes=1)),
        ("P1Y2M3W4DT5H6M7.5S", 14, timedelta(days=25, hours=5, minutes=6, seconds=7.5)),
        ("p365d", 0, timedelta(days=365)),
        ("PT0S", 0, timedelta()),
        ("86400", 0, timedelta(days=1)),
        (86400, 0, timedelta(days=1)),
        (0.5, 0, timedelta(milliseconds=500)),
    ],
)
def test_durations_are_read(text: str | float, months: int, length: timedelta):
    assert Duration.parse(text) == Duration(months=months, length=length)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "1D", "P1H", "P1.5D", "-P1D", "P-1D", "PT1H1D", "nan", "inf", -1, float("nan"), "P9999999999999D", 1e300]
)  # fmt: skip
def test_text_that_is_no_duration(text: str | float):
    with pytest.raises(ValueError, match="ISO-8601 duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-01-31", "P1M", "2026-02-28"),
        ("2024-01-31", "P1M", "2024-02-29"),
        ("2024-02-29", "P1Y", "2025-02-28"),
        ("2025-11-30", "P1M", "2025-12-30"),
        ("2025-12-31", "P2M", "2026-02-28"),
        ("2023-12-01", "P1DT25H", "2023-12-03T01:00"),
    ],
)
def test_a_month_is_a_calendar_month(start: str, duration: str, end: str):
    assert Duration.parse(duration).after(at(start)) == at(end)


def test_before_goes_back_by_the_calendar():
    assert Duration.parse("P1M").before(at("2026-03-31")) == at("2026-02-28")
    assert Duration.parse("P30D").before(at("2026-01-30")) == at("2025-12-31")


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10_000)), MOMENTS)
def test_without_months_after_and_before_are_inverse(length: timedelta, moment: datetime):
    middle = moment.replace(year=2000 + moment.year % 20 * 4)
    assert Duration(length=length).before(Duration(length=length).after(middle)) == middle


def test_absurd_durations_stop_at_the_ends_of_the_calendar():
    for text in ("P9999Y", "P99999Y", "P4000000D"):
        assert Duration.parse(text).before(at("2026-01-01")).year == 2
        assert Duration.parse(text).after(at("2026-01-01")).year == 9998


# --- cron --------------------------------------------------------------------------------------------------------

FIELDS = (
    st.sampled_from(["*", "0", "*/15", "5,35", "10-20"]),
    st.sampled_from(["*", "0", "9-17", "*/6", "23"]),
    st.sampled_from(["*", "1", "29", "1,15", "*/10", "31"]),
    st.sampled_from(["*", "2", "1-3", "dec"]),
    st.sampled_from(["*", "1-5", "6,0", "7", "mon", "*/2"]),
)


@given(st.tuples(*FIELDS).map(" ".join), MOMENTS.filter(lambda moment: 1970 < moment.year < 2100))
def test_cron_agrees_with_croniter(expression: str, moment: datetime):
    bucket = Granularity.QUARTER_HOURLY.floor(moment)
    for when in (bucket, Granularity.DAILY.floor(moment), bucket.replace(minute=5)):
        assert cron_matches(expression, when) == croniter.match(expression, when)


@pytest.mark.parametrize(
    ("expression", "moment", "expected"),
    [
        ("0 0 * * 1-5", "2026-01-05", True),
        ("0 0 * * 1-5", "2026-01-04", False),
        ("0 0 * * 6,0", "2026-01-04", True),
        ("0 0 * * 7", "2026-01-04", True),
        ("0 0 25 12 *", "2025-12-25", True),
        ("0 9-17 * * *", "2026-01-05T17:00", True),
        ("0 9-17 * * *", "2026-01-05T18:00", False),
        ("0 19 * * *", "2026-01-05T19:00:21", True),
        ("30 0 0 * * *", "2026-01-05T00:00:30", True),
        ("30 0 0 * * *", "2026-01-05", False),
        ("0 0 13 * 5", "2026-01-13", True),
        ("0 0 13 * 5", "2026-01-16", True),
        ("0 0 13 * 5", "2026-01-14", False),
        ("@daily", "2026-01-05", True),
        ("@weekly", "2026-01-05", False),
        ("@weekly", "2026-01-04", True),
        ("0 0 L * *", "2024-02-29", True),
        ("0 0 L * *", "2026-02-27", False),
        ("0 0 * * 5#2", "2026-01-09", True),
        ("0 0 * * 5#2", "2026-01-16", False),
    ],
)
def test_cron_expressions(expression: str, moment: str, expected: bool):
    """With both days restricted either is enough, as in Unix. 2026-01-04 is a Sunday."""
    assert cron_matches(expression, at(moment)) is expected


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "0 24 * * *", "nonsense", "H 0 * * *", "R(0-5) * * * *"]
)
def test_text_that_is_no_cron_expression(expression: str):
    with pytest.raises(ValueError, match="not a cron expression"):
        check_cron(expression)
