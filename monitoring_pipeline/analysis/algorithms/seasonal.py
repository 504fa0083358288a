"""Seasonal forecasts: an anomaly when the metric leaves the interval that a seasonal ARIMA model expects it in.

The model is (1,0,0)(2,1,0) with the season of the granularity, fitted to the baseline; `params` p, d, q, P, D, Q, m and
alpha override it. The forecast's 1 − alpha interval is clamped to `stddevFactor` standard deviations of the baseline
around the forecast, and to as many outside the values that the baseline has seen. Missing values take the one before.
How a forecast comes about, and what happens without one, is in `forecasting`.

Buckets in `stddevTimeRanges` are not trained on, unless the target lies in such a time itself. They are cut out in
whole seasons, so that what remains keeps its rhythm; for that, the buckets right before them may go too.

An anomaly may be replaced in the baselines of later targets: with probability 0.5, or 0.8 in a time range, by a random
value of its interval. The draws belong to (analyzer, segment, column, bucket). What was replaced is in the results'
details, and the walk over the targets goes on from there, so that a bucket judged alone gets the verdict that it gets
among others. Bounds around the median replace nothing.

`params.engine`: "auto" fits together the series on which that agrees with statsmodels, and leaves the others to it;
"batched" and "statsmodels" fit all of them the one way or the other. The result tells the engine of every verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms.forecasting import MEDIAN, SHORTEST, Forecast, Model, forecast
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import (
    Column,
    Context,
    Floats,
    Needs,
    Verdicts,
    explained,
    fail,
    fail_all,
    no_failures,
)
from monitoring_pipeline.config.analyzers import Analyzer, AnyConfig, SeasonalConfig

name = "seasonal"
needs: Needs = "series"
remembers = True
parameters = ("p", "d", "q", "P", "D", "Q", "m", "alpha", "engine")

KEEP, KEEP_IN_RANGE = 0.5, 0.2
"""Probabilities that an anomaly stays in later baselines as it is."""

_WEEK = 7


def reach(analyzer: Analyzer) -> int:
    """No more than the baseline. Raises AnalysisError for parameters that cannot be used."""
    Model.of(cast("SeasonalConfig", analyzer.config), season=_WEEK)
    return 0


def evaluate(
    config: AnyConfig, target: Floats, baseline: Floats, *, context: Context | None = None
) -> Verdicts:
    """Judge `target` (n_series, n_targets) against `baseline` (n_series, n_targets, n_window), targets ascending.

    `context` tells the season, the time and what was replaced before; without it the season is 7 and nothing is
    replaced. Fewer than `minBatchSize` values, a baseline of fewer than 30 buckets and contradictory thresholds are
    failures of the result.

    >>> config = SeasonalConfig(metric="mean", stddev_factor=3, baseline={"type": "TrailingWindow", "size": 90})
    >>> week = np.array([5.0, 5.0, 5.0, 5.0, 5.0, 9.0, 9.0])
    >>> verdicts = evaluate(config, np.array([[9.0]]), np.resize(week, (1, 1, 90)))
    >>> verdicts.lower.tolist(), verdicts.upper.tolist(), verdicts.anomaly.tolist()
    ([[9.0]], [[9.0]], [[False]])
    """
    config = cast("SeasonalConfig", config)
    values = np.where(np.isfinite(baseline), baseline, np.nan)
    count = (~np.isnan(values)).sum(axis=-1)
    enough = (count >= config.min_batch_size) & (values.shape[-1] >= SHORTEST)
    walk = _Walk.of(config, target, values, context)
    for at in range(target.shape[1]):
        walk.step(at, enough[:, at])
    verdicts = _verdicts(walk)
    low, high = config.min_lower_threshold, config.max_upper_threshold
    if low is not None and high is not None and low > high:
        reason = f"minLowerThreshold {low:g} exceeds maxUpperThreshold {high:g}"
        return fail_all(verdicts, FailureType.CALCULATION_EXCEPTION, reason)
    if values.shape[-1] < SHORTEST:
        reason = (
            f"Calculation requires at least {SHORTEST} buckets in the baseline; it has {values.shape[-1]}"
        )
        return fail_all(verdicts, FailureType.CALCULATION_EXCEPTION, reason)
    return fail(verdicts, ~enough, FailureType.CALCULATION_EXCEPTION, _too_few(count, config.min_batch_size))


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """Forecasts of target after target, for all series, with the anomalies that were replaced on the way."""

    config: SeasonalConfig
    model: Model
    target: Floats
    baseline: Floats
    context: Context | None
    base: int
    """Bucket index of the first column of `replaced`."""
    replaced: Floats
    """What later baselines take for a bucket, (n_series, n_buckets); NaN for the value itself."""
    eventful: NDArray[np.bool_]
    """Which of these buckets lie in `stddevTimeRanges`."""
    draws: Floats
    """(2, n_series, n_targets): whether an anomaly is replaced, and where in the interval; NaN where there is none."""
    keep: Floats
    """Probability that an anomaly of the target stays, (n_targets,)."""
    anomaly: NDArray[np.bool_]
    forecasts: list[Forecast] = field(default_factory=list)

    @classmethod
    def of(cls, config: SeasonalConfig, target: Floats, baseline: Floats, context: Context | None) -> _Walk:
        n_series, n_targets, n_window = baseline.shape
        base, end = 0, n_window + 1
        if context is not None and context.baseline_starts is not None and n_targets:
            base = int(context.baseline_starts.min())
            end = int(max(context.targets.max() + 1, context.baseline_starts.max() + n_window))
        walk = cls(
            config=config,
            model=Model.of(config, season=context.granularity.season if context else _WEEK),
            target=target,
            baseline=baseline,
            context=context,
            base=base,
            replaced=np.full((n_series, end - base), np.nan),
            eventful=np.zeros(end - base, dtype=np.bool_),
            draws=np.full((2, n_series, n_targets), np.nan),
            keep=np.full(n_targets, KEEP),
            anomaly=np.zeros((n_series, n_targets), dtype=np.bool_),
        )
        if context is not None and config.stddev_time_ranges:
            starts = (context.granularity.start(index) for index in range(base, end))
            walk.eventful[:] = [any(start in one for one in config.stddev_time_ranges) for start in starts]
        walk.recall()
        return walk

    @property
    def replaces(self) -> bool:
        """Whether the analyzer's own anomalies are in the baselines at all."""
        return self.context is not None and not self.config.baseline.dataset_id

    def recall(self) -> None:
        """Take over what earlier results replaced; what this walk judges anew is not among them."""
        if self.context is None or not self.replaces:
            return
        rows = {key: row for row, key in enumerate(self.context.keys)}
        anew = set(self.context.targets.tolist())
        for (key, bucket), details in self.context.earlier.items():
            value, place = details.get("seasonal_replacement"), bucket - self.base
            meant = key in rows and bucket not in anew and 0 <= place < self.replaced.shape[1]
            if meant and isinstance(value, int | float):
                self.replaced[rows[key], place] = value

    def step(self, at: int, enough: NDArray[np.bool_]) -> None:
        """Forecast the target at this position where the baseline has enough values, judge it, and perhaps replace it."""
        window = self.baseline[:, at, :]
        start, steps, is_eventful = self.place(at)
        patch = self.replaced[:, start : start + window.shape[1]]
        series = _filled(np.where(np.isnan(patch) | np.isnan(window), window, patch))
        training = series
        if not is_eventful:
            kept = _kept(self.eventful[start : start + window.shape[1]], self.model.order.season)
            training = np.ascontiguousarray(series[:, kept])
        found = Forecast.none(len(series))
        if enough.any():
            found.put(
                enough, forecast(self.config, self.model, series[enough], training[enough], steps=steps)
            )
        self.forecasts.append(found)
        self.keep[at] = KEEP_IN_RANGE if is_eventful else KEEP
        self.anomaly[:, at] = self.judged(at, found)
        if self.replaces:
            self.replace(at, found)

    def place(self, at: int) -> tuple[int, int, bool]:
        """Where a target's window begins in `replaced`, how many buckets after its end it is, if in a time range."""
        context, n_window = self.context, self.baseline.shape[-1]
        if context is None or context.baseline_starts is None:
            return 0, 1, False
        start, bucket = int(context.baseline_starts[at]), int(context.targets[at])
        return start - self.base, bucket - (start + n_window) + 1, bool(self.eventful[bucket - self.base])

    def judged(self, at: int, found: Forecast) -> NDArray[np.bool_]:
        """Whether the target leaves its bounds, (n_series,)."""
        lower, upper = _limited(self.config, found.lower, found.upper)
        above, below = self.target[:, at] > upper, self.target[:, at] < lower
        side = self.config.threshold_type
        return above if side == "upper" else below if side == "lower" else above | below

    def replace(self, at: int, found: Forecast) -> None:
        """Draw for each anomaly whether it stays in later baselines."""
        context = cast("Context", self.context)
        bucket = int(context.targets[at])
        for row in np.flatnonzero(self.anomaly[:, at] & (found.engine != MEDIAN)).tolist():
            self.draws[:, row, at] = draw, place = context.uniforms(row, bucket, 2)
            if draw >= self.keep[at]:
                self.replaced[row, bucket - self.base] = _between(found.lower[row], found.upper[row], place)


