"""Seasonal ARIMA forecasts of many series at once that agree with statsmodels', and which of them do.

statsmodels maximises the likelihood of `sarima` with an optimiser that stops on absolute numbers. On values in the
thousands it ends well before the maximum, so its answer depends on the way it took. The same way is taken here, with the
same start, steps and stops (`lbfgs`), on a likelihood that costs a thousandth. That gives statsmodels' answer to many
digits.

It has one limit. statsmodels' filter starts from a variance of 10⁶, and loses the digits between that and the residual
variance. Where the residuals' deviation is 0.01, say, its likelihood is off by 10⁻⁸, which the optimiser takes for a
slope. It is then chance (the order of additions in a processor's linear algebra) where it ends. To see whether that
matters to a series, its likelihood is disturbed that much, several times. Where the answers differ, only statsmodels can
tell its own, and the forecast here is that of the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring_pipeline.analysis.algorithms.lbfgs import Rows, minimise
from monitoring_pipeline.analysis.algorithms.sarima import (
    ITERATIONS,
    Bools,
    Floats,
    Forecasts,
    Lagged,
    Order,
    products,
    triangular,
)
from monitoring_pipeline.analysis.algorithms.sarima_maximum import forecast_maximum

_DIFFERENCE = 1e-5
"""Step of the forward differences that give statsmodels its gradient."""
_FLOOR = 1e-10
"""Smallest residual variance that statsmodels starts from."""
_EXACT = 1e-26
"""Residuals with this part of the data's variance are nothing but rounding."""
_LARGE = 0.1
"""Residual deviation from which the digits that the filter loses seldom matter."""
_NOISE, _NOISE_OF_LEVELS = 3e-12, 3e-10
"""At most what the filter is off by per observation where the residual variance is 1, with differences and without.

Measured over several orders and units; it grows with the inverse of the variance.
"""
_ROUNDING = 1e-14
"""What it is off by at least."""
_DISTURBED, _DISTURBED_MORE = 2, 6
"""How often every likelihood is disturbed, and how often besides where the residuals are small or have a level."""
_SAME = 3e-4
"""Answers that differ by this part of an interval's width are the same."""
_WIDTH = 3.92
"""Deviations in the width of a 95 % interval."""


@dataclass(frozen=True)
class BatchForecasts(Forecasts):
    """Forecasts, and where statsmodels is known to give the same ones, (n_series,)."""

    agrees: Bools


def forecast_batch(series: Floats, order: Order, *, steps: int = 1) -> BatchForecasts:
    """Fit the model to every row of `series` (n_series, n_values) and forecast `steps` beyond its end.

    NaN is allowed only at the beginning of a row. A row is left NaN when it is shorter than `order.shortest`, or cannot
    be fitted. A series that repeats itself exactly is forecast exactly, which counts as agreement. A row's answer has
    the same bits alone and among many. Raises ValueError for an order with a moving-average part.
    """
    if order.has_moving_average:
        raise ValueError(f"{order} has a moving-average part")
    mean, deviation = np.full((2, len(series)), np.nan)
    found = BatchForecasts(mean, deviation, np.zeros(len(series), dtype=np.bool_))
    known = (~np.isnan(series)).sum(axis=1) >= order.shortest
    if not known.any():
        return found
    with np.errstate(all="ignore"):
        some = _forecast(Lagged.of(series[known], order), steps)
    for one, theirs in (
        (found.mean, some.mean),
        (found.deviation, some.deviation),
        (found.agrees, some.agrees),
    ):
        one[known] = theirs
    return found


def _forecast(lagged: Lagged, steps: int) -> BatchForecasts:
    start, is_exact = _start(lagged)
    found, residual = _followed(lagged, start, steps)
    residual = np.minimum(residual, start[:, -1])
    agrees = np.isfinite(found.mean) & np.isfinite(found.deviation) & ~is_exact
    doubtful = agrees & ~(residual >= _LARGE) if lagged.has_differences else agrees
    for rows, count in ((agrees.copy(), _DISTURBED), (doubtful, _DISTURBED_MORE)):
        rows &= agrees
        if rows.any():
            agrees[rows] = _is_steady(lagged[rows], start[rows], found.at(rows), steps, count)
    if not agrees.all():
        best, exact = forecast_maximum(lagged[~agrees], steps=steps)
        fitted = np.isfinite(best.mean) & np.isfinite(best.deviation)
        rows = np.flatnonzero(~agrees)
        found.mean[rows[fitted]] = best.mean[fitted]
        found.deviation[rows[fitted]] = best.deviation[fitted]
        agrees[rows[exact]] = True
    return BatchForecasts(found.mean, found.deviation, agrees)


