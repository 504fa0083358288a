"""The seasonal ARIMA model at the maximum of its likelihood, for many series at once.

That is where the sum of squares of `sarima` is smallest. Newton's method finds the point for all series together, on the
7 × 7 (for the default order) triangular factor of each. It does not depend on the unit of the values.
"""

from __future__ import annotations

import numpy as np

from monitoring_pipeline.analysis.algorithms.sarima import (
    Bools,
    Floats,
    Forecasts,
    Lagged,
    Order,
    polynomials,
    products,
)

_ITERATIONS = 50
_HALVINGS = 30
_DECREMENT = 1e-10
"""Newton's method ends where a further step would lower the sum of squares by less than this part of it."""
_EXACT = 1e-26
"""A sum of squares that is this part of the data's is a perfect fit, but for rounding."""


def forecast_maximum(lagged: Lagged, *, steps: int = 1) -> tuple[Forecasts, Bools]:
    """Forecasts, and where the fit is exact; NaN where Newton's method has not come to a minimum."""
    order = lagged.order
    coefficients, squares, found = _fitted(lagged.factor, order)
    found &= lagged.explained >= 2 * order.coefficients
    deviation = np.sqrt(squares / np.maximum(lagged.explained, 1))
    ahead = lagged.ahead(coefficients, deviation, steps=steps)
    mean, deviation = (np.where(found, one, np.nan) for one in (ahead.mean, ahead.deviation))
    return Forecasts(mean, deviation), found & (squares <= _EXACT * lagged.factor[:, 0, 0] ** 2)


def _fitted(factor: Floats, order: Order) -> tuple[Floats, Floats, Bools]:
    """Coefficients (n_series, k), sums of squares (n_series,), and whether they are a minimum.

    Short series can have several minima: the one that counts lies below where statsmodels starts, too.
    """
    coefficients, squares, found = _newton(factor, _start_apart(factor, order), order)
    lost = ~found
    if lost.any():
        again = factor[lost]
        coefficients[lost], squares[lost], found[lost] = _newton(
            again, _start_without_lags(again, order), order
        )
    return coefficients, squares, found


def _start_apart(factor: Floats, order: Order) -> Floats:
    """Where statsmodels starts: plain lags and the constant by least squares, seasonal lags by themselves."""
    width = order.seasonal_p + 1
    plain = [width * i for i in range(1, order.p + 1)] + [factor.shape[-1] - 1]
    first = _least_squares(factor[..., plain], factor[..., :1])
    seasonal = _least_squares(factor[..., 1:width], factor[..., :1])
    return np.concatenate([first[:, :-1], seasonal, first[:, -1:]], axis=1)


def _start_without_lags(factor: Floats, order: Order) -> Floats:
    """No plain lags, and the best seasonal ones and constant then."""
    rest = [*range(1, order.seasonal_p + 1), factor.shape[-1] - 1]
    found = _least_squares(factor[..., rest], factor[..., :1])
    return np.concatenate([np.zeros((len(factor), order.p)), found], axis=1)


def _least_squares(design: Floats, values: Floats) -> Floats:
    if not design.shape[-1]:
        return np.zeros((len(design), 0))
    return (np.linalg.pinv(design) @ values)[..., 0]


def _newton(factor: Floats, start: Floats, order: Order) -> tuple[Floats, Floats, Bools]:
    """Newton's method with the exact second derivatives, downhill only, from `start` (n, k), on rows that still move."""
    coefficients = start.copy()
    squares = _squares(factor, coefficients, order)
    nothing = _EXACT * factor[:, 0, 0] ** 2
    found = np.zeros(len(start), dtype=np.bool_)
    moving = np.arange(len(start))
    for _ in range(_ITERATIONS):
        if not len(moving):
            break
        rows, here, now = factor[moving], coefficients[moving], squares[moving]
        step, gain, is_bowl = _step(rows, here, order)
        there, then = _descended(rows, here, step, now=now, gain=gain, order=order)
        arrived = ((gain <= _DECREMENT * now) & is_bowl) | (now <= nothing[moving])
        better = then <= now
        coefficients[moving] = np.where(better[:, None], there, here)
        squares[moving] = np.where(better, then, now)
        found[moving] = arrived
        moving = moving[~arrived & better]
    return coefficients, squares, found


def _step(factor: Floats, here: Floats, order: Order) -> tuple[Floats, Floats, Bools]:
    """Newton's step, the decrease that it promises, and whether the surface curves upwards in all directions."""
    residual = factor @ products(here, order)[..., None]
    slope = factor @ _slopes(here, order)
    transposed = slope.transpose(0, 2, 1)
    gradient, hessian = transposed @ residual, transposed @ slope
    pull = (factor.transpose(0, 2, 1) @ residual)[..., 0]
    width = order.seasonal_p + 1
    for i in range(order.p):
        for j in range(order.seasonal_p):
            second = pull[:, (i + 1) * width + j + 1]
            hessian[:, i, order.p + j] += second
            hessian[:, order.p + j, i] += second
    curvature, directions = np.linalg.eigh(hessian)
    steepest = np.abs(curvature).max(axis=1)
    is_bowl = curvature[:, 0] > -1e-9 * steepest
    floor = (1e-12 * steepest + np.finfo(np.float64).tiny)[:, None]
    along = (directions.transpose(0, 2, 1) @ gradient)[..., 0] / np.maximum(np.abs(curvature), floor)
    step = -(directions @ along[..., None])[..., 0]
    gain = -(step[:, None, :] @ gradient)[:, 0, 0]
    return step, gain, is_bowl


def _descended(
    factor: Floats, here: Floats, step: Floats, *, now: Floats, gain: Floats, order: Order
) -> tuple[Floats, Floats]:
    """The step, halved until it keeps a little of what it promises."""
    length = np.ones(len(here))
    there = here + step
    then = _squares(factor, there, order)
    for _ in range(_HALVINGS):
        short = ~(then <= now - 1e-4 * length * gain + 1e-14 * now)
        if not short.any():
            break
        length = np.where(short, length / 2, length)
        there = here + length[:, None] * step
        then = _squares(factor, there, order)
    return there, then


def _squares(factor: Floats, coefficients: Floats, order: Order) -> Floats:
    residual = factor @ products(coefficients, order)[..., None]
    return (residual.transpose(0, 2, 1) @ residual)[:, 0, 0]


def _slopes(coefficients: Floats, order: Order) -> Floats:
    """Derivatives of `_products`, (n, n_products, k)."""
    plain, seasonal = polynomials(coefficients, order)
    width = order.seasonal_p + 1
    size = (order.p + 1) * width
    slopes = np.zeros((len(coefficients), size + 1, coefficients.shape[1]))
    for i in range(order.p):
        slopes[:, (i + 1) * width : (i + 2) * width, i] = -seasonal
    for j in range(order.seasonal_p):
        slopes[:, j + 1 : size : width, order.p + j] = -plain
    slopes[:, -1, -1] = -1.0
    return slopes
