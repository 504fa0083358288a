"""Distributions of merged buckets, as probabilities over bins that both sides of a comparison share.

A sketch is opened once, into sorted values with weights or items with counts. Buckets are then merged by adding
weights, never by merging sketches: that is exact with respect to the sketches, costs a few additions per target of a
sliding window, and gives the same bits in any order, alone or among many, where merging quantile sketches rolls dice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.profiling.sketches import FrequentItems, Kll

BINS = 30
STEPS = 1024
"""Most steps of the cumulative distributions that `steps` gives."""
NARROWEST = 2.0**-52


@dataclass(frozen=True)
class Quantiles:
    """An opened quantile sketch: `values` ascending, `cumulative` the weight up to and including each, both float64."""

    values: Floats
    cumulative: Floats
    low: float
    high: float

    @property
    def n(self) -> float:
        """Values in the stream."""
        return float(self.cumulative[-1]) if len(self.cumulative) else 0.0

    def below(self, edges: Floats) -> Floats:
        """Weight of the values below each edge, shape of `edges`."""
        padded = np.concatenate(([0.0], self.cumulative))
        return padded[np.searchsorted(self.values, edges, side="left")]

    @classmethod
    def open(cls, image: bytes) -> Quantiles:
        """Open a KLL image. Raises ProfileError when it is damaged."""
        kll = Kll.from_image(image)
        if not kll.n:
            return cls(np.empty(0), np.empty(0), np.nan, np.nan)
        values = np.concatenate(kll.levels)
        weights = np.repeat(np.exp2(np.arange(len(kll.levels), dtype=np.float64)), list(map(len, kll.levels)))
        order = np.argsort(values, kind="stable")
        cumulative = np.cumsum(weights[order], dtype=np.float64)
        return cls(values[order], cumulative, kll.minimum, kll.maximum)


@dataclass(frozen=True)
class Items:
    """An opened frequent-items sketch: at least how often each item occurs, by how much that may be short, and of how many."""

    counts: Mapping[str, float]
    shortfall: float
    n: float

    @classmethod
    def open(cls, image: bytes) -> Items:
        """Open a frequent-items image. Raises ProfileError when it is damaged."""
        sketch = FrequentItems.from_image(image)
        return cls(dict(sketch.counts), sketch.offset, sketch.total)

    @classmethod
    def merged(cls, parts: Sequence[Items]) -> Items:
        """The items of several buckets together."""
        if len(parts) == 1:
            return parts[0]
        counts: dict[str, float] = {}
        for part in parts:
            for name, count in part.counts.items():
                counts[name] = counts.get(name, 0.0) + count
        return cls(counts, sum(part.shortfall for part in parts), sum(part.n for part in parts))


Sketch = TypeVar("Sketch", Quantiles, Items)


@dataclass(frozen=True)
class Side(Generic[Sketch]):
    """One side of a comparison: the sketches of one series from bucket index `base` on, None where there is none,
    and the window of them that each target looks at.
    """

    sketches: Sequence[Sketch | None]
    base: int
    window: Window

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which bucket of each target's window has a sketch, (n_targets, length) bool."""
        there = np.array([[np.nan if sketch is None else 1.0 for sketch in self.sketches]])
        return ~np.isnan(self.window.gather(there, self.base)[0])

    @classmethod
    def pair(
        cls,
        target: Mapping[int, ColumnProfile],
        target_window: Window,
        baseline: Mapping[int, ColumnProfile],
        baseline_window: Window,
        read: Callable[[ColumnProfile], Sketch | None],
    ) -> tuple[Side[Sketch], Side[Sketch]]:
        """Both sides of one series out of its profiles by bucket index; what both sides share is opened once."""
        opened = {index: read(profile) for index, profile in target.items()}
        others = (
            opened if baseline is target else {index: read(profile) for index, profile in baseline.items()}
        )
        return cls.over(opened, target_window), cls.over(others, baseline_window)

    @classmethod
    def over(cls, opened: Mapping[int, Sketch | None], window: Window) -> Side[Sketch]:
        """One side out of its sketches by bucket index."""
        return cls([opened.get(at) for at in range(window.first, window.last + 1)], window.first, window)