def _is_steady(lagged: Lagged, start: Floats, found: Forecasts, steps: int, count: int) -> Bools:
    """Whether the forecasts are the same with so many disturbances, (n_series,)."""
    rows = np.repeat(np.arange(len(lagged)), count)
    disturbance = np.tile(np.arange(1.0, count + 1) + count, len(lagged))
    others, _ = _followed(lagged[rows], start[rows], steps, disturbance=disturbance)
    one = found.at(rows)
    steady = np.abs(others.mean - one.mean) <= _SAME * _WIDTH * one.deviation
    steady &= np.abs(others.deviation - one.deviation) <= _SAME * one.deviation
    return np.logical_and.reduce(steady.reshape(len(lagged), count), axis=1)


def _followed(
    lagged: Lagged, start: Floats, steps: int, *, disturbance: Floats | None = None
) -> tuple[Forecasts, Floats]:
    """Forecasts from where statsmodels' optimiser ends, and the residual deviation there."""
    function = _Likelihood(lagged, disturbance)
    end = minimise(function, start, difference=_DIFFERENCE, iterations=ITERATIONS)
    coefficients, residual = end[:, :-1], np.abs(end[:, -1])
    coefficients[:, -1] /= lagged.scale
    coefficients[:, -1] -= lagged.offset * products(coefficients, lagged.order)[:, :-1].sum(axis=1)
    return lagged.ahead(coefficients, residual / lagged.scale, steps=steps), residual


def _start(lagged: Lagged) -> tuple[Floats, Bools]:
    """Where statsmodels starts, (n_series, k + 1), and where the residuals are nothing already.

    The plain lags and the constant are fitted by least squares, and give the residual deviation; the seasonal lags are
    fitted by themselves.
    """
    order, differenced = lagged.order, lagged.differenced + lagged.offset[:, None]
    end, season = differenced.shape[1], order.season
    plain = [differenced[:, order.p - lag : end - lag] for lag in range(order.p + 1)]
    factor, explained = triangular(plain)
    fit = _least_squares(factor[:, :, 1:], factor[:, :, 0])
    residual = factor[:, :, 0] - (factor[:, :, 1:] @ fit[..., None])[..., 0]
    variance = (residual**2).sum(axis=1) / np.maximum(explained, 1)
    reach = order.seasonal_p * season
    lagged_by_season = [differenced[:, reach - lag : end - lag] for lag in range(0, reach + 1, season)]
    factor, _ = triangular(lagged_by_season, constant=False)
    seasonal = _least_squares(factor[:, :, 1:], factor[:, :, 0])
    scale = lagged.scale[:, None]
    deviation = np.sqrt(np.maximum(variance[:, None] * scale**2, _FLOOR))
    return (
        np.concatenate([fit[:, :-1], seasonal, fit[:, -1:] * scale, deviation], axis=1),
        variance <= _EXACT,
    )


def _least_squares(design: Floats, values: Floats) -> Floats:
    if not design.shape[-1]:
        return np.zeros((len(design), 0))
    return (np.linalg.pinv(design, rcond=1e-15) @ values[..., None])[..., 0]


@dataclass(frozen=True)
class _Likelihood:
    """What statsmodels minimises: the negative log-likelihood per observation.

    Its parameters are the coefficients, in the values' unit, and the residual deviation.
    """

    lagged: Lagged
    disturbance: Floats | None
    """Which of the disturbances to add to each, (n_series,)."""

    def __call__(self, rows: Rows, points: Floats) -> Floats:
        lagged, order = self.lagged, self.lagged.order
        explained, scale = lagged.explained[rows, None], lagged.scale[rows, None]
        deviation = points[:, :, -1]
        variance = deviation * deviation
        coefficients = points[:, :, :-1].copy()
        coefficients[:, :, -1] /= scale
        weights = products(coefficients.reshape(-1, order.coefficients), order)
        weights = weights.reshape(*points.shape[:2], -1)
        weights[:, :, -1] += lagged.offset[rows, None] * weights[:, :, :-1].sum(axis=-1)
        residual = lagged.factor[rows] @ weights.transpose(0, 2, 1)
        squares = (residual * residual).sum(axis=1) * (scale / deviation) ** 2
        found = 0.5 * (explained * np.log(2 * np.pi * variance) + squares) / (explained + order.lead)
        if self.disturbance is None:
            return found
        noise = _NOISE if lagged.has_differences else _NOISE_OF_LEVELS
        return found + (noise / variance + _ROUNDING) * _chance(points, self.disturbance[rows])


def _chance(points: Floats, number: Floats) -> Floats:
    """Numbers between −1 and 1 that look random, and are the same at the same point, (n_series, n_points)."""
    weights = 1e10 * np.sqrt(number[:, None] + np.arange(1.0, points.shape[-1] + 1))
    mixed = (points * weights[:, None, :]).sum(axis=-1)
    return 2 * (mixed - np.floor(mixed)) - 1
