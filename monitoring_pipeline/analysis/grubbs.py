"""Grubbs' test for outliers, repeated until none is left (Grubbs 1969; the variant of the reference platform)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.student import t_quantile

Floats = NDArray[np.float64]


def without_outliers(values: Floats, *, significance: float) -> Floats:
    """`values` (..., n) with outliers along the last axis replaced by NaN, which stands for no value.

    Of at least three values the one furthest from their mean (the first of several) is an outlier, and with it all
    that are equal to it, when G = |x − mean| / σ exceeds (n − 1) / √n · √(t² / (n − 2 + t²)), where t is the quantile
    of Student's t with n − 2 degrees of freedom at (1 − significance) / 2n.

    >>> without_outliers(np.array([8.0, 9.0, 10.0, 9.0, 50.0]), significance=0.95).tolist()
    [8.0, 9.0, 10.0, 9.0, nan]
    """
    flat = values.reshape(-1, values.shape[-1]).copy()
    active = np.arange(len(flat))
    while len(active):
        rows = flat[active]
        present = ~np.isnan(rows)
        count = present.sum(axis=-1)
        mean, sigma = _moments(rows, present, count)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = np.where(present, np.abs(rows - mean[:, None]), -1.0)
            furthest = deviation.argmax(axis=-1)
            extreme = rows[np.arange(len(rows)), furthest]
            statistic = deviation.max(axis=-1) / sigma
        limits = {n: _limit(n, significance) for n in np.unique(count).tolist()}
        found = statistic > np.array([limits[n] for n in count.tolist()])
        active = active[found]
        flat[active] = np.where(rows[found] == extreme[found, None], np.nan, rows[found])
    return flat.reshape(values.shape)


def _limit(n: int, significance: float) -> float:
    if n < 3:
        return math.inf
    t = t_quantile((1 - significance) / (2 * n), n - 2)
    return (n - 1) / math.sqrt(n) * math.sqrt(t * t / (n - 2 + t * t))


def _moments(rows: Floats, present: NDArray[np.bool_], count: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean and sample deviation; value by value, so that each row has the same bits alone and among many."""
    total, squares = np.zeros(len(rows)), np.zeros(len(rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        for at in range(rows.shape[1]):
            total += np.where(present[:, at], rows[:, at], 0.0)
        mean = total / count
        for at in range(rows.shape[1]):
            squares += np.where(present[:, at], (rows[:, at] - mean) ** 2, 0.0)
        return mean, np.sqrt(squares / (count - 1))
