"""What algorithms are given: values of a metric, values of merged buckets, distributions over shared bins.

From arrays and opened profiles to arrays; what is read from the store is in `reading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distributions import (
    Items,
    Quantiles,
    Side,
    frequencies,
    histograms,
    merged_items,
    merged_quantiles,
    newest_items,
    steps,
)
from monitoring_pipeline.analysis.jobs import Job, reference_window
from monitoring_pipeline.analysis.judgements import COMPONENT_SCALARS, component_scalars
from monitoring_pipeline.analysis.planner import Key
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.metrics import Metric, is_sketched, merge_scalars
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.profiling.sketches import Hll

Counts = NDArray[np.int64]
History = Mapping[int, ColumnProfile]
"""The profiles of one series by bucket index."""

Names = Mapping[int, Items | None]
"""The columns of one segment by bucket index."""

MOMENTS = ("m_n", "mean", "m2")
"""Scalars that merge only together."""

_QUANTILE = "quantile_"
_DISTINCT = ("unique_est", "unique_lower", "unique_upper")

_CELLS = 4_000_000
"""Values that the windows of one run of series may hold."""


@dataclass(frozen=True)
class Values:
    """A metric of several series, bucket by bucket: `metric` (n_series, n_buckets), from bucket index `base` on.

    A metric that is no number is 1 where there is one. `scalars` are what the metric is made of, same shape; `n` among them says where there is a profile.
    """

    keys: tuple[Key, ...]
    base: int
    metric: Floats
    scalars: Mapping[str, Floats]

    def of(self, keys: Sequence[Key]) -> Values:
        """The same for these keys, in their order; a series that is not there has no values."""
        if tuple(keys) == self.keys:
            return self
        rows = {key: row for row, key in enumerate(self.keys)}
        chosen = np.array([rows.get(key, -1) for key in keys], dtype=np.int64)
        scalars = {name: _rows(values, chosen) for name, values in self.scalars.items()}
        return Values(tuple(keys), self.base, _rows(self.metric, chosen), scalars)

    def cut(self, rows: slice) -> Values:
        """Some of the series."""
        scalars = {name: values[rows] for name, values in self.scalars.items()}
        return Values(self.keys[rows], self.base, self.metric[rows], scalars)


@dataclass(frozen=True)
class Inputs:
    """Targets and baselines of some series. Arrays are (n_series, n_targets), with one more axis where `needs` says so."""

    keys: tuple[Key, ...]
    target: NDArray[Any]
    baseline: NDArray[Any]
    present: NDArray[np.bool_]
    """Whether the target has the metric at all; if not, there is no result."""
    target_count: Counts
    target_profiles: Counts
    baseline_count: Counts
    baseline_profiles: Counts
    positions: Floats | None = None
    """Where the bins of a distribution lie, when they lie anywhere."""
    unreadable: str | None = None
    """What is wrong with the profiles of these series."""


def runs(n_series: int, job: Job) -> Iterator[slice]:
    """Runs of series whose windows fit in memory together."""
    window = max(job.target.length, job.seen.length, 1)
    size = max(1, _CELLS // (window * len(job.targets)))
    for start in range(0, n_series, size):
        yield slice(start, min(start + size, n_series))


def numeric_inputs(
    job: Job,
    target: Values,
    baseline: Values,
    *,
    target_history: Mapping[Key, History],
    baseline_history: Mapping[Key, History],
) -> Inputs:
    """Inputs of an algorithm that needs `series` or `merged`, for the series of `target`.

    `baseline` has the same series; for a reference profile it is one bucket with index 0. The histories hold profiles
    with sketches where only sketches can tell the metric of merged buckets (`needs_sketches`).
    """
    compared = job.compared or reference_window(job.targets)
    shape = (len(target.keys), len(job.targets))
    target_values = _targets(job, target, job.target, target_history)
    none = np.zeros(shape, dtype=np.int64)
    baseline_count, baseline_profiles = none, none
    if job.baseline is not None:
        baseline_count = _present(compared.gather(baseline.metric, baseline.base))
        baseline_profiles = _present(compared.gather(baseline.scalars["n"], baseline.base))
    if job.algorithm.needs == "merged":
        missing = np.full(shape, _missing(job.metric))
        compared_values = (
            missing
            if job.baseline is None
            else merged(job.metric, baseline, compared, baseline_history, per_bucket=True)
        )
    elif job.baseline is not None:
        compared_values = job.seen.gather(baseline.metric, baseline.base)
    else:
        chain = [
            _targets(job, target, Window(job.target.starts - back, job.target.length), target_history)
            for back in range(job.reach, 0, -1)
        ]
        compared_values = np.stack(chain, axis=-1) if chain else np.empty((*shape, 0))
    return Inputs(
        keys=target.keys,
        target=target_values,
        baseline=compared_values,
        present=target_values != "" if job.metric.kind == "text" else ~np.isnan(target_values),
        target_count=_present(job.counted.gather(target.metric, target.base)),
        target_profiles=_present(job.counted.gather(target.scalars["n"], target.base)),
        baseline_count=baseline_count,
        baseline_profiles=baseline_profiles,
    )


def profile_counts(job: Job, target: Values, baseline: Values) -> tuple[Counts, Counts]:
    """How many buckets of every target and of its baseline have a profile, each (n_series, n_targets)."""
    compared = job.compared or reference_window(job.targets)
    sides = ((target, job.target), (baseline, compared))
    ours, theirs = (_present(window.gather(side.scalars["n"], side.base)) for side, window in sides)
    return ours, theirs


def sketch_inputs(job: Job, key: Key, target: History, baseline: History) -> Inputs:
    """Inputs of an algorithm that needs a `distribution` or `items`, for one series.

    A reference profile is a history of one bucket with index 0. Raises ProfileError for a damaged sketch.
    """
    compared = job.compared or reference_window(job.targets)
    positions = None
    if job.metric.name == "histogram":
        quantiles = Side.pair(target, job.target, baseline, compared, _quantiles)
        there = [side.present for side in quantiles]
        if job.binning == "steps":
            ours, theirs, positions = steps(*quantiles)
        else:
            ours, theirs = histograms(*quantiles)
    else:
        items = Side.pair(target, job.target, baseline, compared, _items)
        there = [side.present for side in items]
        if job.algorithm.needs == "items":
            ours, theirs = (_objects(merged_items(side)) for side in items)
        else:
            ours, theirs = frequencies(*items)
    return _one_series(
        key,
        (ours, theirs),
        there,
        profiles=(_profiled(target, job.target), _profiled(baseline, compared)),
        positions=positions,
    )


def name_inputs(job: Job, key: Key, target: Names, baseline: Names) -> Inputs:
    """Inputs of an algorithm that needs `items`, where these are the columns of a segment, bucket by bucket.

    The newest bucket of the baseline that has any stands for all of it.
    """
    compared = job.compared or reference_window(job.targets)
    sides = (Side.over(target, job.target), Side.over(baseline, compared))
    values = (_objects(newest_items(side)) for side in sides)
    there = [side.present for side in sides]
    counts = tuple(side.sum(axis=-1)[None] for side in there)
    return _one_series(key, tuple(values), there, profiles=counts)


def unreadable_inputs(job: Job, key: Key, target: History, problem: str) -> Inputs:
    """Inputs of one series whose profiles cannot be opened: its targets are there, and nothing else is known."""
    profiled = _profiled(target, job.target)
    nothing = np.full(profiled.shape, np.nan)
    none = np.zeros_like(profiled)
    return Inputs((key,), nothing, nothing, profiled > 0, none, profiled, none, none, unreadable=problem)


def _one_series(
    key: Key,
    values: tuple[NDArray[Any], ...],
    there: Sequence[NDArray[np.bool_]],
    *,
    profiles: tuple[Counts, ...],
    positions: Floats | None = None,
) -> Inputs:
    return Inputs(
        keys=(key,),
        target=values[0][None],
        baseline=values[1][None],
        present=there[0][None, :, -1],
        target_count=there[0].sum(axis=-1)[None],
        target_profiles=profiles[0],
        baseline_count=there[1].sum(axis=-1)[None],
        baseline_profiles=profiles[1],
        positions=None if positions is None else positions[None],
    )


def needs_sketches(metric: Metric, window: Window | None) -> bool:
    """Whether the metric of the merged window can only be told from sketches."""
    return (
        window is not None
        and window.length > 1
        and not metric.additive
        and any(is_sketched(name) for name in metric.needs)
    )


def merged(
    metric: Metric,
    values: Values,
    window: Window,
    history: Mapping[Key, History],
    *,
    per_bucket: bool,
) -> NDArray[Any]:
    """The metric of the merged buckets of every window, (n_series, n_targets): numbers or texts.

    An additive metric is the sum over the buckets that have it, or with `per_bucket` their mean.
    """
    gathered = window.gather(values.metric, values.base)
    if window.length == 0:
        return np.full(gathered.shape[:-1], _missing(metric))
    if window.length == 1 and metric.kind == "number":
        return gathered[..., 0]
    if metric.additive:
        return _added(gathered, per_bucket=per_bucket)
    scalars = merge_scalars(
        {name: window.gather(columns, values.base) for name, columns in values.scalars.items()}
    )
    sketched = [name for name in metric.needs if is_sketched(name)]
    for row, key in enumerate(values.keys if sketched else ()):
        told = _from_sketches(sketched, history.get(key, {}), window)
        for name in sketched:
            scalars[name][row] = told[name]
    there = _present(gathered) > 0
    return np.where(there, metric.formula(scalars), _missing(metric))


def _targets(job: Job, values: Values, window: Window, history: Mapping[Key, History]) -> NDArray[Any]:
    """The metric of the merged target buckets; NaN where the newest of them does not have it."""
    found = merged(job.metric, values, window, history, per_bucket=job.baseline is not None)
    newest = Window(window.starts + window.length - 1, 1).gather(values.metric, values.base)[..., 0]
    return np.where(np.isnan(newest), _missing(job.metric), found)


def _missing(metric: Metric) -> float | str:
    return "" if metric.kind == "text" else np.nan


def _added(gathered: Floats, *, per_bucket: bool) -> Floats:
    count, total = _present(gathered), np.zeros(gathered.shape[:-1])
    for step in range(gathered.shape[-1]):
        total += np.nan_to_num(gathered[..., step], nan=0.0, posinf=np.inf, neginf=-np.inf)
    with np.errstate(invalid="ignore"):
        return np.where(count == 0, np.nan, total / np.maximum(count, 1) if per_bucket else total)


def _from_sketches(names: Sequence[str], history: History, window: Window) -> dict[str, Floats]:
    """Scalars of the merged buckets of every window, each (n_targets,)."""
    opened_whole = [name for name in names if name in COMPONENT_SCALARS]
    told = component_scalars(opened_whole, history, window)
    ranked = [name for name in names if name.startswith(_QUANTILE)]
    if ranked:
        opened = {
            at: sketch for at, profile in history.items() if (sketch := _quantiles(profile)) is not None
        }
        fractions = [int(name.removeprefix(_QUANTILE)) / 100 for name in ranked]
        told.update(zip(ranked, merged_quantiles(opened, window, fractions), strict=True))
    if len(ranked) + len(opened_whole) < len(names):
        counted = {at: (_hll(profile), profile.n - profile.n_null) for at, profile in history.items()}
        distinct = [
            _distinct([counted[at] for at in window.members(target) if at in counted])
            for target in range(len(window.starts))
        ]
        told.update(zip(_DISTINCT, np.array(distinct).T, strict=True))
    return told


def _distinct(buckets: Sequence[tuple[Hll | None, int]]) -> tuple[float, float, float]:
    """Distinct values of buckets together: estimate, lower and upper bound; never more than there are values."""
    union = Hll.merge_all(sketch for sketch, _ in buckets if sketch is not None)
    if union is None:
        return np.nan, np.nan, np.nan
    most = float(sum(values for _, values in buckets))
    estimate, lower, upper = union.distinct()
    return min(estimate, most), min(lower, most), min(upper, most)


def _quantiles(profile: ColumnProfile) -> Quantiles | None:
    return None if profile.kll is None else Quantiles.open(profile.kll)


def _items(profile: ColumnProfile) -> Items | None:
    return None if profile.frequent_items is None else Items.open(profile.frequent_items)


def _hll(profile: ColumnProfile) -> Hll | None:
    return None if profile.hll is None else Hll.from_image(profile.hll)


def _profiled(history: History, window: Window) -> Counts:
    """How many buckets of every window have a profile, (1, n_targets)."""
    there = np.array([[1.0 if at in history else np.nan for at in range(window.first, window.last + 1)]])
    return _present(window.gather(there, window.first))


def _present(gathered: Floats) -> Counts:
    return (~np.isnan(gathered)).sum(axis=-1)


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _rows(values: Floats, chosen: NDArray[np.int64]) -> Floats:
    """The chosen rows, NaN where the number is -1."""
    if not len(values):
        return np.full((len(chosen), values.shape[1]), np.nan)
    return np.where(chosen[:, None] < 0, np.nan, values[chosen])
