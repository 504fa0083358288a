"""Two profiles held against each other, column by column, as an analyzer of the type `drift` would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from monitoring_pipeline.analysis.algorithms import drift
from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distances import hellinger, jensenshannon, ks_test, psi, wasserstein
from monitoring_pipeline.analysis.distributions import (
    Items,
    Quantiles,
    Side,
    frequencies,
    histograms,
    steps,
)
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.analyzer_types import DriftConfig
from monitoring_pipeline.config.baselines import CurrentBatchBaseline
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.notebook import drawing
from monitoring_pipeline.notebook.profiles import Profile
from monitoring_pipeline.profile_file import describe_columns
from monitoring_pipeline.profiling import ColumnProfile

if TYPE_CHECKING:
    import pandas as pd

_ALONE = Window(np.zeros(1, np.int64), 1)
_NAMED = 8
_BOTH_SIDES = ("count", "count_null_ratio", "mean", "unique_est", "inferred_data_type")
_DEFAULT: Final = DriftConfig.model_fields["threshold"].default

Kind = Literal["number", "category"]


class _Side(NamedTuple):
    """How one side of a column is distributed: `shares` (n_bins,) of `n` values, each known to within `blur`."""

    shares: Floats
    n: float
    blur: float


class _Pair(NamedTuple):
    """Both sides over the same bins, which are between `ends` or named by `labels`."""

    baseline: _Side
    target: _Side
    ks: float = math.nan
    wasserstein: float = math.nan
    ends: tuple[float, float] = (math.nan, math.nan)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    """How far one column has moved. NaN where there is nothing to compare.

    `kind`: compared as a number, on 30 bins of equal width, or as a category, on its commonest values. `score`: what
    is held against `threshold`, the Hellinger distance. `noise`: the score to be expected of two samples of one
    distribution with so many rows and sketches so fine; a score near it says nothing. `ks` and `wasserstein` are of
    numbers only, `rank_error` is how far the sketches may be off in `ks`, with 99 % confidence each. `note` says what
    a distance does not.
    """

    column: str
    kind: Kind | None
    score: float
    noise: float
    threshold: float
    drifted: bool
    hellinger: float
    psi: float
    jensenshannon: float
    ks: float
    wasserstein: float
    rank_error: float
    note: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """A target held against its baseline; `compare` makes it."""

    baseline: Profile
    target: Profile
    threshold: float
    segment: str | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that moved further than the threshold or changed their type, the furthest first."""
        return tuple(one.column for one in self.drifts if one.drifted)

    @cached_property
    def drifts(self) -> tuple[Drift, ...]:
        """Every column of either side, the furthest first."""
        ours, theirs = self.target.profiles(self.segment), self.baseline.profiles(self.segment)
        found = [
            _drift(name, theirs.get(name), ours.get(name), self.threshold) for name in {**theirs, **ours}
        ]
        return tuple(sorted(found, key=lambda one: (not one.drifted, math.isnan(one.score), -one.score)))

    def to_frame(self) -> pd.DataFrame:
        """One row for each column, the furthest first.

        The fields of `Drift` (`column`, `kind` and `note` str, `drifted` bool, the rest float64), then count,
        count_null_ratio, mean, unique_est and inferred_data_type of both sides, with `_baseline` and `_target` after
        their names, and `unique_change`, the target's distinct values less the baseline's.
        """
        import pandas as pd

        sides = {
            "baseline": describe_columns(self.baseline.profiles(self.segment)),
            "target": describe_columns(self.target.profiles(self.segment)),
        }
        rows = [
            vars(one)
            | {
                f"{metric}_{side}": told.get(one.column, {}).get(metric)
                for metric in _BOTH_SIDES
                for side, told in sides.items()
            }
            for one in self.drifts
        ]
        texts = {"column", "kind", "note", *(f"inferred_data_type_{side}" for side in sides)}
        names = [
            *Drift.__dataclass_fields__,
            *(f"{metric}_{side}" for metric in _BOTH_SIDES for side in sides),
        ]
        kinds = {
            name: "str" if name in texts else "bool" if name == "drifted" else "float64" for name in names
        }
        frame = pd.DataFrame(rows, columns=pd.Index(names), dtype=object).astype(kinds)
        frame["unique_change"] = frame["unique_est_target"] - frame["unique_est_baseline"]
        return frame

    def __repr__(self) -> str:
        of = f"{self.target.rows:,} rows against a baseline of {self.baseline.rows:,}"
        told = f"{len(self.drifted):,} of {len(self.drifts):,} columns drifted"
        named = ", ".join(self.drifted[:_NAMED]) + (", …" if len(self.drifted) > _NAMED else "")
        return f"Comparison of {of}: {told}" + (f": {named}" if named else "")

    def _repr_html_(self) -> str:
        theirs, ours = self.baseline.profiles(self.segment), self.target.profiles(self.segment)
        rows: list[drawing.ComparedColumn] = []
        for one in self.drifts[: drawing.MOST_ROWS]:
            pair = _pair(theirs[one.column], ours[one.column]) if one.kind else None
            rows.append(
                drawing.ComparedColumn(
                    name=one.column,
                    drifted=one.drifted,
                    score=one.score,
                    noise=one.noise,
                    note=one.note,
                    baseline=theirs.get(one.column),
                    target=ours.get(one.column),
                    shares=None if pair is None else (pair.baseline.shares, pair.target.shares),
                    labels=() if pair is None else pair.labels,
                    ends=(math.nan, math.nan) if pair is None else pair.ends,
                )
            )
        return drawing.comparison_page(repr(self), rows, left_out=len(self.drifts) - len(rows))


