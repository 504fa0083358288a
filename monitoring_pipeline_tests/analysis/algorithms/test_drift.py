from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import drift
from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distributions import Items, Quantiles, Side, frequencies, histograms
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import DriftConfig
from monitoring_pipeline_tests.analysis.sketching import items_image, kll_image
from monitoring_pipeline_tests.analysis.vectors import cases

ROLLED_UP = "several baseline sketches cannot be given: the engine adds them up"


def config_of(**given: object) -> DriftConfig:
    return DriftConfig.model_validate(
        {"metric": "histogram", "threshold": 0.7, "baseline": {"type": "TrailingWindow"}, **given}
    )


def judge(config: DriftConfig, target: list[float], baseline: list[float]) -> Verdicts:
    return drift.evaluate(config, np.array([[target]]), np.array([[baseline]]))


def one(sketch: Any) -> Side[Any]:
    return Side([sketch], 0, Window(np.array([0]), 1))


@pytest.mark.parametrize(
    "case", cases("ContinuousDriftCalculationTest", "DiscreteDriftCalculationTest", kind="calculate")
)
def test_agrees_with_the_reference(case: dict[str, Any]) -> None:
    if len(case["baseline"]) > 1:
        pytest.skip(ROLLED_UP)
    config = config_of(**case["analyzer"])
    (_, target), (_, baseline) = case["target"][0], case["baseline"][0]
    if config.metric == "histogram":
        sides = [one(Quantiles.open(kll_image(sketch))) for sketch in (target, baseline)]
        ours, theirs = histograms(sides[0], sides[1])
    else:
        sides = [one(Items.open(items_image(sketch["updates"]))) for sketch in (target, baseline)]
        ours, theirs = frequencies(sides[0], sides[1])
    verdicts = drift.evaluate(config, ours[None], theirs[None])
    assert verdicts.value[0, 0] == pytest.approx(case["expected"]["metricValue"], abs=case["tolerance"])
    assert verdicts.anomaly[0, 0] == bool(case["expected"]["alertCount"])


def test_two_empty_sides_do_not_differ_and_one_empty_histogram_differs_wholly() -> None:
    assert judge(config_of(), [0.0, 0.0], [0.0, 0.0]).value[0, 0] == 0.0
    assert judge(config_of(), [0.0, 0.0], [0.5, 0.5]).value[0, 0] == 1.0


def test_one_empty_side_of_frequent_items_has_no_distance() -> None:
    verdicts = judge(config_of(metric="frequent_items", threshold=0), [0.0, 0.0], [0.5, 0.5])
    assert np.isnan(verdicts.value[0, 0])
    assert not verdicts.anomaly[0, 0]


def test_a_distance_of_exactly_the_threshold_is_no_anomaly() -> None:
    assert not judge(config_of(threshold=1.0), [1.0, 0.0], [0.0, 1.0]).anomaly[0, 0]
    assert judge(config_of(threshold=0.999), [1.0, 0.0], [0.0, 1.0]).anomaly[0, 0]


def test_a_distance_that_is_not_available_is_a_failure_that_names_those_that_are() -> None:
    verdicts = judge(config_of(algorithm="ks_test"), [1.0, 0.0], [0.0, 1.0])
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert "ks_test" in verdicts.explanation[0, 0]
    assert "hellinger" in verdicts.explanation[0, 0]
