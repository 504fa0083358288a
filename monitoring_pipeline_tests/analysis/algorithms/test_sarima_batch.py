from __future__ import annotations

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms.sarima import Order, forecast_statsmodels
from monitoring_pipeline.analysis.algorithms.sarima_batch import BatchForecasts, forecast_batch
from monitoring_pipeline_tests.analysis.algorithms.test_sarima import Floats, simulated


def differences(found: BatchForecasts, series: Floats, order: Order, *, steps: int = 1) -> Floats:
    """From statsmodels: of forecasts in widths of its 95 % interval, and of widths, whichever is larger."""
    alone = [forecast_statsmodels(values, order, steps=steps) for values in series]
    mean = np.concatenate([one.mean for one in alone])
    deviation = np.concatenate([one.deviation for one in alone])
    return np.maximum(np.abs(found.mean - mean) / (3.92 * deviation), np.abs(found.deviation / deviation - 1))


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
def test_agrees_with_statsmodels_whatever_the_order(order: Order, steps: int) -> None:
    pytest.importorskip("statsmodels")
    series = simulated(3, 90, seed=1) * np.array([[0.5], [50.0], [5000.0]])
    found = forecast_batch(series, order, steps=steps)
    # Without differences the level costs statsmodels digits, too.
    assert found.agrees.all() if order.d or order.seasonal_d else found.agrees.any()
    assert (differences(found, series, order, steps=steps)[found.agrees] < 1e-3).all()


@pytest.mark.parametrize("unit", [0.2, 1.0, 30.0, 1e3, 1e5, 1e9])
@pytest.mark.parametrize("n_values", [40, 90])
def test_agrees_with_statsmodels_even_where_that_ends_before_the_maximum(unit: float, n_values: int) -> None:
    pytest.importorskip("statsmodels")
    series = simulated(4, n_values, seed=2) * unit
    found = forecast_batch(series, Order())
    assert found.agrees.sum() >= 3
    assert (differences(found, series, Order())[found.agrees] < 1e-3).all()


def test_what_it_takes_for_agreement_is_agreement_where_statsmodels_loses_digits() -> None:
    pytest.importorskip("statsmodels")
    series = simulated(8, 90, seed=3) * np.repeat([0.05, 0.02, 0.005, 0.0005], 2)[:, None]
    found = forecast_batch(series, Order())
    assert 0 < found.agrees.sum() < 8
    assert (differences(found, series, Order())[found.agrees] < 1e-3).all()


def test_where_rounding_decides_the_forecast_is_that_of_the_maximum() -> None:
    series = simulated(20, 90, seed=4)
    tiny = forecast_batch(series * 1e-7, Order())
    # In a unit that is good for the optimiser it comes as close to the maximum as it can.
    large = forecast_batch(series, Order())
    assert not tiny.agrees.any()
    assert tiny.mean * 1e7 == pytest.approx(large.mean, abs=0.02)
    assert tiny.deviation * 1e7 == pytest.approx(large.deviation, rel=1e-3)


def test_a_series_has_the_same_bits_alone_and_among_many() -> None:
    series = np.concatenate(
        [simulated(40, 90, seed=7) * 10.0 ** np.arange(-20, 20)[:, None], np.ones((1, 90))]
    )
    together = forecast_batch(series, Order())
    for size in (1, 3, 17):
        for start in range(0, len(series), size):
            some = forecast_batch(series[start : start + size], Order())
            for name in ("mean", "deviation", "agrees"):
                assert np.array_equal(getattr(some, name), getattr(together, name)[start : start + size])


def test_missing_values_at_the_beginning_are_as_if_the_series_began_later() -> None:
    series = simulated(3, 90, seed=8)
    late = series.copy()
    late[1, :25] = np.nan
    shorter = forecast_batch(series[1:2, 25:].copy(), Order())
    found = forecast_batch(late, Order())
    assert found.mean[1] == pytest.approx(shorter.mean[0], abs=1e-6)
    assert found.deviation[1] == pytest.approx(shorter.deviation[0], rel=1e-6)
    assert found.mean[0] == forecast_batch(series, Order()).mean[0]


@pytest.mark.parametrize(
    ("values", "following"),
    [
        (np.full(90, 0.1), 0.1),
        (np.zeros(90), 0.0),
        (np.full(90, 1e300), 1e300),
        (np.resize([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 8.0], 90), 8.0),
        (np.arange(90.0), 90.0),
    ],
    ids=["constant", "nothing", "huge", "periodic", "line"],
)
def test_what_repeats_exactly_is_forecast_exactly(values: Floats, following: float) -> None:
    found = forecast_batch(values[None], Order())
    assert found.mean[0] == pytest.approx(following, rel=1e-13, abs=1e-12)
    assert found.deviation[0] == pytest.approx(0.0, abs=1e-12)
    assert found.agrees[0]


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e-30, 1e30, 1e150, 1e290])
def test_very_small_and_very_large_values_have_a_forecast_too(unit: float) -> None:
    series = simulated(3, 90, seed=11)
    found = forecast_batch(series * unit, Order())
    assert np.isfinite(found.mean).all()
    assert (np.abs(found.mean / unit - series[:, -7]) < 20).all()


def test_too_few_values_give_no_forecast() -> None:
    series = simulated(2, 90, seed=9)
    assert Order().shortest == 30
    assert np.isfinite(forecast_batch(series[:, -30:], Order()).mean).all()
    assert np.isnan(forecast_batch(series[:, -29:], Order()).mean).all()
    series[0, :61] = np.nan
    assert np.isnan(forecast_batch(series, Order()).mean).tolist() == [True, False]
    assert np.isnan(forecast_batch(series, Order(season=52)).deviation).all()
    assert not forecast_batch(series, Order(season=52)).agrees.any()


def test_nothing_gives_nothing() -> None:
    assert forecast_batch(np.empty((0, 90)), Order()).mean.shape == (0,)


def test_a_moving_average_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1,0,1\)\(2,1,0\)\[7\] has a moving-average part"):
        forecast_batch(np.zeros((1, 90)), Order(q=1))