def compare(
    baseline: Profile,
    target: Profile,
    *,
    segment: str | Mapping[str, str] | None = None,
    threshold: float = _DEFAULT,
) -> Comparison:
    """Hold a target against its baseline: all data of both, or one segment of both.

    A column has drifted when the Hellinger distance of its distributions is above the threshold, or when it was a
    number and is a category, or the other way round. Raises UsageError for a segment that one side lacks, or a
    threshold that is no distance.
    """
    for side in (baseline, target):
        if not isinstance(side, Profile):
            accepted = "profiles, as `profile` and `from_file` give them"
            raise UsageError(f"what is compared are {accepted}: found {type(side).__name__}")
    if not threshold >= 0:
        raise UsageError(f"a threshold is a distance, 0 or more: found {threshold}")
    keys = [None if segment is None else side.key(segment) for side in (baseline, target)]
    return Comparison(baseline, target, float(threshold), keys[0])


def _drift(
    name: str, baseline: ColumnProfile | None, target: ColumnProfile | None, threshold: float
) -> Drift:
    if baseline is None or target is None:
        return _uncompared(name, threshold, f"only in the {'target' if baseline is None else 'baseline'}")
    kind, pair = _kind(baseline), _pair(baseline, target)
    if pair is None:
        sides = {"baseline": kind, "target": _kind(target)}
        if all(sides.values()):
            told = f"was a {kind}, is a {_kind(target)}"
            return _uncompared(name, threshold, told, score=1.0)
        empty = " and the ".join(side for side, its in sides.items() if its is None)
        return _uncompared(name, threshold, f"no distribution in the {empty}")
    config = DriftConfig(
        metric="histogram" if kind == "number" else "frequent_items",
        threshold=threshold,
        baseline=CurrentBatchBaseline(),
    )
    theirs, ours = pair.baseline.shares, pair.target.shares
    verdict = drift.evaluate(config, ours[None, None], theirs[None, None])
    return Drift(
        column=name,
        kind=kind,
        score=float(verdict.value[0, 0]),
        noise=_noise(pair),
        threshold=threshold,
        drifted=bool(verdict.anomaly[0, 0]),
        hellinger=float(hellinger(theirs, ours)),
        psi=float(psi(theirs, ours)),
        jensenshannon=float(jensenshannon(theirs, ours)),
        ks=pair.ks,
        wasserstein=pair.wasserstein,
        rank_error=baseline.rank_error + target.rank_error if kind == "number" else math.nan,
        note="",
    )


