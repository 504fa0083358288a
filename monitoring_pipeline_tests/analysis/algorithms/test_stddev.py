from __future__ import annotations

import re
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import stddev
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import Analyzer, StddevConfig, parse_analyzer
from monitoring_pipeline.errors import AnalysisError


def config_of(**given: object) -> StddevConfig:
    return StddevConfig.model_validate({"metric": "mean", "baseline": {"type": "TrailingWindow"}, **given})


def judge(config: StddevConfig, target: float, baseline: list[float]) -> Verdicts:
    return stddev.evaluate(config, np.array([[target]]), np.array([[baseline]], dtype=np.float64))


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0, 5),
)
def test_bounds_are_mean_and_sample_deviation(baseline: list[float], factor: float) -> None:
    verdicts = judge(config_of(factor=factor, minBatchSize=1), 0.0, baseline)
    mean, sigma = statistics.fmean(baseline), statistics.stdev(baseline)
    assert verdicts.upper[0, 0] == pytest.approx(mean + factor * sigma, rel=1e-9, abs=1e-6)
    assert verdicts.lower[0, 0] == pytest.approx(mean - factor * sigma, rel=1e-9, abs=1e-6)


def test_a_baseline_of_one_count_takes_the_root_of_its_mean() -> None:
    verdicts = judge(config_of(minBatchSize=1, factor=3), 131.0, [100.0])
    assert (verdicts.lower[0, 0], verdicts.upper[0, 0]) == (70.0, 130.0)
    assert verdicts.anomaly[0, 0]


def test_a_baseline_of_one_negative_value_never_alerts() -> None:
    assert not judge(config_of(minBatchSize=1), 1e9, [-1.0]).anomaly[0, 0]


def test_any_change_of_a_constant_is_an_anomaly() -> None:
    assert judge(config_of(), 5.0000001, [5.0, 5.0, 5.0]).anomaly[0, 0]
    assert not judge(config_of(), 5.0, [5.0, 5.0, 5.0]).anomaly[0, 0]


def test_the_band_is_at_least_as_wide_as_the_least_change_that_matters() -> None:
    baseline = [10.0, 10.0, 10.0, 10.0]
    config = config_of(factor=3, params={"leastChange": "0.05"})
    assert [bool(judge(config, target, baseline).anomaly[0, 0]) for target in (10.4, 9.6, 10.6, 9.4)] == [
        False, False, True, True,
    ]  # fmt: skip
    wide = [5.0, 15.0, 5.0, 15.0]
    assert judge(config, 12.0, wide).upper == judge(config_of(factor=3), 12.0, wide).upper
    with pytest.raises(AnalysisError, match=r"params\.leastChange is 'much'"):
        judge(config_of(params={"leastChange": "much"}), 12.0, wide)


def test_limit_and_keeps_the_calculated_bound_of_the_side_without_a_threshold() -> None:
    verdicts = judge(config_of(factor=1, limitType="and", maxUpperThreshold=100), -50.0, [9.0, 10.0, 11.0])
    assert (verdicts.lower[0, 0], verdicts.upper[0, 0]) == (9.0, 100.0)
    assert verdicts.anomaly[0, 0]


def test_limit_or_keeps_bounds_inside_the_static_thresholds() -> None:
    verdicts = judge(
        config_of(factor=3, minLowerThreshold=9, maxUpperThreshold=10.5), 10.0, [9.0, 10.0, 11.0]
    )
    assert (verdicts.lower[0, 0], verdicts.upper[0, 0]) == (9.0, 10.5)


def test_contradictory_thresholds_are_a_failure_with_both_numbers() -> None:
    verdicts = judge(config_of(minLowerThreshold=5, maxUpperThreshold=1), 100.0, [1.0, 2.0, 3.0])
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert verdicts.explanation[0, 0] == "minLowerThreshold 5 exceeds maxUpperThreshold 1"
    assert not verdicts.anomaly[0, 0]


def test_an_outlier_of_the_baseline_is_left_out_with_grubbs() -> None:
    baseline = [9.0, 10.0, 11.0, 10.0, 9.0, 11.0, 500.0]
    assert not judge(config_of(), 100.0, baseline).anomaly[0, 0]
    cleaned = judge(config_of(params={"enableGrubb": "true"}), 100.0, baseline)
    assert cleaned.anomaly[0, 0]
    assert cleaned.columns["points_used"] == np.array([[6]])


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"enableGrubb": "yes"}, "params.enableGrubb is 'yes'; accepted: true or false"),
        ({"alpha": "2"}, "params.alpha is '2'; accepted: a number between 0 and 1"),
        ({"lambdaKeep": "much"}, "params.lambdaKeep is 'much'; accepted: a number between 0 and 1"),
    ],
)
def test_parameters_that_cannot_be_used_say_what_is_accepted(params: dict[str, str], reason: str) -> None:
    given = {"config": {**config_of().model_dump(mode="json", by_alias=True), "params": params}}
    with pytest.raises(AnalysisError, match=re.escape(reason)):
        stddev.reach(analyzer_of(given))


def test_a_healed_baseline_begins_before_the_window() -> None:
    config = {"type": "stddev", "metric": "mean", "params": {"enableAlertsFilter": "true"}}
    trailing = {"type": "TrailingWindow", "size": 5, "offset": 2}
    assert (
        stddev.reach(analyzer_of({"config": {**config, "baseline": trailing}, "targetSize": 3})) == 4 * 5 + 4
    )
    fixed = {"type": "TimeRange", "range": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}}
    with pytest.raises(AnalysisError, match="need a TrailingWindow baseline"):
        stddev.reach(analyzer_of({"config": {**config, "baseline": fixed}}))


def analyzer_of(given: dict[str, Any]) -> Analyzer:
    return parse_analyzer(
        {"id": "a", "targetMatrix": {"type": "column", "include": ["*"]}, **given}, source="t"
    )


@given(st.data())
def test_a_verdict_has_the_same_bits_alone_and_among_many(data: st.DataObject) -> None:
    finite = st.floats(-1e9, 1e9) | st.just(float("nan"))
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9)))
    size = int(np.prod(shape))
    baseline = np.array(data.draw(st.lists(finite, min_size=size, max_size=size))).reshape(shape)
    target = np.zeros(shape[:2])
    together = stddev.evaluate(config_of(minBatchSize=1), target, baseline)
    for row in range(shape[0]):
        for at in range(shape[1]):
            alone = stddev.evaluate(
                config_of(minBatchSize=1),
                target[row : row + 1, at : at + 1],
                baseline[row : row + 1, at : at + 1],
            )
            assert np.array_equal(alone.upper[0, 0], together.upper[row, at], equal_nan=True)
