"""Seasonal ARIMA forecasts of many series at once, and of one series through statsmodels.

The model is φ(B)·Φ(Bᵐ)·wₜ = c + θ(B)·Θ(Bᵐ)·eₜ with wₜ = (1−B)ᵈ(1−Bᵐ)ᴰ·yₜ, what statsmodels calls
`SARIMAX(y, order, seasonal_order, trend="c", enforce_stationarity=False)`. There the Kalman filter starts from
N(0, 10⁶) in every state and leaves out of the likelihood as many observations as there are states. Without a
moving-average part these are just the observations that the differences and lags need: after them every state is known
exactly and the starting variance has dropped out. What remains is the conditional Gaussian likelihood, largest where
the sum of squares of φ(B)·Φ(Bᵐ)·wₜ − c is smallest. `forecast_batch` finds that point for all series together with
Newton's method on the 7 × 7 (for the default order) triangular factor of each series' lagged values.

A fit does not depend on the unit of the values. That of statsmodels does: its optimiser stops on an absolute gradient,
so that on large values (deviations in the thousands) it ends well before the maximum.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ITERATIONS = 50
_HALVINGS = 30
_DECREMENT = 1e-10
"""Newton's method ends where a further step would lower the sum of squares by less than this part of it."""
_EXACT = 1e-26
"""A sum of squares that is this part of the data's is a perfect fit, but for rounding."""


@dataclass(frozen=True)
class Order:
    """(p,d,q)(P,D,Q)[m]: lags, differences and moving averages, plain and seasonal, and the buckets in a season."""

    p: int = 1
    d: int = 0
    q: int = 0
    seasonal_p: int = 2
    seasonal_d: int = 1
    seasonal_q: int = 0
    season: int = 7

    def __str__(self) -> str:
        seasonal = f"({self.seasonal_p},{self.seasonal_d},{self.seasonal_q})"
        return f"({self.p},{self.d},{self.q}){seasonal}[{self.season}]"

    @property
    def coefficients(self) -> int:
        """What is estimated besides the variance: lags, moving averages and the constant."""
        return self.p + self.q + self.seasonal_p + self.seasonal_q + 1

    @property
    def has_moving_average(self) -> bool:
        """Whether there is a moving-average part, which `forecast_batch` does not have."""
        return bool(self.q or self.seasonal_q)

    @property
    def reach(self) -> int:
        """The longest lag of the differenced series, or 1 as in statsmodels, whose state has at least one element."""
        return max(self.p + self.season * self.seasonal_p, 1)

    @property
    def lead(self) -> int:
        """Values at the beginning that only serve to explain later ones."""
        moving = self.q + self.season * self.seasonal_q + 1 if self.has_moving_average else 0
        return self.d + self.season * self.seasonal_d + max(self.reach, moving)

    @property
    def shortest(self) -> int:
        """Values that a series must have: two to explain for each coefficient."""
        return self.lead + 2 * self.coefficients


@dataclass(frozen=True)
class Forecasts:
    """Forecast and its standard deviation, each (n_series,) float64; NaN where the model could not be fitted."""

    mean: Floats
    deviation: Floats