def _verdicts(walk: _Walk) -> Verdicts:
    config, shape = walk.config, walk.target.shape
    mean, deviation, free_lower, free_upper = (
        np.stack([getattr(found, one) for found in walk.forecasts], axis=1)
        if walk.forecasts
        else np.empty(shape)
        for one in ("mean", "deviation", "lower", "upper")
    )
    engine, note = no_failures(shape)
    for at, found in enumerate(walk.forecasts):
        engine[:, at], note[:, at] = found.engine, found.note
    lower, upper = _limited(config, free_lower, free_upper)
    draw, place = walk.draws
    replaced, random = draw >= walk.keep, _between(free_lower, free_upper, place)
    columns: dict[str, Column] = {
        "algorithm": str(config.algorithm),
        "algorithm_mode": engine,
        "metric_value": walk.target,
        "calculated_lower": lower,
        "calculated_upper": upper,
        "absolute_lower": config.min_lower_threshold,
        "absolute_upper": config.max_upper_threshold,
        "factor": float(config.stddev_factor),
        "threshold_type": None if config.threshold_type is None else str(config.threshold_type),
        "model": str(walk.model.order),
        "model_note": note,
        "forecast": mean,
        "forecast_deviation": deviation,
        "forecast_lower": free_lower,
        "forecast_upper": free_upper,
        "seasonal_should_replace": replaced.astype(object),
        "seasonal_lambda_keep": np.where(np.isnan(draw), np.nan, walk.keep),
        "seasonal_draw": draw,
        "seasonal_adjusted_prediction": random,
        "seasonal_replacement": np.where(replaced, random, np.nan),
    }
    return Verdicts(walk.anomaly, walk.target, lower, upper, *no_failures(shape), columns)


