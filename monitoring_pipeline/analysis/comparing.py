"""Two distributions of one column over the same bins, whatever the column holds, and what of their distance is chance.

A side is the profiles of any number of buckets. They are put together by their weights, as in `distributions`, so the
result does not depend on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distances import ks_test, wasserstein
from monitoring_pipeline.analysis.distributions import (
    Items,
    Quantiles,
    Side,
    frequencies,
    histograms,
    steps,
)
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.profiling.profile import ColumnProfile

Kind = Literal["number", "category"]


@dataclass(frozen=True)
class Shares:
    """One side: `shares` (n_bins,) float64 of `n` values, each known to within `blur`."""

    shares: Floats
    n: float
    blur: float


@dataclass(frozen=True)
class Pair:
    """Both sides over the same bins, which are between `ends` or named by `labels`.

    Of numbers there are 31 bins, the first of them, below the lowest value, always empty. `ks` and `wasserstein` are of
    numbers only, and only when they were asked for; otherwise NaN.
    """

    baseline: Shares
    target: Shares
    ks: float = math.nan
    wasserstein: float = math.nan
    ends: tuple[float, float] = (math.nan, math.nan)
    labels: tuple[str, ...] = ()

    @property
    def noise(self) -> float:
        """The Hellinger distance to be expected of two samples of what both sides are together.

        Of a share p that is estimated with variance v, √p errs by √(v / 4p), and by no more than √p itself; half the
        sum of its squares is the square of the distance. A sample of n has v = p / n, which gives √((b − 1) / 8n) for b
        bins (Pardo 2006, section 3.3), and a sketch adds the square of what its heaviest value stands for.
        """
        together = (self.baseline.shares + self.target.shares) / 2
        seen = together[together > 0]
        added = 0.0
        for side in (self.baseline, self.target):
            variance = seen / side.n + side.blur**2
            added += float(np.minimum(variance / (8 * seen), seen / 2).sum())
        return math.sqrt(added)


def kind_of(*buckets: ColumnProfile) -> Kind | None:
    """What there is to compare; numbers go before anything else that a column may hold."""
    if any(one.kll is not None and one.m_n for one in buckets):
        return "number"
    return "category" if any(_items(one) is not None for one in buckets) else None


def pair_of(
    baseline: Sequence[ColumnProfile], target: Sequence[ColumnProfile], *, ordered: bool = False
) -> Pair | None:
    """Both sides of a column, each of one or several buckets; None where they are not of one kind, or one is empty.

    `ordered`: with the distances that need the order of the values. Raises ProfileError for a damaged sketch.
    """
    kind = kind_of(*baseline)
    if kind is None or kind != kind_of(*target):
        return None
    if kind == "number":
        return _numbers(*(_quantiles(side) for side in (baseline, target)), ordered=ordered)
    return _categories(*([one for bucket in side if (one := _items(bucket))] for side in (baseline, target)))


def _numbers(theirs: Sequence[Quantiles], ours: Sequence[Quantiles], *, ordered: bool) -> Pair:
    sides = [_side(one) for one in (ours, theirs)]
    moved = ks = math.nan
    # Numbers near the largest double have a range that is none; their bins are then wide.
    with np.errstate(over="ignore", invalid="ignore"):
        now, before = histograms(*sides)
        if ordered:
            stepped_now, stepped_before, positions = steps(*sides)
            moved = float(wasserstein(stepped_before, stepped_now, positions)[0])
            ks = float(ks_test(stepped_before, stepped_now)[0])
    return Pair(
        Shares(before[0], sum(one.n for one in theirs), _grain(theirs)),
        Shares(now[0], sum(one.n for one in ours), _grain(ours)),
        ks=ks,
        wasserstein=moved,
        ends=(min(one.low for one in (*ours, *theirs)), max(one.high for one in (*ours, *theirs))),
    )


def _categories(theirs: Sequence[Items], ours: Sequence[Items]) -> Pair:
    now, before = frequencies(*(_side(one) for one in (ours, theirs)))
    return Pair(
        _shares_of(before[0], theirs),
        _shares_of(now[0], ours),
        labels=tuple(sorted({name for one in (*ours, *theirs) for name in one.counts})),
    )


def _shares_of(shares: Floats, items: Sequence[Items]) -> Shares:
    n = sum(one.n for one in items)
    return Shares(shares, n, sum(one.shortfall for one in items) / n)


def _side(sketches: Sequence[Quantiles] | Sequence[Items]) -> Side:
    return Side.over(dict(enumerate(sketches)), Window(np.zeros(1, np.int64), len(sketches)))


def _grain(sketches: Sequence[Quantiles]) -> float:
    """The share that the heaviest values of the sketches stand for; 0 where every value stands for itself."""
    heaviest = [float(np.diff(one.cumulative, prepend=0.0).max(initial=1.0)) for one in sketches]
    return math.hypot(*(weight for weight in heaviest if weight > 1)) / sum(one.n for one in sketches)


def _quantiles(buckets: Sequence[ColumnProfile]) -> list[Quantiles]:
    opened = [Quantiles.open(one.kll) for one in buckets if one.kll is not None and one.m_n]
    return [one for one in opened if one.n]


def _items(column: ColumnProfile) -> Items | None:
    """The commonest values, yes and no among them; None without any."""
    if column.frequent_items is not None:
        found = Items.open(column.frequent_items)
        return found if found.n else None
    if not column.t_bool:
        return None
    counts = {"False": float(column.t_bool - column.n_true), "True": float(column.n_true)}
    return Items({name: count for name, count in counts.items() if count}, 0.0, float(column.t_bool))