def histograms(target: Side[Quantiles], baseline: Side[Quantiles]) -> tuple[Floats, Floats]:
    """Probabilities of the target and of the baseline, each (n_targets, 31) float64.

    The bins are 30 of equal width from the lowest to the highest value of both sides, closed on the left, the last on
    both ends, after one that is always empty, below the lowest. A side without data is all zeros.
    """
    low = np.fmin(_extreme(target, lowest=True), _extreme(baseline, lowest=True))
    high = np.fmax(_extreme(target, lowest=False), _extreme(baseline, lowest=False))
    width = np.maximum((high - low) / BINS, NARROWEST)
    edges = low[:, None] + np.arange(BINS, dtype=np.float64) * width[:, None]
    return _masses(target, edges), _masses(baseline, edges)


def steps(target: Side[Quantiles], baseline: Side[Quantiles]) -> tuple[Floats, Floats, Floats]:
    """Probabilities of the target and of the baseline, and where they lie, each (n_targets, n_steps) float64.

    One step for every value that either side's sketches keep, ascending. Where those are more than 1,024, neighbours
    are put together so that no step holds more than 2/1,024 of a side besides what lies on a single value; it lies at
    their mean. A side without data is all zeros. Padding repeats the last position.
    """
    rows = [
        _stepped(*(_pooled(side, position) for side in (target, baseline)))
        for position in range(len(target.window.starts))
    ]
    ours, theirs = (_padded([row[at] for row in rows]) for at in (0, 1))
    positions = np.zeros_like(ours)
    for number, (_, _, places) in enumerate(rows):
        positions[number] = (
            np.pad(places, (0, ours.shape[1] - len(places)), mode="edge") if len(places) else 0.0
        )
    return ours, theirs, positions


def frequencies(target: Side[Items], baseline: Side[Items]) -> tuple[Floats, Floats]:
    """Frequencies of the target's and the baseline's items, each (n_targets, n_items) float64, padded with zeros.

    The items of a target are those that either side has seen, in alphabetical order; nulls are none of them. A
    frequency is the estimate over the length of the stream, so frequencies need not sum to 1.
    """
    opened = (sketch for side in (target, baseline) for sketch in side.sketches if sketch is not None)
    numbers = {
        name: number for number, name in enumerate(sorted({name for one in opened for name in one.counts}))
    }
    encoded = [[_encoded(sketch, numbers) for sketch in side.sketches] for side in (target, baseline)]
    rows: list[tuple[Floats, Floats]] = []
    for position in range(len(target.window.starts)):
        ours, theirs = (
            _added([sketches[at] for at in _places(side, position)], len(numbers))
            for side, sketches in zip((target, baseline), encoded, strict=True)
        )
        seen = (ours > 0) | (theirs > 0)
        rows.append((ours[seen], theirs[seen]))
    return _padded([row[0] for row in rows]), _padded([row[1] for row in rows])


def merged_items(side: Side[Items]) -> list[Items | None]:
    """The items of every target's merged buckets, (n_targets,); None where no bucket has any sketch."""
    found: list[Items | None] = []
    for position in range(len(side.window.starts)):
        members = [one for at in _places(side, position) if (one := side.sketches[at]) is not None]
        found.append(Items.merged(members) if members else None)
    return found


def newest_items(side: Side[Items]) -> list[Items | None]:
    """The items of the newest bucket of every target's window that has any, (n_targets,)."""
    return [
        next(
            (one for at in reversed(_places(side, position)) if (one := side.sketches[at]) is not None), None
        )
        for position in range(len(side.window.starts))
    ]


def merged_quantiles(sketches: Mapping[int, Quantiles], window: Window, fractions: Sequence[float]) -> Floats:
    """Quantiles of every target's merged buckets, (n_fractions, n_targets) float64, NaN where there are no values.

    A quantile is the value at place ⌊fraction · n⌋ of the sorted stream. `sketches` are those of one series by bucket
    index; their values are sorted once, for all targets.
    """
    found = np.full((len(fractions), len(window.starts)), np.nan)
    filled = {index: one for index, one in sketches.items() if one.n and index not in window.excluded}
    if not filled:
        return found
    values = np.concatenate([one.values for one in filled.values()])
    weights = np.concatenate([np.diff(one.cumulative, prepend=0.0) for one in filled.values()])
    buckets = np.repeat(np.array(list(filled)), [len(one.values) for one in filled.values()])
    order = np.argsort(values, kind="stable")
    values, weights, buckets = values[order], weights[order], buckets[order]
    for target, start in enumerate(window.starts.tolist()):
        inside = (buckets >= start) & (buckets < start + window.length)
        cumulative = np.cumsum(np.where(inside, weights, 0.0))
        total = cumulative[-1]
        if total:
            places = np.minimum(np.floor(np.array(fractions) * total), total - 1)
            found[:, target] = values[np.searchsorted(cumulative, places, side="right")]
    return found


