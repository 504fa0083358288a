from __future__ import annotations

import numpy as np

from monitoring_pipeline.analysis.algorithms import diff
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import DiffConfig


def config_of(**given: object) -> DiffConfig:
    return DiffConfig.model_validate(
        {"metric": "mean", "mode": "abs", "baseline": {"type": "TrailingWindow"}, **given}
    )


def judge(config: DiffConfig, target: float, baseline: float) -> Verdicts:
    return diff.evaluate(config, np.array([[target]]), np.array([[baseline]]))


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
