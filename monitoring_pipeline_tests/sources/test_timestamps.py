from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.sources.timestamps import BAD, PathDate, micros_of
from monitoring_pipeline.timegrid import from_micros

NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z, date -u -d 2026-01-01T12:00 +%s


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_arrow_timestamps_of_any_unit_and_zone(unit: str, zone: str | None) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    values = pa.array([moment if zone else moment.replace(tzinfo=None), None], pa.timestamp(unit, zone))
    assert micros_of(values).tolist() == [NOON, BAD]


def test_dates_begin_at_midnight_utc() -> None:
    midnight = NOON - 12 * 3_600_000_000
    assert micros_of(pa.array([date(2026, 1, 1)], pa.date32())).tolist() == [midnight]
    assert micros_of(pa.array([date(2026, 1, 1)], pa.date64())).tolist() == [midnight]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01 12:00",
        "2026-01-01T12:00:00.000000",
        "2026/01/01 12:00:00",
        "2026-01-01T13:00:00+01:00",
        "2026-01-01T13:00+0100",
        " 2026-01-01 12:00:00 ",
        "1767268800",
        "1767268800000",
        "1767268800000000",
        "1767268800.0",
    ],
)
def test_spellings_of_one_moment(text: str) -> None:
    assert micros_of(pa.array([text])).tolist() == [NOON]


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "2026-13-01", "31/01/2026", "12:00", "nan"])
def test_text_that_is_no_timestamp(text: str) -> None:
    assert micros_of(pa.array([text, None])).tolist() == [BAD, BAD]


def test_one_bad_text_among_good_ones_spoils_nothing() -> None:
    values = pa.array(
        ["2026-01-01T12:00:00", "2026-02-30T00:00:00", "2026-01-01T12:00:00Z", "20260101", None]
    )
    assert micros_of(values).tolist() == [NOON, BAD, NOON, NOON - 12 * 3_600_000_000, BAD]


@pytest.mark.parametrize(
    "number", [1_767_268_800, 1_767_268_800_000, 1_767_268_800_000_000, 1_767_268_800 * 10**9]
)
def test_the_unit_of_a_number_follows_from_its_magnitude(number: int) -> None:
    assert micros_of(pa.array([number])).tolist() == [NOON]


def test_eight_digits_are_a_date_when_they_spell_one() -> None:
    spelled, seconds = micros_of(pa.array([20_260_101, 20_261_301])).tolist()
    assert spelled == NOON - 12 * 3_600_000_000
    assert seconds == 20_261_301_000_000


def test_times_that_no_calendar_has_are_bad() -> None:
    values = pa.array([2**62, -(2**62)], pa.timestamp("s"))
    assert micros_of(values).tolist() == [BAD, BAD]


def test_other_types_have_no_timestamps() -> None:
    assert micros_of(pa.array([True, None])).tolist() == [BAD, BAD]
    assert micros_of(pa.nulls(2)).tolist() == [BAD, BAD]


def test_dictionaries_are_read_like_their_values() -> None:
    assert micros_of(pa.array(["2026-01-01T12:00:00Z"] * 3).dictionary_encode()).tolist() == [NOON] * 3


@given(st.lists(st.one_of(st.none(), st.integers(10**15, 7 * 10**15).map(from_micros)), max_size=20))
def test_text_and_arrow_timestamps_agree(moments: list[datetime | None]) -> None:
    arrow = micros_of(pa.array(moments, pa.timestamp("us", "UTC")))
    east = timezone(timedelta(hours=5, minutes=45))
    for spelled in (
        [moment and moment.isoformat() for moment in moments],
        [moment and moment.replace(tzinfo=None).isoformat() for moment in moments],
        [moment and moment.astimezone(east).isoformat(" ") for moment in moments],
    ):
        np.testing.assert_array_equal(micros_of(pa.array(spelled, pa.string())), arrow)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("date=%Y-%m-%d", "landing/date=2026-01-31/part-0.parquet", datetime(2026, 1, 31, tzinfo=UTC)),
        ("date=%Y-%m-%d/hour=%H", "a/date=2026-01-31/hour=05.parquet", datetime(2026, 1, 31, 5, tzinfo=UTC)),
        ("%Y%m%d", "visits_20260131.csv.gz", datetime(2026, 1, 31, tzinfo=UTC)),
        ("%Y-%m", "2025-12/2026-01.parquet", datetime(2026, 1, 1, tzinfo=UTC)),
        ("v.%d", "v1%d/x", None),
        ("%Y-%m-%d", "2026-02-30.csv", None),
        ("%Y%m%d", "id-1202601311.csv", None),
    ],
)
def test_dates_in_paths(pattern: str, path: str, found: datetime | None) -> None:
    assert PathDate(pattern).find(path) == found


def test_a_directive_that_cannot_be_searched_is_named() -> None:
    with pytest.raises(ValueError, match="%Z cannot be looked for"):
        PathDate("%Y%Z").find("2026")
