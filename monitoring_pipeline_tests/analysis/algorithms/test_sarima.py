from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms.sarima import Forecasts, Lagged, Order, forecast_statsmodels
from monitoring_pipeline.analysis.algorithms.sarima_maximum import forecast_maximum

Floats = NDArray[np.float64]

PLAIN = Order(p=1, seasonal_p=0, seasonal_d=0)


def simulated(
    n_series: int, n_values: int, *, seed: int, phi: float = 0.5, seasonal: tuple[float, float] = (-0.5, -0.3)
) -> Floats:
    """Series of the documented model with deviation 1 and a week of different levels."""
    random = np.random.default_rng(seed)
    before = 150
    shocks = random.normal(size=(n_series, before + n_values))
    changes = np.zeros_like(shocks)
    first, second = seasonal
    for at in range(15, changes.shape[1]):
        changes[:, at] = (
            0.1
            + phi * changes[:, at - 1]
            + first * (changes[:, at - 7] - phi * changes[:, at - 8])
            + second * (changes[:, at - 14] - phi * changes[:, at - 15])
            + shocks[:, at]
        )
    values = np.empty((n_series, n_values))
    values[:, :7] = random.normal(20, 5, size=(n_series, 7))
    for at in range(7, n_values):
        values[:, at] = values[:, at - 7] + changes[:, before + at]
    return values


def fitted(series: Floats, order: Order, *, steps: int = 1) -> Forecasts:
    """At the maximum of the likelihood."""
    return forecast_maximum(Lagged.of(series, order), steps=steps)[0]


def sum_of_squares(values: Floats, phi: float) -> float:
    """The smallest sum of squared residuals with that plain lag, by ordinary least squares."""
    changes = values[7:] - values[:-7]
    lag = [changes[15 - back : len(changes) - back] for back in (0, 1, 7, 8, 14, 15)]
    design = np.column_stack([lag[2] - phi * lag[3], lag[4] - phi * lag[5], np.ones(len(lag[0]))])
    outcome = lag[0] - phi * lag[1]
    residual = outcome - design @ np.linalg.lstsq(design, outcome)[0]
    return float(residual @ residual)


@pytest.mark.parametrize(
    "order",
    [
        Order(),
        Order(season=12),
        Order(p=2),
        Order(p=0, seasonal_p=0),
        Order(d=1),
        Order(seasonal_d=0),
        Order(p=3, d=1, seasonal_p=1, seasonal_d=2),
        Order(p=2, seasonal_p=0, seasonal_d=0),
    ],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 9])
def test_agrees_with_statsmodels_on_values_for_which_its_optimiser_reaches_the_maximum(
    order: Order, steps: int
) -> None:
    pytest.importorskip("statsmodels")
    series = simulated(4, 90, seed=1)
    series = (series - series[:, -1:]) / series.std(axis=1, keepdims=True)
    together = fitted(series, order, steps=steps)
    for row, values in enumerate(series):
        alone = forecast_statsmodels(values, order, steps=steps)
        assert together.mean[row] == pytest.approx(alone.mean[0], abs=1e-3 * alone.deviation[0])
        assert together.deviation[row] == pytest.approx(alone.deviation[0], rel=1e-3)


@pytest.mark.parametrize("n_values", [45, 90, 200])
def test_no_other_coefficients_have_a_smaller_sum_of_squares(n_values: int) -> None:
    series = simulated(20, n_values, seed=2)
    found = fitted(series, Order())
    explained = n_values - 22
    for values, deviation in zip(series, found.deviation, strict=True):
        best = min(sum_of_squares(values, phi) for phi in np.linspace(-2, 2, 401))
        assert deviation**2 * explained <= best * (1 + 1e-9)


def test_a_95_percent_interval_covers_95_percent_of_what_follows_long_series() -> None:
    series = simulated(3000, 301, seed=3)
    found = fitted(series[:, :-1], Order())
    inside = np.abs(series[:, -1] - found.mean) <= 1.959964 * found.deviation
    # Four standard errors of a share of 3,000 are 0.016.
    assert inside.mean() == pytest.approx(0.95, abs=0.016)