def _uncompared(name: str, threshold: float, note: str, *, score: float = math.nan) -> Drift:
    nothing = dict.fromkeys(
        ("noise", "hellinger", "psi", "jensenshannon", "ks", "wasserstein", "rank_error"), math.nan
    )
    drifted = score > threshold
    return Drift(
        column=name, kind=None, score=score, threshold=threshold, drifted=drifted, note=note, **nothing
    )


def _kind(column: ColumnProfile) -> Kind | None:
    """What there is to compare; numbers go before anything else that a column may hold."""
    if column.kll is not None and column.m_n:
        return "number"
    return "category" if _items(column) is not None else None


def _pair(baseline: ColumnProfile, target: ColumnProfile) -> _Pair | None:
    if baseline.kll and target.kll and _kind(baseline) == _kind(target) == "number":
        return _numbers(baseline.kll, target.kll)
    theirs, ours = _items(baseline), _items(target)
    if theirs and ours and _kind(baseline) == _kind(target):
        return _categories(theirs, ours)
    return None


def _numbers(baseline: bytes, target: bytes) -> _Pair:
    theirs, ours = (Quantiles.open(image) for image in (baseline, target))
    sides = [Side.over({0: one}, _ALONE) for one in (ours, theirs)]
    # Numbers near the largest double have a range that is none; their bins are then wide.
    with np.errstate(over="ignore", invalid="ignore"):
        now, before = histograms(*sides)
        stepped_now, stepped_before, positions = steps(*sides)
        moved = float(wasserstein(stepped_before, stepped_now, positions)[0])
    return _Pair(
        _Side(before[0], theirs.n, _grain(theirs)),
        _Side(now[0], ours.n, _grain(ours)),
        ks=float(ks_test(stepped_before, stepped_now)[0]),
        wasserstein=moved,
        ends=(min(ours.low, theirs.low), max(ours.high, theirs.high)),
    )


def _grain(sketch: Quantiles) -> float:
    """The share that the heaviest value of a sketch stands for; 0 where every value stands for itself."""
    heaviest = float(np.diff(sketch.cumulative, prepend=0.0).max(initial=1.0))
    return heaviest / sketch.n if heaviest > 1 else 0.0


def _categories(theirs: Items, ours: Items) -> _Pair:
    now, before = frequencies(*(Side.over({0: one}, _ALONE) for one in (ours, theirs)))
    return _Pair(
        _Side(before[0], theirs.n, theirs.shortfall / theirs.n),
        _Side(now[0], ours.n, ours.shortfall / ours.n),
        labels=tuple(sorted({*theirs.counts, *ours.counts})),
    )


def _items(column: ColumnProfile) -> Items | None:
    """The commonest values, yes and no among them; None without any."""
    if column.frequent_items is not None:
        found = Items.open(column.frequent_items)
        return found if found.n else None
    if not column.t_bool:
        return None
    counts = {"False": float(column.t_bool - column.n_true), "True": float(column.n_true)}
    return Items({name: count for name, count in counts.items() if count}, 0.0, float(column.t_bool))


def _noise(pair: _Pair) -> float:
    """The Hellinger distance to be expected of two samples of what both sides are together.

    Of a share p that is estimated with variance v, √p errs by √(v / 4p), and by no more than √p itself; half the sum
    of its squares is the square of the distance. A sample of n has v = p / n, which gives √((b − 1) / 8n) for b bins
    (Pardo 2006, section 3.3), and a sketch adds the square of what its heaviest value stands for.
    """
    together = (pair.baseline.shares + pair.target.shares) / 2
    seen = together[together > 0]
    added = 0.0
    for side in (pair.baseline, pair.target):
        variance = seen / side.n + side.blur**2
        added += float(np.minimum(variance / (8 * seen), seen / 2).sum())
    return math.sqrt(added)
