"""Standard deviations: an anomaly when the metric lies further than `factor` sample deviations from the baseline's mean.

mean ± factor·σ with σ = √(Σ(x − mean)² / (n − 1)); a baseline of one point takes σ = √mean, as for a count. Static
thresholds limit the bounds: with `limitType` "or" the bounds never lie outside `minLowerThreshold` and
`maxUpperThreshold`, with "and" the target must leave the static threshold as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Floats, Needs, Verdicts, explained, fail, no_failures
from monitoring_pipeline.config.analyzers import AnyConfig, StddevConfig

name = "stddev"
needs: Needs = "series"

_UNAVAILABLE = ("enableAnomalyReplacement", "enableGrubb", "enableAlertsFilter")


def evaluate(config: AnyConfig, target: Floats, baseline: Floats) -> Verdicts:
    """Judge `target` (n_series, n_targets) against `baseline` (n_series, n_targets, n_window); NaN is left out.

    Fewer than `minBatchSize` points, contradictory thresholds and parameters that this release does not have are
    failures of the result, never a silent verdict.

    >>> config = StddevConfig(metric="mean", factor=3, baseline={"type": "TrailingWindow", "size": 4})
    >>> verdicts = evaluate(config, np.array([[20.0]]), np.array([[[9.0, 11.0, 9.0, 11.0]]]))
    >>> verdicts.upper.round(3).tolist(), verdicts.anomaly.tolist()
    ([[13.464]], [[True]])
    """
    config = cast("StddevConfig", config)
    count, mean, sigma = _moments(baseline)
    lower, upper = _limited(config, mean - config.factor * sigma, mean + config.factor * sigma)
    above, below = target > upper, target < lower
    side = config.threshold_type
    anomaly = above if side == "upper" else below if side == "lower" else above | below

    failure, explanation = no_failures(target.shape)
    verdicts = Verdicts(
        anomaly=anomaly,
        value=target,
        lower=lower,
        upper=upper,
        failure=failure,
        explanation=explanation,
        columns={
            "metric_value": target,
            "calculated_lower": lower,
            "calculated_upper": upper,
            "absolute_lower": config.min_lower_threshold,
            "absolute_upper": config.max_upper_threshold,
            "factor": float(config.factor),
            "threshold_type": None if side is None else str(side),
        },
    )
    problem = _problem(config)
    if problem:
        return fail(
            verdicts, np.ones(target.shape, dtype=np.bool_), FailureType.CALCULATION_EXCEPTION, problem
        )
    return fail(
        verdicts,
        count < config.min_batch_size,
        FailureType.CALCULATION_EXCEPTION,
        _too_few(count, config.min_batch_size),
    )


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


def _problem(config: StddevConfig) -> str | None:
    low, high = config.min_lower_threshold, config.max_upper_threshold
    if low is not None and high is not None and low > high:
        return f"minLowerThreshold {low:g} exceeds maxUpperThreshold {high:g}"
    params: Mapping[str, object] = config.params or {}
    asked = [name for name in _UNAVAILABLE if str(params.get(name, "")).lower() == "true"]
    if asked:
        return f"params.{asked[0]} is not available in this release; remove it to get verdicts without it"
    return None


def _too_few(count: NDArray[np.int64], minimum: int) -> NDArray[np.object_]:
    return explained(
        count,
        lambda points: (
            f"the baseline has {points} usable values; stddev requires at least {minimum} (minBatchSize)"
        ),
    )
