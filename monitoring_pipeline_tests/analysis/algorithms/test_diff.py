from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import diff
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import DiffConfig
from monitoring_pipeline_tests.analysis.vectors import cases, number, numbers

SHAPES = {
    "DiffCalculationTest.testLongBaseline": "several baseline values cannot be given: the engine merges them",
    "DiffCalculationTest.testLongTarget": "several target values cannot be given",
    "DiffCalculationTest.testNullTargetValue": "DECISION 18: a null target yields no result",
}


def config_of(**given: object) -> DiffConfig:
    return DiffConfig.model_validate(
        {"metric": "mean", "mode": "abs", "baseline": {"type": "TrailingWindow"}, **given}
    )


def judge(config: DiffConfig, target: float, baseline: float) -> Verdicts:
    return diff.evaluate(config, np.array([[target]]), np.array([[baseline]]))


@pytest.mark.parametrize("case", cases("DiffCalculationTest", kind="calculate"))
def test_agrees_with_the_reference(case: dict[str, Any]) -> None:
    if case["id"] in SHAPES:
        pytest.skip(SHAPES[case["id"]])
    expected = case["expected"]
    verdicts = judge(config_of(**case["analyzer"]), numbers(case["target"])[0], numbers(case["baseline"])[0])
    if expected.get("raises"):
        assert verdicts.failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED
        return
    assert verdicts.anomaly[0, 0] == bool(expected["alertCount"])
    if "diff" in expected:
        assert verdicts.value[0, 0] == pytest.approx(expected["diff"], abs=case["tolerance"])
    for side, found in (("lower", verdicts.lower[0, 0]), ("upper", verdicts.upper[0, 0])):
        if isinstance(expected.get(side, {}), dict):
            assert side not in expected or not np.isnan(found)
        else:
            assert found == pytest.approx(number(expected[side]), abs=case.get("tolerance", 0), nan_ok=True)


def test_a_change_from_zero_is_a_hundred_percent() -> None:
    verdicts = judge(config_of(mode="pct", threshold=99), 1e-9, 0.0)
    assert verdicts.value[0, 0] == 100.0
    assert verdicts.anomaly[0, 0]
    assert judge(config_of(mode="pct", threshold=0), 0.0, 0.0).value[0, 0] == 0.0


def test_bounds_around_a_negative_baseline_are_in_order() -> None:
    verdicts = judge(config_of(mode="pct", threshold=50), -10.0, -10.0)
    assert (verdicts.lower[0, 0], verdicts.upper[0, 0]) == (-15.0, -5.0)


def test_only_the_asked_side_alerts() -> None:
    assert not judge(config_of(threshold=1, thresholdType="upper"), 0.0, 10.0).anomaly[0, 0]
    assert judge(config_of(threshold=1, thresholdType="lower"), 0.0, 10.0).anomaly[0, 0]


def test_a_difference_of_exactly_the_threshold_is_no_anomaly() -> None:
    assert not judge(config_of(threshold=2), 12.0, 10.0).anomaly[0, 0]
