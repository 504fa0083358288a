from __future__ import annotations

import numpy as np

from monitoring_pipeline.analysis.algorithms import fixed
from monitoring_pipeline.config.analyzers import FixedConfig

NAN = float("nan")


def judge(config: FixedConfig, target: float, before: list[float] | None = None) -> bool:
    verdicts = fixed.evaluate(config, np.array([[target]]), np.array([[before or []]]))
    return bool(verdicts.anomaly[0, 0])


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
