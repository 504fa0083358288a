from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from monitoring_pipeline.analysis.baselines import (
    Window,
    baseline_window,
    expected_count,
    explain_insufficient,
    insufficient,
    target_window,
)
from monitoring_pipeline.config.baselines import Baseline
from monitoring_pipeline.timegrid import Granularity

NAN = float("nan")
DAILY = Granularity.DAILY


def baseline(**given: Any) -> Baseline:
    return TypeAdapter(Baseline).validate_python(given)


def trailing(**given: Any) -> Baseline:
    return baseline(type="TrailingWindow", **given)


def moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=micros)


def test_the_first_of_twelve_buckets_before_a_target() -> None:
    # From the guide: size 12 on 2021-09-25 is 09-13 to 09-24; with a target of two buckets 09-12 to 09-23.
    target = DAILY.index(datetime(2021, 9, 25, tzinfo=UTC))
    for target_size, first, last in ((1, 13, 24), (2, 12, 23)):
        window = baseline_window(
            trailing(size=12), np.array([target]), target_size=target_size, granularity=DAILY
        )
        assert window is not None
        days = [DAILY.start(index).day for index in window.members(0)]
        assert (days[0], days[-1], len(days)) == (first, last, 12)


def test_an_offset_leaves_a_gap_before_the_target() -> None:
    window = baseline_window(trailing(size=3, offset=2), np.array([100]), target_size=1, granularity=DAILY)
    assert window is not None
    assert window.members(0) == [95, 96, 97]


def test_an_excluded_bucket_is_dropped_and_not_replaced() -> None:
    weekends = trailing(size=7, exclusionSchedule={"type": "cron", "cron": "0 0 * * 6,0"})
    monday = DAILY.index(datetime(2026, 1, 5, tzinfo=UTC))
    window = baseline_window(weekends, np.array([monday]), target_size=1, granularity=DAILY)
    assert window is not None
    assert len(window.members(0)) == 5
    values = np.arange(8, dtype=float)[None]
    assert np.isnan(window.gather(values, monday - 7)[0, 0]).tolist() == [False] * 5 + [True] * 2
    assert expected_count(weekends, DAILY) == 7


def test_a_time_range_is_the_same_for_every_target() -> None:
    fixed = baseline(type="TimeRange", range={"start": "2026-01-01T00:00:00Z", "end": "2026-01-04T00:00:00Z"})
    window = baseline_window(fixed, np.array([20_500, 20_600]), target_size=3, granularity=DAILY)
    assert window is not None
    assert [DAILY.start(index).day for index in window.members(0)] == [1, 2, 3]
    assert window.members(1) == window.members(0)


def test_gather_is_nan_outside_of_the_values() -> None:
    window = Window(np.array([8, 10, 12]), 2)
    found = window.gather(np.array([[1.0, 2.0, 3.0]]), 10)
    assert np.array_equal(found, [[[NAN, NAN], [1.0, 2.0], [3.0, NAN]]], equal_nan=True)


def test_an_empty_window_gathers_nothing() -> None:
    assert Window(np.array([5, 6]), 0).gather(np.ones((3, 4)), 0).shape == (3, 2, 0)


def test_a_target_of_several_buckets_ends_with_the_target() -> None:
    assert target_window(np.array([10]), 3).members(0) == [8, 9, 10]


def test_a_minimum_larger_than_the_window_is_capped_at_the_window() -> None:
    counts = np.array([[6, 7]])
    assert insufficient(counts, expected=7, minimum=30).tolist() == [[True, False]]


def test_the_explanation_says_how_many_of_how_many() -> None:
    assert (
        explain_insufficient(np.array([[2]]), 7, trailing())[0, 0]
        == "baseline has 2 of the 7 buckets it needs"
    )
    reference = baseline(type="Reference", profileId="good")
    assert "'good'" in explain_insufficient(np.array([[0]]), 1, reference)[0, 0]
