from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import comparison
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Verdicts
from monitoring_pipeline.config.analyzers import ComparisonConfig

NAN = float("nan")


def config_of(**given: object) -> ComparisonConfig:
    return ComparisonConfig.model_validate({"metric": "mean", "operator": "eq", "expected": 9, **given})


def judge(config: ComparisonConfig, target: float | str, baseline: float | str = NAN) -> Verdicts:
    sides = (np.array([[target]]), np.array([[baseline]]))
    return comparison.evaluate(config, *sides)


def is_anomaly(config: ComparisonConfig, target: float | str, baseline: float | str = NAN) -> bool:
    return bool(judge(config, target, baseline).anomaly[0, 0])


@pytest.mark.parametrize(
    ("operator", "holds"),
    [  # for targets 8, 9, the double after 9, and 10 against 9
        ("eq", [False, True, True, False]),
        ("gt", [False, False, False, True]),
        ("lt", [True, False, False, False]),
        ("ge", [False, True, True, True]),
        ("le", [True, True, True, False]),
    ],
)
def test_the_target_is_the_left_side(operator: str, holds: list[bool]) -> None:
    targets = [8.0, 9.0, float(np.nextafter(9.0, 10.0)), 10.0]
    assert [not is_anomaly(config_of(operator=operator), target) for target in targets] == holds


@given(st.floats(allow_nan=False, width=64), st.floats(allow_nan=False, width=64))
def test_less_or_equal_is_not_greater(target: float, expected: float) -> None:
    for one, opposite in (("le", "gt"), ("ge", "lt")):
        found = [
            is_anomaly(config_of(operator=operator, expected={"float": expected}), target)
            for operator in (one, opposite)
        ]
        assert sorted(found) == [False, True]


def test_the_baseline_stands_for_what_is_not_expected_otherwise() -> None:
    config = config_of(expected=None, baseline={"type": "TrailingWindow"})
    assert not is_anomaly(config, 5.0, 5.0)
    assert is_anomaly(config, 5.0, 6.0)
    assert not is_anomaly(config_of(baseline={"type": "TrailingWindow"}), 9.0, 6.0)


def test_a_baseline_without_the_metric_is_a_failure() -> None:
    config = config_of(expected=None, baseline={"type": "TrailingWindow"})
    for target, baseline in ((5.0, NAN), ("STRING", "")):
        verdicts = judge(config, target, baseline)
        assert verdicts.failure[0, 0] is FailureType.ROLLUP_BASELINE_REQUIRED
        assert not verdicts.anomaly[0, 0]


def test_texts_are_compared_with_texts() -> None:
    config = config_of(metric="inferred_data_type", expected={"str": "STRING"})
    assert not is_anomaly(config, "STRING")
    assert is_anomaly(config, "FRACTIONAL")
    assert not is_anomaly(config_of(metric="inferred_data_type", expected={"int": 9}), "9")
    by_baseline = config_of(metric="inferred_data_type", expected=None, baseline={"type": "TrailingWindow"})
    assert is_anomaly(by_baseline, "STRING", "INTEGRAL")
    assert not is_anomaly(by_baseline, "STRING", "STRING")


def test_a_text_is_no_number_and_has_no_order() -> None:
    verdicts = judge(config_of(expected={"float": 9.5}), "STRING")
    assert verdicts.explanation[0, 0] == 'a text is expected to be the number 9.5; write {"str": …} instead'
    verdicts = judge(config_of(operator="gt", expected={"str": "A"}), "STRING")
    assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert "have no order" in verdicts.explanation[0, 0]


def test_nan_is_the_same_as_nan_only_and_never_alerts() -> None:
    nan = config_of(expected={"str": "NaN"})
    assert is_anomaly(nan, 9.0)
    assert not is_anomaly(nan, NAN)
    for operator in ("eq", "gt", "lt", "ge", "le"):
        assert not is_anomaly(config_of(operator=operator), NAN)


def test_infinities_compare() -> None:
    config = config_of(expected={"float": float("inf")})
    assert not is_anomaly(config, float("inf"))
    assert is_anomaly(config, float("-inf"))
    assert is_anomaly(config, 1e308)
