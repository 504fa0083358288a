from __future__ import annotations

import numpy as np
import pytest

from monitoring_pipeline.analysis.bands import bands
from monitoring_pipeline.analysis.healing import HEALING, Healing, heal
from monitoring_pipeline.analysis.verdicts import Context
from monitoring_pipeline.config.analyzers import StddevConfig
from monitoring_pipeline.timegrid import Granularity

NAN = float("nan")


def config_of(**given: object) -> StddevConfig:
    return StddevConfig.model_validate({"metric": "mean", "baseline": {"type": "TrailingWindow"}, **given})


def healed(config: StddevConfig, values: list[float], *, window: int, lag: int = 0) -> list[float]:
    series = np.array([[values]], dtype=np.float64)
    found = heal(config, Healing.of(config.params), series, window=window, lag=lag, context=context())
    return found[0, 0].tolist()


def context(*, analyzer_id: str = "a", column: str = "x", start: int = 100) -> Context:
    return Context(
        analyzer_id=analyzer_id,
        granularity=Granularity.DAILY,
        keys=(("", column),),
        targets=np.array([start + 50]),
        baseline_starts=np.array([start]),
    )


def test_an_anomaly_is_dropped_from_the_baselines_of_later_buckets() -> None:
    config = config_of(minBatchSize=2, params={"enableAlertsFilter": "true"})
    found = healed(config, [1, 2, 1, 2, 50, 1, 51, 2], window=4)
    assert np.array_equal(found, [1, 2, 1, 2, NAN, 1, NAN, 2], equal_nan=True)


def test_without_healing_a_repeated_anomaly_would_be_normal() -> None:
    config = config_of(minBatchSize=2)
    after = bands(config, np.array([[[2.0, 50.0, 1.0, 51.0]]]), None)
    assert not after.left_by(np.array([[52.0]]), side=None)[0, 0]


def test_a_replacement_keeps_its_share_of_the_anomaly() -> None:
    config = config_of(minBatchSize=2, params={"enableAnomalyReplacement": "true", "lambdaKeep": "1"})
    assert healed(config, [1, 2, 1, 2, 50], window=4) == [1, 2, 1, 2, 50]
    config = config_of(minBatchSize=2, params={"enableAnomalyReplacement": "true", "lambdaKeep": "0"})
    *raw, replaced = healed(config, [1, 2, 1, 2, 50], window=4)
    assert raw == [1, 2, 1, 2]
    # mean 1.5, bounds 3 · 0.577 away, 1.96 times their distance times a mean of ten uniform numbers
    spread = 6 * 0.57735 * 1.959964
    mean = context().uniforms(0, 104, 10).mean()
    assert replaced == pytest.approx(1.5 + spread * mean, rel=1e-5)


def test_a_draw_belongs_to_analyzer_column_bucket_and_seed() -> None:
    draws = {
        context().uniforms(0, 7, 1)[0],
        context().uniforms(0, 8, 1)[0],
        context(column="y").uniforms(0, 7, 1)[0],
        context(analyzer_id="b").uniforms(0, 7, 1)[0],
        context().uniforms(0, 7, 1, seed="100")[0],
    }
    assert len(draws) == 5
    assert context().uniforms(0, 7, 1)[0] in draws
    assert all(0 <= draw < 1 for draw in draws)


def test_draws_are_uniform() -> None:
    many = np.concatenate([context().uniforms(0, bucket, 100) for bucket in range(200)])
    assert abs(many.mean() - 0.5) < 0.01
    assert np.abs(np.histogram(many, bins=10, range=(0, 1))[0] / len(many) - 0.1).max() < 0.01


def test_what_is_judged_ends_a_lag_before_the_bucket() -> None:
    config = config_of(minBatchSize=2, params={"enableAlertsFilter": "true"})
    # With a lag of 2 the first bucket that four others can judge is the seventh, and 40 and 3 are not among them.
    found = healed(config, [1, 2, 1, 2, 40, 3, 50], window=4, lag=2)
    assert np.array_equal(found, [1, 2, 1, 2, 40, 3, NAN], equal_nan=True)


def test_a_baseline_that_heals_is_given_several_windows() -> None:
    assert HEALING >= 2