def forecast_batch(series: Floats, order: Order, *, steps: int = 1) -> Forecasts:
    """Fit the model to every row of `series` (n_series, n_values) and forecast `steps` beyond its end.

    NaN is allowed only at the beginning of a row. A row is left NaN when it is shorter than `order.shortest`, or when
    Newton's method has not come to a minimum. A row's answer has the same bits alone and among many. Raises ValueError
    for an order with a moving-average part.
    """
    if order.has_moving_average:
        raise ValueError(f"{order} has a moving-average part")
    n_series, n_values = series.shape
    unknown = Forecasts(np.full(n_series, np.nan), np.full(n_series, np.nan))
    if not n_series or n_values < order.shortest:
        return unknown
    # Differences take the level away; without them the constant does, and the last value is as good as any other.
    level = series[:, -1]
    values = series - level[:, None]
    differenced = _differenced(values, order)
    scale = np.nanmax(np.abs(differenced), axis=1, initial=0.0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    factor, explained = _triangular(differenced / scale[:, None], order)
    coefficients, squares, found = _fitted(factor, order)
    found &= explained >= 2 * order.coefficients
    ahead, growth = _ahead(values / scale[:, None], coefficients, order, steps)
    deviation = np.sqrt(squares / np.maximum(explained, 1) * growth)
    mean = np.where(found, ahead * scale + level, np.nan)
    return Forecasts(mean, np.where(found, deviation * scale, np.nan))


def forecast_statsmodels(values: Floats, order: Order, *, steps: int = 1, scaled: bool = True) -> Forecasts:
    """The same for one series (n_values,) through statsmodels, any order; the result holds one value.

    `scaled` divides by the standard deviation first, so that the optimiser reaches the maximum; without it the answer
    is the one that the reference platform gives, unit and all. NaN where statsmodels fails. Raises ImportError where
    it is not installed.
    """
    sarimax = importlib.import_module("statsmodels.tsa.statespace.sarimax").SARIMAX
    unknown = Forecasts(np.full(1, np.nan), np.full(1, np.nan))
    values = values[~np.isnan(values)]
    if len(values) < order.shortest:
        return unknown
    level, scale = (float(values[-1]), float(np.std(values)) or 1.0) if scaled else (0.0, 1.0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = sarimax(
                (values - level) / scale,
                order=(order.p, order.d, order.q),
                seasonal_order=(
                    order.seasonal_p,
                    order.seasonal_d,
                    order.seasonal_q,
                    order.season if order.seasonal_p or order.seasonal_d or order.seasonal_q else 0,
                ),
                trend="c",
                enforce_stationarity=False,
            )
            ahead = model.fit(maxiter=50, method="lbfgs", disp=0).get_forecast(steps)
            mean, deviation = float(ahead.predicted_mean[-1]), float(ahead.se_mean[-1])
        except (ValueError, np.linalg.LinAlgError, FloatingPointError):
            return unknown
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        return unknown
    return Forecasts(np.array([mean * scale + level]), np.array([deviation * scale]))


def is_statsmodels_installed() -> bool:
    """Whether `forecast_statsmodels` can be used."""
    return importlib.util.find_spec("statsmodels") is not None


def _differenced(values: Floats, order: Order) -> Floats:
    for _ in range(order.seasonal_d):
        values = values[:, order.season :] - values[:, : -order.season]
    for _ in range(order.d):
        values = values[:, 1:] - values[:, :-1]
    return values


def _lags(order: Order) -> list[int]:
    """The lag of every product of a plain and a seasonal lag, the plain ones outermost."""
    return [i + order.season * j for i in range(order.p + 1) for j in range(order.seasonal_p + 1)]


def _triangular(differenced: Floats, order: Order) -> tuple[Floats, NDArray[np.int64]]:
    """R of the QR decomposition of the lagged values and a column of ones, and how many values are explained.

    Whatever combination of the columns is asked for, it has the same length in R as it has over all the values.
    """
    reach, end = order.reach, differenced.shape[1]
    columns = [differenced[:, reach - lag : end - lag] for lag in _lags(order)]
    columns.append(np.ones_like(columns[0]))
    design = np.stack(columns, axis=-1)
    known = np.logical_not(np.isnan(design).any(axis=-1))
    factor = np.linalg.qr(np.where(known[..., None], design, 0.0), mode="r")
    return np.asarray(factor, dtype=np.float64), known.sum(axis=-1)


def _fitted(factor: Floats, order: Order) -> tuple[Floats, Floats, NDArray[np.bool_]]:
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


def _newton(factor: Floats, start: Floats, order: Order) -> tuple[Floats, Floats, NDArray[np.bool_]]:
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


def _step(factor: Floats, here: Floats, order: Order) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Newton's step, the decrease that it promises, and whether the surface curves upwards in all directions."""
    residual = factor @ _products(here, order)[..., None]
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
    residual = factor @ _products(coefficients, order)[..., None]
    return (residual.transpose(0, 2, 1) @ residual)[:, 0, 0]


def _factors(coefficients: Floats, order: Order) -> tuple[Floats, Floats]:
    """Coefficients of φ(B) and of Φ(Bᵐ), the leading 1 included."""
    one = np.ones((len(coefficients), 1))
    plain, seasonal = coefficients[:, : order.p], coefficients[:, order.p : order.p + order.seasonal_p]
    return np.concatenate([one, -plain], axis=1), np.concatenate([one, -seasonal], axis=1)


def _products(coefficients: Floats, order: Order) -> Floats:
    """Weights of the lagged values, in the order of `_lags`, and of the ones, that add up to the residual."""
    plain, seasonal = _factors(coefficients, order)
    products = (plain[:, :, None] * seasonal[:, None, :]).reshape(len(coefficients), -1)
    return np.concatenate([products, -coefficients[:, -1:]], axis=1)


def _slopes(coefficients: Floats, order: Order) -> Floats:
    """Derivatives of `_products`, (n, n_products, k)."""
    plain, seasonal = _factors(coefficients, order)
    width = order.seasonal_p + 1
    size = (order.p + 1) * width
    slopes = np.zeros((len(coefficients), size + 1, coefficients.shape[1]))
    for i in range(order.p):
        slopes[:, (i + 1) * width : (i + 2) * width, i] = -seasonal
    for j in range(order.seasonal_p):
        slopes[:, j + 1 : size : width, order.p + j] = -plain
    slopes[:, -1, -1] = -1.0
    return slopes


def _ahead(values: Floats, coefficients: Floats, order: Order, steps: int) -> tuple[Floats, Floats]:
    """The forecast `steps` ahead, and its variance as a multiple of the residual's."""
    weights = _own_lags(coefficients, order)
    longest = max(weights, default=0)
    known = [values[:, -lag] for lag in range(longest, 0, -1)]
    impulse: list[Floats] = [np.ones(len(values))]
    growth = np.ones(len(values))
    for step in range(1, steps + 1):
        if step > 1:
            echo = np.zeros(len(values))
            for lag, weight in weights.items():
                if lag < step:
                    echo = echo + weight * impulse[step - 1 - lag]
            impulse.append(echo)
            growth = growth + echo**2
        following = coefficients[:, -1]
        for lag, weight in weights.items():
            following = following + weight * known[-lag]
        known.append(following)
    return known[-1], growth


def _own_lags(coefficients: Floats, order: Order) -> dict[int, Floats]:
    """What each earlier value of the series itself, not of its differences, adds to the next one, by lag."""
    polynomial: dict[int, Floats] = {}
    for lag, product in zip(_lags(order), _products(coefficients, order).T, strict=False):
        polynomial[lag] = polynomial.get(lag, 0.0) + product
    for shift in [order.season] * order.seasonal_d + [1] * order.d:
        longer = dict(polynomial)
        for lag, weight in polynomial.items():
            longer[lag + shift] = longer.get(lag + shift, 0.0) - weight
        polynomial = longer
    return {lag: -weight for lag, weight in sorted(polynomial.items()) if lag}
