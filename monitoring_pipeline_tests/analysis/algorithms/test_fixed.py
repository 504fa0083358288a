from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import fixed
from monitoring_pipeline.config.analyzers import FixedConfig
from monitoring_pipeline_tests.analysis.vectors import cases, numbers

NAN = float("nan")


def judge(config: FixedConfig, target: float, before: list[float] | None = None) -> bool:
    verdicts = fixed.evaluate(config, np.array([[target]]), np.array([[before or []]]))
    return bool(verdicts.anomaly[0, 0])


@pytest.mark.parametrize("case", cases("FixedThresholdCalculationTest", kind="calculate"))
def test_agrees_with_the_reference(case: dict[str, Any]) -> None:
    analyzer = {"metric": "mean", **case["analyzer"]}
    config = FixedConfig.model_validate(analyzer)
    wanted = config.n_consecutive - 1
    priors = numbers(case.get("priors"))[-wanted:].tolist() if wanted else []
    before = [NAN] * (wanted - len(priors)) + priors
    assert judge(config, numbers(case["target"])[0], before) == bool(case["expected"]["alertCount"])


@pytest.mark.parametrize("case", cases("EventJobV3Test", kind="min_max"))
def test_bounds_agree_with_the_reference(case: dict[str, Any]) -> None:
    config = FixedConfig.model_validate({"metric": "mean", "lower": case["min"], "upper": case["max"]})
    assert judge(config, case["value"]) == case["expected"]["alert"]


def test_a_value_on_a_bound_is_no_anomaly() -> None:
    config = FixedConfig(metric="mean", lower=0.0, upper=1.0)
    assert not judge(config, 0.0)
    assert not judge(config, 1.0)
    assert judge(config, np.nextafter(1.0, 2.0))


def test_without_bounds_nothing_is_an_anomaly() -> None:
    assert not judge(FixedConfig(metric="mean"), float("inf"))


def test_nan_is_no_anomaly() -> None:
    assert not judge(FixedConfig(metric="mean", lower=0, upper=0), NAN)


def test_a_missing_bucket_breaks_the_chain_of_consecutive_breaches() -> None:
    config = FixedConfig(metric="mean", upper=10, n_consecutive=3)
    assert judge(config, 11, [12, 13])
    assert not judge(config, 11, [12, NAN])
    assert not judge(config, 11, [NAN, 12])
    assert not judge(config, 11, [9, 12])


def test_a_breach_on_either_side_continues_the_chain() -> None:
    config = FixedConfig(metric="mean", lower=0, upper=10, n_consecutive=2)
    assert judge(config, 11, [-1])
