"""Scalars that only components of profiles can tell, for merged buckets of one series: quality of predictions, outliers.

Components are opened once, laid out over the labels and score cells that occur in any bucket, and added up window by
window; the formulas are in `metrics.performance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distributions import Quantiles, merged_quantiles
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.metrics import merge_scalars
from monitoring_pipeline.metrics.operational import OUTLIER_SCALARS
from monitoring_pipeline.metrics.performance import (
    PERFORMANCE_SCALARS,
    Judgements,
    complete,
    named_positive,
    performance_scalars,
)
from monitoring_pipeline.profiling.performance import (
    CELLS,
    PERFORMANCE,
    SUMS,
    TENTHS,
    TOTALS,
    Performance,
    tenth_of,
)
from monitoring_pipeline.profiling.profile import ColumnProfile

COMPONENT_SCALARS = frozenset({*PERFORMANCE_SCALARS, *OUTLIER_SCALARS})
"""Scalars that are in no column of the store, because only components tell them."""

_ENTRIES = 4_000_000
"""Numbers that are held for a run of targets."""

_FENCE = 1.5
_SIGMAS = 3.0

_POINTS = tuple(SUMS.index(name) for name in ("scored", "score", "score_squared", "log_score", "log_rest"))
_TENTH = SUMS.index("score_0")
_ERRORS = tuple(TOTALS.index(name) for name in ("errors", "error", "absolute_error", "squared_error"))
_COUNTS = tuple(TOTALS.index(name) for name in ("rows", "waiting", "value_rows", "value"))


def component_scalars(
    names: Sequence[str], history: Mapping[int, ColumnProfile], window: Window
) -> dict[str, Floats]:
    """Those of `COMPONENT_SCALARS` of the merged buckets of every window, each (n_targets,), NaN where there is none.

    Raises ProfileError for a damaged component.
    """
    inside = {at: profile for at, profile in history.items() if at not in window.excluded}
    told: dict[str, Floats] = {}
    if any(name in PERFORMANCE_SCALARS for name in names):
        told |= _performance(inside, window)
    if any(name in OUTLIER_SCALARS for name in names):
        told |= _outliers(inside, window)
    return {name: told[name] for name in names}


def _performance(history: Mapping[int, ColumnProfile], window: Window) -> dict[str, Floats]:
    parts = {
        at: _opened(profile.extra[PERFORMANCE])
        for at, profile in history.items()
        if PERFORMANCE in profile.extra and window.first <= at <= window.last
    }
    nothing = np.full(len(window.starts), np.nan)
    told = {name: nothing.copy() for name in PERFORMANCE_SCALARS}
    if not parts:
        return told
    layout = _Layout(list(parts.values()))
    buckets = np.stack([layout.spread(part) for part in parts.values()])
    places = np.array(list(parts), dtype=np.int64)
    for run in _runs(len(window.starts), buckets.shape[1]):
        starts = window.starts[run]
        summed = np.zeros((len(starts), buckets.shape[1]))
        present = np.zeros(len(starts), dtype=np.bool_)
        # Bucket by bucket in their order, so that a window has the same sums whoever else is looked at.
        for place, bucket in sorted(zip(places.tolist(), buckets, strict=True), key=lambda pair: pair[0]):
            within = (starts <= place) & (place < starts + window.length)
            summed[within] += bucket
            present |= within
        found = performance_scalars(layout.judgements(summed))
        for name, values in found.items():
            told[name][run] = np.where(present, values, np.nan)
    return told


@lru_cache(maxsize=1_024)
def _opened(image: bytes) -> Performance:
    return Performance.from_bytes(image)


def _runs(targets: int, entries: int) -> Iterator[slice]:
    size = max(1, _ENTRIES // max(entries, 1))
    for start in range(0, targets, size):
        yield slice(start, start + size)


class _Layout:
    """Where each number of a performance lies in one long row, the same for all buckets of a series."""

    def __init__(self, parts: Sequence[Performance]) -> None:
        labels = [label for part in parts for label in part.labels]
        self.positive = named_positive(labels, [part.positive for part in parts])
        self.labels = complete(labels, self.positive)
        self._place = {label: at for at, label in enumerate(self.labels)}
        self._cells = np.unique(np.concatenate([part.cells[:, 1] for part in parts]))
        n, cells = len(self.labels), len(self._cells)
        self._shapes: dict[str, tuple[int, ...]] = {
            "pairs": (n, n),
            "agreed": (),
            "worth": (n + 1, n),
            "scores": (n, cells),
            "points": (n, len(_POINTS)),
            "tenths": (n, 2, TENTHS),
            "hits": (3, TENTHS),
            "improper": (),
            "errors": (len(_ERRORS),),
            "counts": (len(_COUNTS),),
        }

    def spread(self, part: Performance) -> Floats:
        """One bucket as a row."""
        tables = {name: np.zeros(shape) for name, shape in self._shapes.items()}
        places = np.array([*(self._place[label] for label in part.labels), len(self.labels)], np.int64)
        predicted, actual = places[part.pairs[:, 0]], places[part.pairs[:, 1]]
        sums = {name: part.sums[:, at] for at, name in enumerate(SUMS)}
        told = predicted < len(self.labels)
        tables["pairs"][predicted[told], actual[told]] = sums["weight"][told]
        tables["agreed"] += sums["agreed"][told].sum()
        tables["worth"][predicted, actual] = sums["value"]
        _add(tables["points"], [actual], part.sums[:, _POINTS])

        pair, cell = part.cells.T
        tenth, column = tenth_of(cell), np.searchsorted(self._cells, cell)
        _add(tables["scores"], [actual[pair], column], part.mass)
        _add(tables["tenths"][:, 0], [actual[pair], tenth], part.mass)
        _add(tables["tenths"][:, 1], [actual], part.sums[:, _TENTH:])
        known = told[pair]
        right = known & (predicted[pair] == actual[pair])
        _add(tables["hits"][0], [tenth[known]], part.mass[known])
        tables["hits"][1] += part.sums[told, _TENTH:].sum(axis=0)
        _add(tables["hits"][2], [tenth[right]], part.mass[right])
        tables["improper"] += part.mass[(cell < 0) | (cell > CELLS)].sum()
        tables["errors"] += part.totals[list(_ERRORS)]
        tables["counts"] += part.totals[list(_COUNTS)]
        return np.concatenate([table.ravel() for table in tables.values()])

    def judgements(self, rows: Floats) -> Judgements:
        """Rows (n_targets, n_entries) as tables."""
        tables: dict[str, NDArray[np.float64]] = {}
        start = 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            tables[name] = rows[:, start : start + size].reshape(len(rows), *shape)
            start += size
        return Judgements(labels=self.labels, positive=self.positive, **tables)


def _add(table: Floats, places: Sequence[NDArray[np.int64]], values: Floats) -> None:
    """Add values to a table, those of one place to each other."""
    np.add.at(table, tuple(places), values)


def _outliers(history: Mapping[int, ColumnProfile], window: Window) -> dict[str, Floats]:
    """Shares of the numbers outside the fences of their own window: by quartiles, by standard deviations."""
    opened = {at: Quantiles.open(profile.kll) for at, profile in history.items() if profile.kll is not None}
    lower, upper = merged_quantiles(opened, window, (0.25, 0.75))
    with np.errstate(over="ignore"):
        reach = _FENCE * (upper - lower)
    mean, deviation = _moments({at: history[at] for at in opened}, window)
    spread = _SIGMAS * deviation
    return {
        "outliers_iqr": _outside(opened, window, lower - reach, upper + reach),
        "outliers_sigma": _outside(opened, window, mean - spread, mean + spread),
    }


def _moments(history: Mapping[int, ColumnProfile], window: Window) -> tuple[Floats, Floats]:
    """Mean and sample standard deviation of every window, each (n_targets,)."""
    buckets = range(window.first, window.last + 1)
    empty = ColumnProfile()
    profiles = [history.get(at, empty) for at in buckets]
    scalars = {
        name: window.gather(np.array([[getattr(one, name) for one in profiles]], np.float64), window.first)[0]
        for name in ("m_n", "mean", "m2")
    }
    merged = merge_scalars(scalars)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.where(merged["m_n"] > 1, merged["m2"] / (merged["m_n"] - 1), np.nan)
    return merged["mean"], np.sqrt(variance)


def _outside(opened: Mapping[int, Quantiles], window: Window, lower: Floats, upper: Floats) -> Floats:
    found, total = np.zeros(len(window.starts)), np.zeros(len(window.starts))
    for at, sketch in opened.items():
        within = (window.starts <= at) & (at < window.starts + window.length)
        if not within.any() or not sketch.n:
            continue
        above = np.nextafter(upper[within], np.inf)
        found[within] += sketch.below(lower[within]) + sketch.n - sketch.below(above)
        total[within] += sketch.n
    there = (total > 0) & ~np.isnan(lower) & ~np.isnan(upper)
    return np.divide(found, total, out=np.full(len(total), np.nan), where=there)