def _limited(config: SeasonalConfig, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Bounds that lie within the static thresholds."""
    low = -np.inf if config.min_lower_threshold is None else config.min_lower_threshold
    high = np.inf if config.max_upper_threshold is None else config.max_upper_threshold
    return np.maximum(low, np.minimum(lower, high)), np.minimum(high, np.maximum(upper, low))


def _between(lower: Floats, upper: Floats, place: Floats) -> Floats:
    return lower + place * (upper - lower)


def _filled(series: Floats) -> Floats:
    """Missing values take the last one before them; those at the beginning stay missing."""
    last = np.where(np.isnan(series), 0, np.arange(series.shape[1]))
    return np.take_along_axis(series, np.maximum.accumulate(last, axis=1), axis=1)


def _kept(eventful: NDArray[np.bool_], season: int) -> NDArray[np.bool_]:
    """Which buckets of a window to train on: cuts are whole seasons, completed by buckets before the event."""
    kept = np.ones(len(eventful), dtype=np.bool_)
    cut = 0
    for at in range(len(eventful) - 1, -1, -1):
        if eventful[at] or cut % season:
            kept[at] = False
            cut += 1
    return kept


def _too_few(count: NDArray[np.int64], minimum: int) -> NDArray[np.object_]:
    return explained(
        count,
        lambda points: (
            f"Calculation requires at least {minimum} values in the baseline (minBatchSize); it has {points}"
        ),
    )
