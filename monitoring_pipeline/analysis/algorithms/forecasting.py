"""What a seasonal model expects of the next value: which engine fits it, how its interval is clamped, and the way out.

A verdict is that of the documented model through statsmodels. The batched fit gives it where it is known to agree, which
it tells of each series itself (`sarima_batch`), and where statsmodels, an optional extra, is not installed. statsmodels
fits the others one by one: those where rounding decides about its answer, and models with a moving-average part.
`params.engine` "batched" leaves statsmodels out, "statsmodels" leaves the batched fit out. What cannot be fitted gets
bounds around the median. The engine of each verdict is in the results, with a note where it is not the usual one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms.sarima import (
    Order,
    forecast_statsmodels,
    is_statsmodels_installed,
)
from monitoring_pipeline.analysis.algorithms.sarima_batch import forecast_batch
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.analyzers import SeasonalConfig
from monitoring_pipeline.errors import AnalysisError

SHORTEST = 30
"""Values that a model is fitted to, at least."""

MEDIAN = "median"
"""Engine of the bounds that no model gave."""

_AUTO, _BATCHED, _STATSMODELS = "auto", "batched", "statsmodels"

_Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Model:
    """The model that an analyzer asks for: its order, the part of values outside the interval, and the engine."""

    order: Order
    alpha: float
    engine: str

    @classmethod
    def of(cls, config: SeasonalConfig, *, season: int) -> Model:
        """Read `params` and what they leave out. Raises AnalysisError for one that cannot be used."""
        params = config.params
        order = Order(
            p=_whole(params, "p", 1),
            d=_whole(params, "d", 0),
            q=_whole(params, "q", 0),
            seasonal_p=_whole(params, "P", 2),
            seasonal_d=_whole(params, "D", 1),
            seasonal_q=_whole(params, "Q", 0),
            season=_whole(params, "m", season, least=2),
        )
        engine = params.get("engine", _AUTO)
        if engine not in (_AUTO, _BATCHED, _STATSMODELS):
            accepted = f"{_AUTO}, {_BATCHED} or {_STATSMODELS}"
            raise AnalysisError(f"params.engine is {engine!r}; accepted: {accepted}")
        if engine == _STATSMODELS and not is_statsmodels_installed():
            line = "pip install 'monitoring-pipeline[seasonal]'"
            raise AnalysisError(f"params.engine statsmodels needs it installed: {line}")
        return cls(order, _share(params, "alpha", config.alpha), engine)


@dataclass(frozen=True)
class Forecast:
    """What is expected of one target of each series, arrays (n_series,): forecast, its deviation, bounds around it.

    `engine` says what gave it, `note` what is special about that; both are texts or None.
    """

    mean: Floats
    deviation: Floats
    lower: Floats
    upper: Floats
    engine: _Texts
    note: _Texts

    @classmethod
    def none(cls, n_series: int) -> Forecast:
        """Nothing is known yet."""
        mean, deviation, lower, upper = np.full((4, n_series), np.nan)
        return cls(mean, deviation, lower, upper, _nothing(n_series), _nothing(n_series))

    def put(self, rows: NDArray[np.bool_] | list[int], other: Forecast) -> None:
        """Take over what is known about some of the series."""
        for one in ("mean", "deviation", "lower", "upper", "engine", "note"):
            getattr(self, one)[rows] = getattr(other, one)


def forecast(
    config: SeasonalConfig, model: Model, series: Floats, training: Floats, *, steps: int = 1
) -> Forecast:
    """Forecast `steps` beyond the end of `training` (n_series, n_values), clamped as `series` (n_series, n_window) is.

    The interval lies within `stddevFactor` sample deviations of the series around the forecast, and around its lowest
    and highest value. Both arrays may begin with NaN, and have one value otherwise.
    """
    found = _modelled(model, training, steps)
    reach = NormalDist().inv_cdf(1 - model.alpha / 2) * found.deviation
    spread = config.stddev_factor * _deviation(series)
    lowest, highest = np.fmin.reduce(series, axis=1), np.fmax.reduce(series, axis=1)
    found.lower[:] = np.maximum(np.maximum(found.mean - reach, found.mean - spread), lowest - spread)
    found.upper[:] = np.minimum(np.minimum(found.mean + reach, found.mean + spread), highest + spread)
    beyond = found.lower > found.upper
    found.note[beyond] = "its forecast lies far outside anything that the baseline has seen"
    for row in np.flatnonzero(beyond | np.isnan(found.mean)).tolist():
        found.put([row], _median(config, model, series[row], training[row], why=str(found.note[row])))
    return found


def _modelled(model: Model, training: Floats, steps: int) -> Forecast:
    """Forecasts without bounds; NaN, and a note why, where there is none."""
    found, order = Forecast.none(len(training)), model.order
    values = (~np.isnan(training)).sum(axis=1)
    shortest = max(SHORTEST, order.shortest)
    found.note[:] = [
        f"it needs {shortest} values to learn from, and there are {one}" for one in values.tolist()
    ]
    left = values >= shortest
    found.note[left] = reason = _reason(model)
    if model.engine != _STATSMODELS and not order.has_moving_average and left.any():
        left = _fitted_together(model, training, left, steps=steps, found=found)
    if not left.any():
        return found
    if not is_statsmodels_installed():
        found.note[left] = f"{reason}, and statsmodels, which could fit it, is not installed"
        return found
    for row in np.flatnonzero(left).tolist():
        alone = forecast_statsmodels(training[row], order, steps=steps)
        if np.isfinite(alone.mean[0]):
            found.mean[row], found.deviation[row] = alone.mean[0], alone.deviation[0]
            found.engine[row], found.note[row] = _STATSMODELS, f"fitted by statsmodels: {reason}"
        else:
            found.note[row] = f"{reason}, and statsmodels failed"
    return found


def _fitted_together(
    model: Model, training: Floats, rows: NDArray[np.bool_], *, steps: int, found: Forecast
) -> NDArray[np.bool_]:
    """Put the batched fit of these rows into `found`, and return the rows that are left to statsmodels."""
    together = forecast_batch(training[rows], model.order, steps=steps)
    found.mean[rows], found.deviation[rows] = together.mean, together.deviation
    is_fitted = np.isfinite(found.mean)
    agrees = np.zeros_like(rows)
    agrees[rows] = together.agrees
    found.engine[is_fitted] = _BATCHED
    found.note[is_fitted] = f"the maximum of the likelihood: {_reason(model)}"
    found.note[agrees] = None
    if model.engine == _BATCHED or not is_statsmodels_installed():
        return rows & ~is_fitted
    return rows & ~agrees


def _reason(model: Model) -> str:
    if model.engine == _STATSMODELS:
        return "params.engine asks for it"
    if model.order.has_moving_average:
        return "it has a moving-average part"
    return "rounding decides about statsmodels' answer"


def _median(config: SeasonalConfig, model: Model, series: Floats, training: Floats, *, why: str) -> Forecast:
    """The reference's way out: the median of the last 30 values ± `stddevFactor` population deviations of all."""
    values = training if len(training) >= 3 else series
    values = values[~np.isnan(values)]
    found = Forecast.none(1)
    if not len(values):
        return found
    with np.errstate(over="ignore"):
        found.mean[:], found.deviation[:] = np.median(values[-SHORTEST:]), np.std(values)
    spread = config.stddev_factor * found.deviation
    found.lower[:], found.upper[:] = found.mean - spread, found.mean + spread
    found.engine[:] = MEDIAN
    found.note[:] = f"median of the last {SHORTEST} values instead of the model {model.order}: {why}"
    return found


def _deviation(series: Floats) -> Floats:
    """Sample deviation of what is not missing, (n_series,)."""
    there = ~np.isnan(series)
    count = there.sum(axis=1)
    values = np.where(there, series, 0.0)
    # A power of two keeps all digits, and the squares of very large and very small values within bounds.
    _, power = np.frexp(np.abs(values).max(axis=1))
    values = np.ldexp(values, -power[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=1) / count
        squares = np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        return np.ldexp(np.sqrt(squares / (count - 1)), power)


def _nothing(n_series: int) -> _Texts:
    return np.full(n_series, None, dtype=object)


def _whole(params: Mapping[str, str], key: str, default: int, *, least: int = 0) -> int:
    try:
        found = int(params.get(key, default))
    except ValueError:
        found = -1
    if found < least:
        raise AnalysisError(f"params.{key} is {params[key]!r}; accepted: a whole number from {least}")
    return found


def _share(params: Mapping[str, str], key: str, default: float) -> float:
    try:
        found = float(params.get(key, default))
    except ValueError:
        found = float("nan")
    if not 0 < found < 1:
        raise AnalysisError(f"params.{key} is {params[key]!r}; accepted: a number between 0 and 1")
    return found
