"""Numbers and names as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.alerting.figures import (
    LONGEST_NAME,
    Unit,
    between,
    figure,
    figures,
    moment,
    name,
    segment_name,
    span,
)
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline.timegrid import Granularity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.141, Unit.RATIO, "14.1 %"),
        (1.0, Unit.RATIO, "100 %"),
        (0.0, Unit.RATIO, "0 %"),
        (0.00004, Unit.RATIO, "0.004 %"),
        (1_234_567, Unit.COUNT, "1,234,567"),
        (54_213.7, Unit.NUMBER, "54,214"),
        (-12.3456, Unit.NUMBER, "−12.35"),
        (1.5e-9, Unit.NUMBER, "1.500e−09"),
        (math.inf, Unit.NUMBER, "∞"),
        (math.nan, Unit.NUMBER, "NaN"),
        (45, Unit.SECONDS, "45 s"),
        (93_600, Unit.SECONDS, "1 d 2 h"),
    ],
)
def test_a_number_is_written_with_its_unit_and_few_digits(value: float, unit: Unit, text: str) -> None:
    assert figure(value, unit) == text


def test_what_is_not_quite_all_is_not_called_100_percent() -> None:
    assert figure(0.9996, Unit.RATIO) == "99.96 %"


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12), st.sampled_from(Unit))
def test_a_value_never_looks_equal_to_a_bound_that_it_differs_from(
    value: float, bound: float, unit: Unit
) -> None:
    first, second = figures((value, bound), unit)
    if not math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-9):
        assert first != second


def test_a_bound_below_zero_is_not_shown_for_what_cannot_be_negative() -> None:
    assert between(-0.004, 0.012, Unit.RATIO, value=0.141) == ("14.1 %", "0–1.2 %")
    assert between(-3.0, 3.0, Unit.NUMBER, value=5.0) == ("5", "−3 to 3")


def test_one_bound_is_said_as_at_most_or_at_least() -> None:
    assert between(None, 0.05, Unit.RATIO, value=0.2)[1] == "at most 5 %"
    assert between(1000.0, None, Unit.COUNT, value=12.0)[1] == "at least 1,000"


def test_a_bucket_is_as_exact_as_its_granularity() -> None:
    start = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    assert moment(start, Granularity.MONTHLY) == "2026-01"
    assert moment(start, Granularity.DAILY) == "2026-01-05"
    assert moment(start, Granularity.QUARTER_HOURLY) == "2026-01-05 14:30"


def test_hours_of_one_day_name_the_day_once() -> None:
    first, last = (datetime(2026, 1, 5, hour, tzinfo=UTC) for hour in (9, 17))
    assert span(first, last, Granularity.HOURLY) == "2026-01-05 09:00 to 17:00"


def test_a_name_is_one_harmless_line_of_bounded_length() -> None:
    hostile = "a`b\x1b[2J\r\n\u202e" + "x" * 200
    shown = name(hostile)
    assert shown.isprintable()
    assert "`" not in shown
    assert len(shown) == LONGEST_NAME


def test_a_segment_is_shown_without_its_escapes() -> None:
    assert segment_name(segment_key({"region": "EU & UK", "a": "1=1"})) == "a=1=1, region=EU & UK"
    assert segment_name("") == "all data"
