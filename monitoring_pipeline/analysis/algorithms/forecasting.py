"""What a seasonal model expects of the next value: which engine fits it, how its interval is clamped, and the way out.

Models without a moving-average part are fitted together (`sarima.forecast_batch`), the others, and those for which this
finds no minimum, by statsmodels where it is installed. What cannot be fitted gets bounds around the median, and a note
that says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms.sarima import (
    Order,
    forecast_batch,
    forecast_statsmodels,
    is_statsmodels_installed,
)
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.analyzers import SeasonalConfig
from monitoring_pipeline.errors import AnalysisError

SHORTEST = 30
"""Values that a model is fitted to, at least."""

MEDIAN = "median"
"""Engine of the bounds that no model gave."""

_BATCHED, _STATSMODELS = "batched", "statsmodels"

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
        engine = params.get("engine", _BATCHED)
        if engine not in (_BATCHED, _STATSMODELS):
            raise AnalysisError(f"params.engine is {engine!r}; accepted: {_BATCHED} or {_STATSMODELS}")
        if engine == _STATSMODELS and not is_statsmodels_installed():
            raise AnalysisError("params.engine statsmodels needs it installed: pip install statsmodels")
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
    if model.engine == _BATCHED and not order.has_moving_average and left.any():
        together = forecast_batch(training[left], order, steps=steps)
        found.mean[left], found.deviation[left] = together.mean, together.deviation
        done = ~np.isnan(found.mean)
        found.engine[done], found.note[done] = _BATCHED, None
        left &= ~done
    reason = _reason(model)
    if not is_statsmodels_installed():
        found.note[left] = f"{reason}, and statsmodels, which could fit it, is not installed"
        return found
    for row in np.flatnonzero(left).tolist():
        # The reference platform fits the values as they are; where the engine is asked for, that is what is asked for.
        alone = forecast_statsmodels(training[row], order, steps=steps, scaled=model.engine != _STATSMODELS)
        found.mean[row], found.deviation[row] = alone.mean[0], alone.deviation[0]
        fitted = not np.isnan(alone.mean[0])
        found.engine[row] = _STATSMODELS if fitted else None
        found.note[row] = (
            f"fitted by statsmodels: {reason}" if fitted else f"{reason}, and statsmodels failed"
        )
    return found


def _reason(model: Model) -> str:
    if model.engine == _STATSMODELS:
        return "params.engine asks for it"
    if model.order.has_moving_average:
        return "it has a moving-average part"
    return "its sum of squares has no minimum that Newton's method finds"


def _median(config: SeasonalConfig, model: Model, series: Floats, training: Floats, *, why: str) -> Forecast:
    """The reference's way out: the median of the last 30 values ± `stddevFactor` population deviations of all."""
    values = training if len(training) >= 3 else series
    values = values[~np.isnan(values)]
    found = Forecast.none(1)
    if not len(values):
        return found
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
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, series, 0.0).sum(axis=1) / count
        squares = np.where(there, (series - mean[:, None]) ** 2, 0.0).sum(axis=1)
        return np.sqrt(squares / (count - 1))


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
