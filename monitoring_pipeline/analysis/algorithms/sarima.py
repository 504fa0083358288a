"""The seasonal ARIMA model: its order, series prepared for a fit, forecasts from one, and statsmodels' fit and forecast.

The model is φ(B)·Φ(Bᵐ)·wₜ = c + θ(B)·Θ(Bᵐ)·eₜ with wₜ = (1−B)ᵈ(1−Bᵐ)ᴰ·yₜ, what statsmodels calls
`SARIMAX(y, order, seasonal_order, trend="c", enforce_stationarity=False)`. There the Kalman filter starts from
N(0, 10⁶) in every state and leaves out of the likelihood as many observations as there are states. Without a
moving-average part these are just the observations that the differences and lags need: after them every state is known
exactly and the starting variance has dropped out. What remains is the conditional Gaussian likelihood, which depends on
the data only through the sum of squares of φ(B)·Φ(Bᵐ)·wₜ − c, a regression on lagged, seasonally differenced values.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.bool_] | NDArray[np.intp]

ITERATIONS = 50
"""How many iterations the reference platform allows the optimiser."""


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
        """Whether there is a moving-average part, which `Lagged` does not have."""
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

    def at(self, rows: Rows) -> Forecasts:
        """Those of some of the series."""
        return Forecasts(self.mean[rows], self.deviation[rows])


@dataclass(frozen=True)
class Lagged:
    """Many series prepared for a fit of one order without a moving-average part; the first axis is always the series.

    Numbers are divided by the `scale` of each series' differences, (n_series,), but for `level` and the scale itself.
    """

    order: Order
    values: Floats
    """The series less their `level`, (n_series, n_values); NaN only at the beginning of a row."""
    level: Floats
    scale: Floats
    differenced: Floats
    offset: Floats
    """What `differenced` lacks of the level, (n_series,); nothing where the order has differences."""
    factor: Floats
    """R of the QR decomposition of the lagged values and a column of ones, (n_series, n_lags + 1, n_lags + 1).

    Whatever combination of the columns is asked for, it has the same length in R as it has over all the values.
    """
    explained: NDArray[np.int64]
    """How many values the lagged ones explain, (n_series,)."""

    @classmethod
    def of(cls, series: Floats, order: Order) -> Lagged:
        """Prepare the rows of `series` (n_series, n_values), at least `order.lead` + 1 values each."""
        # Differences take the level away; without them the constant does, and the last value is as good as any other.
        level = series[:, -1]
        values = series - level[:, None]
        differenced = _differenced(values, order)
        scale = np.nanmax(np.abs(differenced), axis=1, initial=0.0)
        scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        differenced = differenced / scale[:, None]
        lagged = [differenced[:, order.reach - lag : differenced.shape[1] - lag] for lag in lags(order)]
        factor, explained = triangular(lagged)
        offset = np.zeros(len(series)) if order.d or order.seasonal_d else level / scale
        return cls(order, values / scale[:, None], level, scale, differenced, offset, factor, explained)

    def __getitem__(self, rows: Rows) -> Lagged:
        """Some of the series."""
        return Lagged(
            self.order,
            self.values[rows],
            self.level[rows],
            self.scale[rows],
            self.differenced[rows],
            self.offset[rows],
            self.factor[rows],
            self.explained[rows],
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def has_differences(self) -> bool:
        """Whether the order takes differences, which know no level."""
        return bool(self.order.d or self.order.seasonal_d)

    def ahead(self, coefficients: Floats, deviation: Floats, *, steps: int) -> Forecasts:
        """Forecasts `steps` beyond the end, of `coefficients` (n_series, k) and residual deviations (n_series,)."""
        mean, growth = _ahead(self.values, coefficients, self.order, steps)
        return Forecasts(mean * self.scale + self.level, deviation * np.sqrt(growth) * self.scale)


def forecast_statsmodels(values: Floats, order: Order, *, steps: int = 1) -> Forecasts:
    """The forecast of one series (n_values,) by statsmodels, as the reference platform asks it; the result holds one value.

    NaN where the series is shorter than `order.shortest`, or statsmodels fails. Raises ImportError where it is not
    installed.
    """
    sarimax = importlib.import_module("statsmodels.tsa.statespace.sarimax").SARIMAX
    unknown = Forecasts(np.full(1, np.nan), np.full(1, np.nan))
    values = values[~np.isnan(values)]
    if len(values) < order.shortest:
        return unknown
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = sarimax(
                values,
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
            fit = model.fit(maxiter=ITERATIONS, method="lbfgs", disp=0, cov_type="none")
            ahead = fit.get_forecast(steps)
            mean, deviation = float(ahead.predicted_mean[-1]), float(ahead.se_mean[-1])
        except (ValueError, np.linalg.LinAlgError, ArithmeticError):
            return unknown
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        return unknown
    return Forecasts(np.array([mean]), np.array([deviation]))


def is_statsmodels_installed() -> bool:
    """Whether `forecast_statsmodels` can be used."""
    return importlib.util.find_spec("statsmodels") is not None


def lags(order: Order) -> list[int]:
    """The lag of every product of a plain and a seasonal lag, the plain ones outermost."""
    return [i + order.season * j for i in range(order.p + 1) for j in range(order.seasonal_p + 1)]


def triangular(columns: list[Floats], *, constant: bool = True) -> tuple[Floats, NDArray[np.int64]]:
    """R of the QR decomposition of columns (n_series, n_values) and of ones, and how many values are in all of them."""
    columns = [*columns, np.ones_like(columns[0])] if constant else columns
    design = np.stack(columns, axis=-1)
    known = np.logical_not(np.isnan(design).any(axis=-1))
    factor = np.linalg.qr(np.where(known[..., None], design, 0.0), mode="r")
    return np.asarray(factor, dtype=np.float64), known.sum(axis=-1)


def polynomials(coefficients: Floats, order: Order) -> tuple[Floats, Floats]:
    """Coefficients of φ(B) and of Φ(Bᵐ), the leading 1 included."""
    one = np.ones((len(coefficients), 1))
    plain, seasonal = coefficients[:, : order.p], coefficients[:, order.p : order.p + order.seasonal_p]
    return np.concatenate([one, -plain], axis=1), np.concatenate([one, -seasonal], axis=1)


def products(coefficients: Floats, order: Order) -> Floats:
    """Weights of the lagged values, in the order of `lags`, and of the ones, that add up to the residual."""
    plain, seasonal = polynomials(coefficients, order)
    products = (plain[:, :, None] * seasonal[:, None, :]).reshape(len(coefficients), -1)
    return np.concatenate([products, -coefficients[:, -1:]], axis=1)


def _differenced(values: Floats, order: Order) -> Floats:
    for _ in range(order.seasonal_d):
        values = values[:, order.season :] - values[:, : -order.season]
    for _ in range(order.d):
        values = values[:, 1:] - values[:, :-1]
    return values


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
    for lag, product in zip(lags(order), products(coefficients, order).T, strict=False):
        polynomial[lag] = polynomial.get(lag, 0.0) + product
    for shift in [order.season] * order.seasonal_d + [1] * order.d:
        longer = dict(polynomial)
        for lag, weight in polynomial.items():
            longer[lag + shift] = longer.get(lag + shift, 0.0) - weight
        polynomial = longer
    return {lag: -weight for lag, weight in sorted(polynomial.items()) if lag}