def test_the_interval_is_somewhat_too_narrow_for_90_values_whose_coefficients_are_estimates() -> None:
    series = simulated(3000, 91, seed=4)
    found = fitted(series[:, :-1], Order())
    inside = np.abs(series[:, -1] - found.mean) <= 1.959964 * found.deviation
    assert 0.90 < inside.mean() < 0.95


def test_forecasts_are_the_true_ones_when_there_is_much_to_learn_from() -> None:
    series = simulated(50, 4000, seed=5)
    changes = series[:, 7:] - series[:, :-7]
    true = (
        series[:, -7]
        + 0.1
        + 0.5 * changes[:, -1]
        - 0.5 * (changes[:, -7] - 0.5 * changes[:, -8])
        - 0.3 * (changes[:, -14] - 0.5 * changes[:, -15])
    )
    found = fitted(series, Order())
    assert np.abs(found.mean - true).mean() < 0.05
    assert found.deviation.mean() == pytest.approx(1.0, abs=0.01)


def test_several_steps_ahead_of_an_autoregression() -> None:
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
    slope, constant = np.polyfit(values[:-1], values[1:], 1)
    squares = ((values[1:] - constant - slope * values[:-1]) ** 2).sum() / 9
    once = constant + slope * values[-1]
    found = fitted(values[None], PLAIN, steps=2)
    assert found.mean[0] == pytest.approx(constant + slope * once)
    assert found.deviation[0] == pytest.approx(np.sqrt(squares * (1 + slope**2)))


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e9), st.booleans())
@settings(max_examples=30, deadline=None)
def test_unit_and_level_do_not_matter(level: float, unit: float, turned: bool) -> None:
    unit = -unit if turned else unit
    values = simulated(1, 90, seed=6)
    before, after = fitted(values, Order()), fitted(values * unit + level, Order())
    # Values far from zero lose digits before anything is fitted to them.
    lost = 1e-13 * abs(level)
    assert after.mean[0] == pytest.approx(
        before.mean[0] * unit + level, rel=1e-6, abs=1e-6 * abs(unit) + lost * 1e4
    )
    assert after.deviation[0] == pytest.approx(before.deviation[0] * abs(unit), rel=1e-5, abs=lost * 1e2)


def test_a_series_has_the_same_bits_alone_and_among_many() -> None:
    series = np.concatenate(
        [simulated(40, 90, seed=7) * 10.0 ** np.arange(-20, 20)[:, None], np.ones((1, 90))]
    )
    together = fitted(series, Order())
    for size in (1, 2, 3, 17):
        for start in range(0, len(series), size):
            some = fitted(series[start : start + size], Order())
            assert np.array_equal(some.mean, together.mean[start : start + size])
            assert np.array_equal(some.deviation, together.deviation[start : start + size])


def test_missing_values_at_the_beginning_are_as_if_the_series_began_later() -> None:
    series = simulated(3, 90, seed=8)
    late = series.copy()
    late[1, :25] = np.nan
    shorter = fitted(series[1:2, 25:].copy(), Order())
    found = fitted(late, Order())
    assert found.mean[1] == pytest.approx(shorter.mean[0], abs=1e-6)
    assert found.deviation[1] == pytest.approx(shorter.deviation[0], rel=1e-9)
    assert found.mean[0] == fitted(series, Order()).mean[0]


@pytest.mark.parametrize(
    ("values", "following"),
    [
        (np.full(90, 0.1), 0.1),
        (np.resize([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 8.0], 90), 8.0),
        (np.arange(90.0), 90.0),
    ],
    ids=["constant", "periodic", "line"],
)
def test_what_repeats_exactly_is_forecast_exactly(values: Floats, following: float) -> None:
    found = fitted(values[None], Order())
    assert found.mean[0] == pytest.approx(following, abs=1e-12)
    assert found.deviation[0] == pytest.approx(0.0, abs=1e-12)


def test_statsmodels_fits_a_moving_average_and_tells_where_it_cannot_fit() -> None:
    pytest.importorskip("statsmodels")
    series = simulated(1, 90, seed=10)[0]
    assert np.isfinite(forecast_statsmodels(series, Order(q=1)).mean).all()
    assert np.isnan(forecast_statsmodels(series[:29], Order()).mean).all()
    assert np.isnan(forecast_statsmodels(series * 1e200, Order()).mean).all()