def _pooled(side: Side[Quantiles], position: int) -> tuple[Floats, Floats]:
    """Values and their shares of one target's window, not sorted."""
    members = [side.sketches[at] for at in _places(side, position)]
    filled = [one for one in members if one is not None and one.n]
    if not filled:
        return np.empty(0), np.empty(0)
    weights = np.concatenate([np.diff(one.cumulative, prepend=0.0) for one in filled])
    return np.concatenate([one.values for one in filled]), weights / sum(one.n for one in filled)


def _stepped(ours: tuple[Floats, Floats], theirs: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats]:
    values, at = np.unique(np.concatenate([ours[0], theirs[0]]), return_inverse=True)
    split, size = len(ours[0]), len(values)
    p, q = _sums(at[:split], ours[1], size), _sums(at[split:], theirs[1], size)
    if size <= STEPS:
        return p, q, values
    mass = p + q
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    groups, group = np.unique(np.floor(middle * STEPS), return_inverse=True)
    size = len(groups)
    places = values[0] + _sums(group, mass * (values - values[0]), size) / _sums(group, mass, size)
    return _sums(group, p, size), _sums(group, q, size), places


def _sums(at: NDArray[np.intp], weights: Floats, size: int) -> Floats:
    return np.bincount(at, weights, minlength=size).astype(np.float64)


def _extreme(side: Side[Quantiles], *, lowest: bool) -> Floats:
    """Lowest or highest value of every target's window, (n_targets,), NaN where there is none."""
    per_bucket = [
        np.nan if sketch is None or not sketch.n else (sketch.low if lowest else sketch.high)
        for sketch in side.sketches
    ]
    gathered = side.window.gather(np.array([per_bucket]), side.base)[0]
    reduce = np.fmin.reduce if lowest else np.fmax.reduce
    return reduce(gathered, axis=-1, initial=np.nan)


def _masses(side: Side[Quantiles], edges: Floats) -> Floats:
    """Probability of each cell between the edges (n_targets, n_edges): (n_targets, n_edges + 1).

    Bucket by bucket, for all targets at once whose window holds the bucket.
    """
    window = side.window
    below, total = np.zeros(edges.shape), np.zeros(len(edges))
    for index, sketch in enumerate(side.sketches, start=side.base):
        if sketch is None or index in window.excluded:
            continue
        of = np.flatnonzero((window.starts <= index) & (index < window.starts + window.length))
        if len(of):
            below[of] += sketch.below(edges[of])
            total[of] += sketch.n
    cumulative = np.concatenate([np.zeros((len(edges), 1)), below, total[:, None]], axis=1)
    mass = np.diff(cumulative, axis=1)
    return np.divide(mass, total[:, None], out=np.zeros_like(mass), where=total[:, None] > 0)


_Encoded = tuple[NDArray[np.int64], Floats, float, float]


def _encoded(sketch: Items | None, numbers: Mapping[str, int]) -> _Encoded | None:
    if sketch is None:
        return None
    items = np.array([numbers[name] for name in sketch.counts], dtype=np.int64)
    return items, np.array(list(sketch.counts.values()), dtype=np.float64), sketch.shortfall, sketch.n


def _added(members: Sequence[_Encoded | None], n_items: int) -> Floats:
    """Frequency of every item over the members together, (n_items,)."""
    counts, shortfall, total = np.zeros(n_items), 0.0, 0.0
    for member in members:
        if member is not None:
            counts[member[0]] += member[1]
            shortfall += member[2]
            total += member[3]
    return np.where(counts > 0, counts + shortfall, 0.0) / total if total else counts


def _places(side: Side[Quantiles] | Side[Items], position: int) -> list[int]:
    places = (index - side.base for index in side.window.members(position))
    return [place for place in places if 0 <= place < len(side.sketches)]


def _padded(rows: Sequence[Floats]) -> Floats:
    width = max((len(row) for row in rows), default=0)
    padded = np.zeros((len(rows), width))
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded
