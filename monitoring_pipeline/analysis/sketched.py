"""Distributions and frequent items of many series at once, for algorithms that need a `distribution` or `items`.

The same numbers, to the last bit, as `distributions` gives for one series: weights and counts are whole numbers, so
their sums do not depend on the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Indices, Window
from monitoring_pipeline.analysis.distributions import BINS, NARROWEST, Items
from monitoring_pipeline.analysis.images import Images, Numbers, Texts, gathered
from monitoring_pipeline.analysis.inputs import Counts, Inputs
from monitoring_pipeline.analysis.jobs import Job, reference_window
from monitoring_pipeline.analysis.planner import Key
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.profiling import engine

SERIES = 256
"""Series that are opened together: their values stay within the processor's cache."""

_CELLS = 2_000_000
"""Most entries of a table of texts by series."""

_BOUNDED = 2.0**-40
"""Bins at least so wide, as a share of the values, have edges that differ by more than rounding."""


def is_batched(job: Job) -> bool:
    """Whether the job's inputs can be made here: of equal bins, or of items."""
    metric = job.metric
    return metric.name in ("histogram", "frequent_items") and metric.column is None and job.binning == "equal"


def component_of(job: Job) -> str:
    """The component of profiles that the job's metric is told from."""
    from monitoring_pipeline.profiling.profile import FREQUENT_ITEMS, KLL

    return KLL if job.metric.name == "histogram" else FREQUENT_ITEMS


def sketched_inputs(
    job: Job, keys: Sequence[Key], target: Images, baseline: Images, *, profiled: tuple[Counts, Counts]
) -> Iterator[Inputs]:
    """Inputs of some series, few enough to be opened together, in one piece or several.

    `profiled` says how many buckets of every target and baseline have a profile, (n_series, n_targets). Raises
    ProfileError for a damaged sketch.
    """
    compared = job.compared or reference_window(job.targets)
    windows = (job.target, compared)
    sides = (target, baseline)
    n_series = len(keys)
    there = [side.present(n_series, window) for side, window in zip(sides, windows, strict=True)]
    made: Iterator[tuple[int, int, NDArray[Any], NDArray[Any]]]
    if job.metric.name == "histogram":
        made = iter([(0, n_series, *_histograms(sides, windows, n_series))])
    elif job.algorithm.needs == "items":
        made = iter(
            [(0, n_series, _merged(target, windows[0], n_series), _merged(baseline, windows[1], n_series))]
        )
    else:
        made = _frequencies(sides, windows, n_series)
    for first, last, ours, theirs in made:
        rows = slice(first, last)
        yield Inputs(
            keys=tuple(keys[rows]),
            target=ours,
            baseline=theirs,
            present=there[0][rows, :, -1],
            target_count=there[0][rows].sum(axis=-1),
            target_profiles=profiled[0][rows],
            baseline_count=there[1][rows].sum(axis=-1),
            baseline_profiles=profiled[1][rows],
        )


def _histograms(
    sides: tuple[Images, Images], windows: tuple[Window, Window], n_series: int
) -> tuple[Floats, Floats]:
    """Probabilities of the targets and baselines, each (n_series, n_targets, 31); see `distributions.histograms`."""
    opened = [Numbers.open(side.images) for side in sides]
    ranges = [
        _extremes(side, one, window, n_series)
        for side, one, window in zip(sides, opened, windows, strict=True)
    ]
    low, high = np.fmin(ranges[0][0], ranges[1][0]), np.fmax(ranges[0][1], ranges[1][1])
    with np.errstate(invalid="ignore", over="ignore"):
        width = np.maximum((high - low) / BINS, NARROWEST)
    ours, theirs = (
        _masses(side, one, window, low, width)
        for side, one, window in zip(sides, opened, windows, strict=True)
    )
    return ours, theirs


def _extremes(images: Images, opened: Numbers, window: Window, n_series: int) -> tuple[Floats, Floats]:
    low, high = (
        gathered(images, np.where(opened.n > 0, ends, np.nan), n_series, window)
        for ends in (opened.low, opened.high)
    )
    return np.fmin.reduce(low, axis=-1, initial=np.nan), np.fmax.reduce(high, axis=-1, initial=np.nan)


def _masses(images: Images, opened: Numbers, window: Window, low: Floats, width: Floats) -> Floats:
    """Probability of each bin (n_series, n_targets, 31), target by target."""
    n_series, n_targets = low.shape
    mass, total = np.zeros((n_series, n_targets, BINS + 1)), np.zeros((n_series, n_targets))
    sizes = np.diff(opened.ends, prepend=0)
    for target in range(n_targets):
        for first, last in _stretches(images, window, target):
            items = slice(int(opened.ends[first - 1]) if first else 0, int(opened.ends[last - 1]))
            rows, repeats = images.rows[first:last], sizes[first:last]
            edges = low[rows, target], width[rows, target]
            found = engine.masses(
                opened.values[items],
                opened.weights[items],
                repeats,
                rows,
                *edges,
                _regular(*edges),
                n_series,
                BINS,
            )
            mass[:, target] += np.frombuffer(found).reshape(n_series, -1)
            total[:, target] += np.bincount(rows, opened.n[first:last], minlength=n_series)
    there = total[..., None]
    return np.divide(mass, there, out=np.zeros_like(mass), where=there > 0)


def _regular(low: Floats, width: Floats) -> NDArray[np.bool_]:
    """Whether the edges low + k · width, k from 0 to 29, are further apart than rounding moves them."""
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(np.abs(low), np.abs(low + BINS * width))
        return np.isfinite(scale) & (width > _BOUNDED * scale)


