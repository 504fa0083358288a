from __future__ import annotations

import numpy as np

from monitoring_pipeline.analysis.algorithms import list_comparison
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import ListComparisonConfig

NAN = float("nan")


def config_of(**given: object) -> ListComparisonConfig:
    return ListComparisonConfig.model_validate({"metric": "min", "operator": "in", **given})


def judge(config: ListComparisonConfig, target: float | str, baseline: float | str = NAN) -> Verdicts:
    return list_comparison.evaluate(config, np.array([[target]]), np.array([[baseline]]))


def test_not_in_alerts_when_the_value_is_among_them() -> None:
    config = config_of(operator="not_in", expected=[0, {"float": 0.3}, {"str": "7"}])
    found = [judge(config, value).anomaly[0, 0] for value in (0.0, 0.1 + 0.2, 7.0, 8.0, NAN)]
    assert found == [True, True, True, False, False]


def test_the_baseline_is_the_list_when_nothing_is_expected() -> None:
    config = config_of(baseline={"type": "TrailingWindow"})
    assert not judge(config, 5.0, 5.0).anomaly[0, 0]
    assert judge(config, 5.0, 6.0).anomaly[0, 0]
    assert judge(config, 5.0, NAN).failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED


def test_types_of_columns_are_texts() -> None:
    config = config_of(metric="inferred_data_type", expected=["INTEGRAL", "FRACTIONAL"])
    assert not judge(config, "FRACTIONAL").anomaly[0, 0]
    verdicts = judge(config, "STRING")
    assert verdicts.anomaly[0, 0]
    assert verdicts.columns["comparison_expected"] == "INTEGRAL, FRACTIONAL"


def test_a_value_that_is_no_number_is_named() -> None:
    verdicts = judge(config_of(expected=[1, "one"]), 1.0)
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert "'one'" in verdicts.explanation[0, 0]


def test_values_of_several_buckets_are_a_list() -> None:
    config = config_of(baseline={"type": "TrailingWindow"})
    several = np.array([[[1.0, NAN, 3.0]]])
    found = [list_comparison.evaluate(config, np.array([[value]]), several) for value in (1.0, 2.0, 3.0)]
    assert [bool(verdicts.anomaly[0, 0]) for verdicts in found] == [False, True, False]
    nothing = list_comparison.evaluate(config, np.array([[1.0]]), np.full((1, 1, 2), NAN))
    assert nothing.failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED
