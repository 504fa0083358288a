"""The band of values that a baseline makes expect: mean ± factor·σ, limited by static thresholds.

`params.leastChange` is the smallest change that matters, as a share of the baseline's mean: the band is at least that
wide. A column that hardly varies has a tiny σ, and what is many times as much may still be nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.grubbs import without_outliers
from monitoring_pipeline.config.analyzers import StddevConfig, ThresholdType
from monitoring_pipeline.errors import AnalysisError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bands:
    """Bands of several baselines, arrays of one shape. `free_*` are the bounds before static thresholds apply."""

    count: NDArray[np.int64]
    """Values that the band was made from."""
    mean: Floats
    free_lower: Floats
    free_upper: Floats
    lower: Floats
    upper: Floats

    def left_by(self, values: Floats, *, side: ThresholdType | None) -> NDArray[np.bool_]:
        """Which values lie outside, on the side that counts; None: both."""
        above, below = values > self.upper, values < self.lower
        return above if side == "upper" else below if side == "lower" else above | below


def bands(config: StddevConfig, baseline: Floats, grubbs: float | None) -> Bands:
    """Bands of `baseline` (..., n_window), NaN left out, and outliers too at a significance of `grubbs`."""
    if grubbs is not None:
        baseline = without_outliers(baseline, significance=grubbs)
    count, mean, sigma = _moments(baseline)
    width = np.maximum(config.factor * sigma, _least_change(config) * np.abs(mean))
    free_lower, free_upper = mean - width, mean + width
    return Bands(count, mean, free_lower, free_upper, *_limited(config, free_lower, free_upper))


def _least_change(config: StddevConfig) -> float:
    given = config.params.get("leastChange", "0")
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share < np.inf:
        raise AnalysisError(
            f"params.leastChange is {given!r}; accepted: a share of the baseline's mean, such as 0.05"
        )
    return share


def _moments(baseline: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Points, mean and sample deviation along the last axis.

    Sums run over the window step by step, so that a verdict has the same bits alone and among many.
    """
    shape = baseline.shape[:-1]
    present = ~np.isnan(baseline)
    count = present.sum(axis=-1)
    total, squares = np.zeros(shape), np.zeros(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        for step in range(baseline.shape[-1]):
            total += np.where(present[..., step], baseline[..., step], 0.0)
        mean = total / count
        for step in range(baseline.shape[-1]):
            squares += np.where(present[..., step], (baseline[..., step] - mean) ** 2, 0.0)
        sigma = np.where(count == 1, np.sqrt(mean), np.sqrt(squares / (count - 1)))
    return count, mean, sigma


def _limited(config: StddevConfig, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    low = -np.inf if config.min_lower_threshold is None else config.min_lower_threshold
    high = np.inf if config.max_upper_threshold is None else config.max_upper_threshold
    if config.limit_type == "and":
        # A side without a static threshold keeps its calculated bound; the reference silenced it.
        return (
            lower if np.isinf(low) else np.minimum(low, lower),
            upper if np.isinf(high) else np.maximum(high, upper),
        )
    return np.maximum(low, np.minimum(lower, high)), np.minimum(high, np.maximum(upper, low))
