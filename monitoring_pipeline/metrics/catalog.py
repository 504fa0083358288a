"""All metrics by name, and how the scalars of several buckets become those of one window."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UnknownMetricError
from monitoring_pipeline.metrics.column import column_metrics
from monitoring_pipeline.metrics.dataset import dataset_metrics
from monitoring_pipeline.metrics.expressions import folded
from monitoring_pipeline.metrics.metric import Floats, Metric, share
from monitoring_pipeline.metrics.operational import OUTLIER_SCALARS, operational_metrics
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS, performance_metrics

__all__ = ["NO_METRICS", "Metric", "catalog", "is_sketched", "merge_scalars", "metric"]

_LEAST, _MOST = frozenset({"min", "first_upload"}), frozenset({"max", "n_columns", "last_upload"})
_MOMENTS = frozenset({"m_n", "mean", "m2"})
_SKETCHED = frozenset({*OUTLIER_SCALARS, *PERFORMANCE_SCALARS})
NO_METRICS: Final[Mapping[str, Metric]] = MappingProxyType({})
"""No metrics of a dataset's own."""


@cache
def catalog() -> Mapping[str, Metric]:
    """Every metric by its name."""
    parts = (column_metrics(), dataset_metrics(), performance_metrics(), operational_metrics())
    return MappingProxyType({metric.name: metric for part in parts for metric in part})


def metric(name: str, custom: Mapping[str, Metric] = NO_METRICS) -> Metric:
    """The metric of that name; case does not matter, and "." is "_". Raises UnknownMetricError with near matches.

    `custom`: metrics of the dataset's own, as `custom_metrics` gives them.
    """
    known = {**_by_folded_name(), **custom} if custom else _by_folded_name()
    found = known.get(folded(name))
    if found is None:
        near = difflib.get_close_matches(folded(name), known, n=3, cutoff=0.6)
        names = [known[match].name for match in near] or sorted(one.name for one in known.values())
        raise UnknownMetricError(
            f"no metric is called {name!r}; {'near' if near else 'there are'}: {', '.join(names)}"
        )
    return found


def merge_scalars(scalars: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Scalars of the buckets along the last axis as scalars of all of them together.

    `scalars`: by name, (…, n_buckets) float64 with NaN where missing; gives the same names, (…). Counts add;
    `mean` and `m2` follow Chan's formula, for which `m_n` must be there too (and `mean` for `m2`); `min` and `max`
    are the extremes; `n_columns` the most. What only sketches know (`is_sketched`) is NaN. A scalar
    that is missing from every bucket stays missing.
    """
    merged = {name: _merge(name, np.asarray(values, np.float64)) for name, values in scalars.items()}
    if "m_n" in scalars:
        merged |= {name: values for name, values in _merge_moments(scalars).items() if name in scalars}
    return merged


def is_sketched(scalar: str) -> bool:
    """Whether a scalar of merged buckets can only be told from merged sketches or components."""
    return scalar.startswith(("unique_", "quantile_")) or scalar in _SKETCHED


def _merge(name: str, values: Floats) -> Floats:
    present = ~np.isnan(values)
    if is_sketched(name) or name in _MOMENTS - {"m_n"}:
        return np.full(values.shape[:-1], np.nan)
    if name in _LEAST:
        found = np.min(values, axis=-1, initial=np.inf, where=present)
    elif name in _MOST:
        found = np.max(values, axis=-1, initial=-np.inf, where=present)
    else:
        found = np.sum(values, axis=-1, where=present)
    return np.where(present.any(axis=-1), found, np.nan)


def _merge_moments(scalars: Mapping[str, Floats]) -> dict[str, Floats]:
    counts = np.asarray(scalars["m_n"], np.float64)
    missing = np.full(counts.shape, np.nan)
    means, seconds = (np.asarray(scalars.get(name, missing), np.float64) for name in ("mean", "m2"))
    if not counts.shape[-1]:
        return dict.fromkeys(("mean", "m2"), np.full(counts.shape[:-1], np.nan))
    seen = counts > 0
    total = np.sum(counts, axis=-1, where=seen)
    # Deviations from one bucket's mean, so that buckets of one common mean keep exactly that mean.
    anchor = np.take_along_axis(means, np.argmax(np.where(seen, counts, 0), axis=-1)[..., None], axis=-1)
    mean = anchor[..., 0] + share(np.sum(counts * (means - anchor), axis=-1, where=seen), total)
    apart = np.where(seen, means - mean[..., None], 0.0)
    second = np.sum(seconds + counts * apart**2, axis=-1, where=seen)
    return {"mean": mean, "m2": np.where(total > 0, second, np.nan)}


@cache
def _by_folded_name() -> Mapping[str, Metric]:
    return {folded(name): found for name, found in catalog().items()}
