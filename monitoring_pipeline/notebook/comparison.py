"""Two profiles held against each other, column by column, as an analyzer of the type `drift` would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from monitoring_pipeline.analysis.algorithms import drift
from monitoring_pipeline.analysis.comparing import Kind, Pair, kind_of, pair_of
from monitoring_pipeline.analysis.distances import hellinger, jensenshannon, psi
from monitoring_pipeline.config.analyzer_types import DriftConfig
from monitoring_pipeline.config.baselines import CurrentBatchBaseline
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.notebook import drawing
from monitoring_pipeline.notebook.profiles import Profile
from monitoring_pipeline.profile_file import describe_columns
from monitoring_pipeline.profiling import ColumnProfile

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 8
_BOTH_SIDES = ("count", "count_null_ratio", "mean", "unique_est", "inferred_data_type")
_DEFAULT: Final = DriftConfig.model_fields["threshold"].default


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
    kind, pair = kind_of(baseline), _pair(baseline, target)
    if pair is None:
        sides = {"baseline": kind, "target": kind_of(target)}
        if all(sides.values()):
            told = f"was a {kind}, is a {kind_of(target)}"
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
        noise=pair.noise,
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


def _pair(baseline: ColumnProfile, target: ColumnProfile) -> Pair | None:
    return pair_of([baseline], [target], ordered=True)
