from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import monotonic
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import MonotonicConfig, parse_analyzer

NAN = float("nan")


def judge(values: list[float], **given: object) -> Verdicts:
    config = MonotonicConfig.model_validate({"metric": "count", **given})
    return monotonic.evaluate(config, np.array([[values[-1]]]), np.array([[values[:-1]]], dtype=np.float64))


def steps(values: list[float], **given: object) -> float:
    return float(judge(values, **given).value[0, 0])


def test_sales_that_must_always_rise() -> None:
    # From the guide: targetSize 2, direction DECREASING, numBuckets 1.
    assert judge([100.0, 90.0], direction="DECREASING").anomaly[0, 0]
    assert not judge([100.0, 100.0], direction="DECREASING").anomaly[0, 0]
    assert not judge([100.0, 110.0], direction="DECREASING").anomaly[0, 0]


def test_as_many_steps_as_asked_for_are_an_anomaly() -> None:
    values = [1.0, 2.0, 1.0, 2.0]
    assert steps(values) == 2
    assert judge(values, numBuckets=2).anomaly[0, 0]
    assert not judge(values, numBuckets=3).anomaly[0, 0]


def test_a_bucket_without_the_metric_is_bridged() -> None:
    assert steps([1.0, NAN, 2.0]) == 1
    assert steps([NAN, NAN, 2.0]) == 0
    assert not judge([1.0, 2.0, NAN]).anomaly[0, 0]


def test_the_buckets_before_the_target_are_within_reach() -> None:
    given = {"targetSize": 5, "config": {"type": "monotonic", "metric": "count"}}
    assert monotonic.reach(parse_analyzer({"id": "a", **given}, source="test")) == 4


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_steps_in_both_directions_and_standing_still_are_all_steps(values: list[float]) -> None:
    still = sum(one == other for one, other in itertools.pairwise(values))
    assert steps(values) + steps(values, direction="DECREASING") + still == len(values) - 1
    assert steps(values) == steps(values[::-1], direction="DECREASING")