def _frequencies(
    sides: tuple[Images, Images], windows: tuple[Window, Window], n_series: int
) -> Iterator[tuple[int, int, Floats, Floats]]:
    """First and last series, and the frequencies of their items; see `distributions.frequencies`."""
    opened = [Texts.open(side.images) for side in sides]
    names = sorted({*opened[0].names, *opened[1].names})
    place = {name: at for at, name in enumerate(names)}
    codes = [np.array([place[name] for name in one.names], np.int64)[one.codes] for one in opened]
    rows = [
        np.repeat(side.rows, np.diff(one.ends, prepend=0)) for side, one in zip(sides, opened, strict=True)
    ]
    for first, last in _pieces(n_series, len(names)):
        inside = [(of >= first) & (of < last) for of in rows]
        known = np.unique(np.concatenate([code[there] for code, there in zip(codes, inside, strict=True)]))
        for start, end in _pieces(last - first, len(known), first=first):
            tables = [
                _table(side, one, window, np.searchsorted(known, code), (start, end), len(known))
                for side, one, window, code in zip(sides, opened, windows, codes, strict=True)
            ]
            yield (start, end, *_aligned(*tables))


def _pieces(n_series: int, n_names: int, *, first: int = 0) -> Iterator[tuple[int, int]]:
    size = max(1, _CELLS // max(n_names, 1))
    for start in range(first, first + n_series, size):
        yield start, min(start + size, first + n_series)


def _table(
    images: Images, opened: Texts, window: Window, codes: Indices, series: tuple[int, int], n_names: int
) -> Floats:
    """Frequency of every name in the merged buckets, (n_series, n_targets, n_names), of a range of series."""
    start, end = series
    n_targets = len(window.starts)
    found = np.zeros((end - start, n_targets, n_names))
    for target in range(n_targets):
        counts, shortfall, total, _ = _sums(images, opened, window, target, codes, series, n_names)
        table = np.where(counts > 0, counts + shortfall[:, None], 0.0)
        there = total[:, None]
        found[:, target] = np.divide(table, there, out=counts, where=there > 0)
    return found


def _sums(
    images: Images,
    opened: Texts,
    window: Window,
    target: int,
    codes: Indices,
    series: tuple[int, int],
    n_names: int,
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Of a target's merged buckets: counts by name, shortfall and length, and which names there are."""
    start, end = series
    size = end - start
    counts, seen = np.zeros(size * n_names), np.zeros(size * n_names, np.bool_)
    shortfall, total = np.zeros(size), np.zeros(size)
    for first, last in _stretches(images, window, target):
        rows = images.rows[first:last]
        within = (rows >= start) & (rows < end)
        rows = rows - start
        shortfall += np.bincount(rows[within], opened.shortfall[first:last][within], minlength=size)
        total += np.bincount(rows[within], opened.n[first:last][within], minlength=size)
        items = slice(int(opened.ends[first - 1]) if first else 0, int(opened.ends[last - 1]))
        repeats = np.diff(opened.ends[first:last], prepend=items.start)
        cells, amounts = np.repeat(rows * n_names, repeats) + codes[items], opened.counts[items]
        if not within.all():
            chosen = np.repeat(within, repeats)
            cells, amounts = cells[chosen], amounts[chosen]
        counts += np.bincount(cells, amounts, minlength=len(counts))
        seen[cells] = True
    return counts.reshape(size, n_names), shortfall, total, seen.reshape(size, n_names)


def _aligned(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Both sides with only the names that a target or its baseline has, in their order, padded with zeros."""
    seen = (ours > 0) | (theirs > 0)
    place = np.cumsum(seen, axis=-1) - 1
    width = int(place[..., -1].max(initial=-1)) + 1 if seen.shape[-1] else 0
    if width == seen.shape[-1]:
        whole = seen.all(axis=-1, keepdims=True)
        if whole.all():
            return ours, theirs
    at = np.nonzero(seen)
    to = (at[0], at[1], place[at])
    aligned = [np.zeros((*seen.shape[:2], width)) for _ in range(2)]
    aligned[0][to], aligned[1][to] = ours[at], theirs[at]
    return aligned[0], aligned[1]


def _merged(images: Images, window: Window, n_series: int) -> NDArray[np.object_]:
    """The items of the merged buckets, (n_series, n_targets) of `Items`; None where no bucket has any sketch."""
    opened = Texts.open(images.images)
    n_targets, n_names = len(window.starts), len(opened.names)
    present = images.present(n_series, window).any(axis=-1).reshape(n_series, n_targets)
    found = np.full((n_series, n_targets), None, dtype=object)
    names = np.array(opened.names, dtype=object)
    for start, end in _pieces(n_series, n_names):
        for target in range(n_targets):
            counts, shortfall, total, seen = _sums(
                images, opened, window, target, opened.codes, (start, end), n_names
            )
            for row in np.flatnonzero(present[start:end, target]).tolist():
                of = np.flatnonzero(seen[row])
                there = dict(zip(names[of].tolist(), counts[row, of].tolist(), strict=True))
                found[start + row, target] = Items(there, float(shortfall[row]), float(total[row]))
    return found


def _stretches(images: Images, window: Window, target: int) -> Iterator[tuple[int, int]]:
    """Runs of sketches, which are sorted by bucket, in a target's window: first and last place, the last excluded."""
    start = int(window.starts[target])
    ends = [start + window.length]
    begins = [start]
    for index in sorted(window.excluded):
        if start <= index < start + window.length:
            ends.insert(-1, index)
            begins.append(index + 1)
    for begin, end in zip(begins, ends, strict=True):
        first, last = np.searchsorted(images.buckets, [begin, end]).tolist()
        if first < last:
            yield first, last
