from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import drift
from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distances import ks_test
from monitoring_pipeline.analysis.distributions import Quantiles, Side, steps
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Context, Verdicts
from monitoring_pipeline.config.analyzers import DriftConfig
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.analysis.sketching import quantiles_image


def config_of(**given: object) -> DriftConfig:
    return DriftConfig.model_validate(
        {"metric": "histogram", "threshold": 0.7, "baseline": {"type": "TrailingWindow"}, **given}
    )


def judge(config: DriftConfig, target: list[float], baseline: list[float]) -> Verdicts:
    return drift.evaluate(config, np.array([[target]]), np.array([[baseline]]))


def one(sketch: Any) -> Side[Any]:
    return Side([sketch], 0, Window(np.array([0]), 1))


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


@pytest.mark.parametrize("algorithm", ["ks_test", "wasserstein"])
def test_a_distance_between_ordered_values_refuses_a_metric_without_an_order(algorithm: str) -> None:
    with pytest.raises(AnalysisError, match=r"order, which frequent_items has not; use hellinger"):
        drift.binning(config_of(metric="frequent_items", algorithm=algorithm))
    assert drift.binning(config_of(algorithm=algorithm)) == "steps"
    assert drift.binning(config_of(algorithm="chi_square")) == "equal"


def test_wasserstein_needs_to_know_where_the_bins_lie() -> None:
    verdicts = judge(config_of(algorithm="wasserstein"), [1.0, 0.0], [0.0, 1.0])
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=40),
    st.lists(st.integers(-9, 9), min_size=1, max_size=40),
)
def test_the_statistic_of_kolmogorov_and_smirnov_of_whole_samples(one: list[int], other: list[int]) -> None:
    target, baseline = (one_side(values) for values in (one, other))
    p, q, positions = steps(target, baseline)
    found = drift.evaluate(
        config_of(algorithm="ks_test", threshold=0), p[None], q[None], context=context(positions[None])
    )
    places = sorted({*one, *other})
    share = lambda values, place: sum(value <= place for value in values) / len(values)  # noqa: E731
    expected = max(abs(share(one, place) - share(other, place)) for place in places)
    assert found.value[0, 0] == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=40), st.integers(1, 50))
def test_a_shift_is_as_far_in_wasserstein_as_it_is_in_standard_deviations(values: list[int], by: int) -> None:
    spread = statistics.pstdev(values)
    assume(spread > 0)
    p, q, positions = steps(one_side([value + by for value in values]), one_side(values))
    found = drift.evaluate(
        config_of(algorithm="wasserstein"), p[None], q[None], context=context(positions[None])
    )
    assert found.value[0, 0] == pytest.approx(by / spread, rel=1e-9)


def test_a_baseline_of_one_value_still_has_a_finite_distance() -> None:
    p, q, positions = steps(one_side([5, 5]), one_side([3, 3]))
    found = drift.evaluate(
        config_of(algorithm="wasserstein"), p[None], q[None], context=context(positions[None])
    )
    assert found.value[0, 0] == pytest.approx(2.0)  # 2 apart, and together they deviate by 1


def test_many_values_are_put_together_without_losing_much() -> None:
    random = np.random.default_rng(3)
    sides = [random.exponential(size=5000), random.exponential(scale=1.3, size=5000)]
    p, q, _ = steps(*(one_side(side) for side in sides))
    assert p.shape[-1] <= 1024
    everything = np.sort(np.concatenate(sides))
    exact = np.abs(
        np.searchsorted(np.sort(sides[0]), everything, side="right") / 5000
        - np.searchsorted(np.sort(sides[1]), everything, side="right") / 5000
    ).max()
    assert ks_test(p, q)[0] == pytest.approx(exact, abs=0.02)
    hidden = np.concatenate([sides[0], [1e12]])
    p, q, _ = steps(one_side(hidden), one_side(sides[1]))
    assert ks_test(p, q)[0] == pytest.approx(exact, abs=0.02)  # an outlier takes no resolution away


def one_side(values: Any) -> Side[Any]:
    return one(Quantiles.open(quantiles_image(values)))


def context(positions: np.ndarray) -> Context:
    return Context(
        analyzer_id="drift",
        granularity=Granularity.DAILY,
        keys=(("", "x"),),
        targets=np.array([0]),
        positions=positions,
    )
