"""Baselines that forget anomalies: each bucket is judged by those before it, and dropped or replaced when it stands out.

The reference did so with the results that it had stored, so that an answer depended on what had been analysed before.
Here the walk over time begins a few windows before the target, with raw values, and follows from the data alone: a
replay, a backfill in any order and a single bucket give the same answer. A replacement is random as documented; its
draw belongs to (analyzer, segment, column, bucket) and `params.seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.bands import Bands, bands
from monitoring_pipeline.analysis.verdicts import Column, Context, Floats
from monitoring_pipeline.config.analyzers import StddevConfig
from monitoring_pipeline.errors import AnalysisError

HEALING = 4
"""Windows before the baseline's own that a walk begins with."""

_DRAWS = 10
"""Uniform numbers whose mean places a replacement."""

Draw = Callable[[NDArray[np.bool_], int], Floats]
"""Means of uniform numbers where a mask (n_series, n_targets) says so, at a position of the walk."""


@dataclass(frozen=True)
class Healing:
    """How a baseline is cleaned, out of an analyzer's `params`. `grubbs` is the significance of the test, or None."""

    grubbs: float | None
    drop: bool
    replace: bool
    alpha: float
    keep: float
    seed: str

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Healing:
        """Read the parameters. Raises AnalysisError for one that cannot be used."""
        return cls(
            grubbs=_share(params, "grubbSignificance", 0.95) if _flag(params, "enableGrubb") else None,
            drop=_flag(params, "enableAlertsFilter"),
            replace=_flag(params, "enableAnomalyReplacement"),
            alpha=_share(params, "alpha", 0.05),
            keep=_share(params, "lambdaKeep", 0.5, closed=True),
            seed=params.get("seed", ""),
        )

    @property
    def walks(self) -> bool:
        """Whether the baseline's own anomalies matter."""
        return self.drop or self.replace

    def prediction(self, found: Bands, means: Floats) -> Floats:
        """What is put in an anomaly's place before it is blended with the anomaly."""
        spread = (found.free_upper - found.free_lower) * NormalDist().inv_cdf(1 - self.alpha / 2)
        return found.mean + spread * means

    def replacement(self, values: Floats, prediction: Floats) -> Floats:
        """An anomaly that keeps a share of itself."""
        return values * self.keep + (1 - self.keep) * prediction


def heal(
    config: StddevConfig,
    healing: Healing,
    values: Floats,
    *,
    window: int,
    lag: int,
    context: Context | None = None,
    draw: Draw | None = None,
) -> Floats:
    """`values` (n_series, n_targets, n_buckets) with anomalies dropped or replaced; the first window + lag are raw.

    Each bucket is judged by the `window` healed ones that end `lag` buckets before it. `draw` is for tests; as a rule
    the numbers come from the context.
    """
    if draw is None and context is not None:
        draw = _drawn(healing, context)
    healed = values.copy()
    for at in range(window + lag, values.shape[-1]):
        value = values[..., at]
        found = bands(config, healed[..., at - lag - window : at - lag], healing.grubbs)
        enough = found.count >= config.min_batch_size
        if healing.replace and draw is not None:
            outside = enough & _outside(found, value)
            prediction = healing.prediction(found, draw(outside, at))
            healed[..., at] = np.where(outside, healing.replacement(value, prediction), value)
        if healing.drop:
            anomaly = enough & found.left_by(value, side=config.threshold_type)
            healed[..., at] = np.where(anomaly, np.nan, healed[..., at])
    return healed


def judged(healing: Healing, found: Bands, target: Floats, context: Context) -> Mapping[str, Column]:
    """What a result keeps of its target's replacement: whether, by what, and the draw."""
    outside = _outside(found, target)
    means = np.full(target.shape, np.nan)
    for row, at in np.argwhere(outside).tolist():
        means[row, at] = _mean(healing, context, row, int(context.targets[at]))
    prediction = healing.prediction(found, means)
    return {
        "seasonal_should_replace": outside.astype(object),
        "seasonal_lambda_keep": np.where(outside, healing.keep, np.nan),
        "seasonal_adjusted_prediction": prediction,
        "seasonal_replacement": healing.replacement(target, prediction),
        "seasonal_draw": means,
    }


def _outside(found: Bands, values: Floats) -> NDArray[np.bool_]:
    return (values > found.free_upper) | (values < found.free_lower)


def _drawn(healing: Healing, context: Context) -> Draw:
    known: dict[tuple[int, int], float] = {}

    def draw(where: NDArray[np.bool_], position: int) -> Floats:
        means = np.full(where.shape, np.nan)
        for row, at in np.argwhere(where).tolist():
            assert context.baseline_starts is not None  # noqa: S101  a trailing window has one
            bucket = int(context.baseline_starts[at]) + position
            if (row, bucket) not in known:
                known[row, bucket] = _mean(healing, context, row, bucket)
            means[row, at] = known[row, bucket]
        return means

    return draw


def _mean(healing: Healing, context: Context, row: int, bucket: int) -> float:
    return float(context.uniforms(row, bucket, _DRAWS, seed=healing.seed).mean())


def _flag(params: Mapping[str, str], name: str) -> bool:
    given = params.get(name, "false").strip().lower()
    if given not in ("true", "false"):
        raise AnalysisError(f"params.{name} is {params[name]!r}; accepted: true or false")
    return given == "true"


def _share(params: Mapping[str, str], name: str, default: float, *, closed: bool = False) -> float:
    try:
        found = float(params.get(name, default))
    except ValueError:
        found = float("nan")
    if (0 <= found <= 1) if closed else (0 < found < 1):
        return found
    raise AnalysisError(f"params.{name} is {params[name]!r}; accepted: a number between 0 and 1")
