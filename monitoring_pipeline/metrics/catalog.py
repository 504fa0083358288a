"""All metrics by name, and how the scalars of several buckets become those of one window."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UnknownMetricError
from monitoring_pipeline.metrics.column import column_metrics
from monitoring_pipeline.metrics.dataset import dataset_metrics
from monitoring_pipeline.metrics.metric import Floats, Metric, share

__all__ = ["Metric", "catalog", "merge_scalars", "metric"]

_LEAST, _MOST = frozenset({"min"}), frozenset({"max", "n_columns"})
_MOMENTS = frozenset({"m_n", "mean", "m2"})
_FROM_SKETCHES = ("unique_", "quantile_")


@cache
def catalog() -> Mapping[str, Metric]:
    """Every metric by its name."""
    return MappingProxyType({metric.name: metric for metric in (*column_metrics(), *dataset_metrics())})


def metric(name: str) -> Metric:
    """The metric of that name; case does not matter, and "." is "_". Raises UnknownMetricError with near matches."""
    found = _by_folded_name().get(_folded(name))
    if found is None:
        near = difflib.get_close_matches(_folded(name), _by_folded_name(), n=3, cutoff=0.6)
        names = [_by_folded_name()[match].name for match in near] or sorted(catalog())
        raise UnknownMetricError(
            f"no metric is called {name!r}; {'near' if near else 'there are'}: {', '.join(names)}"
        )
    return found


def merge_scalars(scalars: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Scalars of the buckets along the last axis as scalars of all of them together.

    `scalars`: by name, (…, n_buckets) float64 with NaN where missing; gives the same names, (…). Counts add;
    `mean` and `m2` follow Chan's formula, for which `m_n` must be there too (and `mean` for `m2`); `min` and `max`
    are the extremes; `n_columns` the most. What only sketches know (`unique_*`, `quantile_*`) is NaN. A scalar
    that is missing from every bucket stays missing.
    """
    merged = {name: _merge(name, np.asarray(values, np.float64)) for name, values in scalars.items()}
    if "m_n" in scalars:
        merged |= {name: values for name, values in _merge_moments(scalars).items() if name in scalars}
    return merged


def _merge(name: str, values: Floats) -> Floats:
    present = ~np.isnan(values)
    if name.startswith(_FROM_SKETCHES) or name in _MOMENTS - {"m_n"}:
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
    return {_folded(name): found for name, found in catalog().items()}


def _folded(name: str) -> str:
    return name.strip().replace(".", "_").lower()
