from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.grubbs import without_outliers
from monitoring_pipeline.analysis.student import t_quantile

NAN = float("nan")
# Grubbs, "Procedures for detecting outlying observations in samples" (1969), two-sided at 5 %: critical values by n.
CRITICAL = {
    3: 1.1543,
    4: 1.4812,
    5: 1.7150,
    6: 1.8871,
    7: 2.0200,
    8: 2.1266,
    10: 2.2900,
    20: 2.7082,
    30: 2.9085,
}


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [  # printed tables
        (0.975, 1, 12.7062),
        (0.95, 5, 2.0150),
        (0.995, 30, 2.7500),
        (0.9995, 2, 31.5991),
        (0.9, 10, 1.3722),
        (0.5, 4, 0.0),
        (0.025, 20, -2.0860),
    ],
)
def test_quantiles_of_student_are_those_of_the_tables(probability: float, freedom: int, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize("n", CRITICAL)
def test_a_value_is_an_outlier_beyond_the_critical_value_of_the_tables(n: int) -> None:
    base = np.array([-1.0, 1.0] * (n // 2) + [0.0] * (n % 2))[: n - 1]

    def statistic(value: float) -> float:
        sample = np.append(base, value)
        return (value - sample.mean()) / sample.std(ddof=1)

    for value in np.linspace(0.5, 40, 400):
        is_outlier = np.isnan(without_outliers(np.append(base, value), significance=0.95)[-1])
        if abs(statistic(value) - CRITICAL[n]) > 2e-3 and statistic(value) > np.abs(base).max():
            assert is_outlier == (statistic(value) > CRITICAL[n])


def test_outliers_go_one_after_the_other_and_equal_ones_together() -> None:
    values = np.array([10.0, 11.0, 9.0, 10.0, 10.5, 9.5, 10.0, 1e6, 100.0, 100.0])
    found = without_outliers(values, significance=0.95)
    assert np.isnan(found[7])
    assert np.isnan(found[8]) == np.isnan(found[9])


def test_two_values_and_equal_values_have_no_outlier() -> None:
    for values in ([1.0, 1e9], [5.0] * 6, [NAN, 1.0, NAN], [NAN, NAN]):
        assert np.array_equal(
            without_outliers(np.array(values), significance=0.95), np.array(values), equal_nan=True
        )


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 50.0, NAN]), min_size=6, max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_rows_are_judged_alone_also_among_others(rows: list[list[float]]) -> None:
    together = without_outliers(np.array(rows), significance=0.95)
    for row, found in zip(rows, together, strict=True):
        assert np.array_equal(without_outliers(np.array(row), significance=0.95), found, equal_nan=True)
