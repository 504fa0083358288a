"""Two sets of column profiles held against each other, column by column, as an analyzer of the type `drift` would.

What notebooks do with two profiles at hand (`notebook.compare`) and what the store answers about two windows
(`telemetry.compare_windows`) is this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from monitoring_pipeline.analysis.algorithms import drift
from monitoring_pipeline.analysis.comparing import Kind, Pair, kind_of, pair_of
from monitoring_pipeline.analysis.distances import hellinger, jensenshannon, psi
from monitoring_pipeline.config.analyzer_types import DriftConfig
from monitoring_pipeline.config.baselines import CurrentBatchBaseline
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profile_file import describe_columns
from monitoring_pipeline.profiling import ColumnProfile

if TYPE_CHECKING:
    import pandas as pd

BOTH_SIDES: Final = ("count", "count_null_ratio", "mean", "unique_est", "inferred_data_type")
"""The metrics that are told of both sides."""

DEFAULT_THRESHOLD: Final = float(DriftConfig.model_fields["threshold"].default)


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


@dataclass(frozen=True)
class ColumnComparison:
    """The columns of a target, by name, held against those of a baseline. Raises UsageError for a negative threshold."""

    baseline: Mapping[str, ColumnProfile] = field(repr=False)
    target: Mapping[str, ColumnProfile] = field(repr=False)
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise UsageError(f"a threshold is a distance, 0 or more: found {self.threshold}")

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that moved further than the threshold or changed their type, the furthest first."""
        return tuple(one.column for one in self.drifts if one.drifted)

    @cached_property
    def drifts(self) -> tuple[Drift, ...]:
        """Every column of either side, the furthest first."""
        found = [
            _drift(name, self.baseline.get(name), self.target.get(name), self.threshold)
            for name in {**self.baseline, **self.target}
        ]
        return tuple(sorted(found, key=lambda one: (not one.drifted, math.isnan(one.score), -one.score)))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One for each column, the furthest first: the fields of `Drift`, then the metrics of `BOTH_SIDES` of both
        sides, with `_baseline` and `_target` after their names; None where one has no value.
        """
        sides = {"baseline": describe_columns(self.baseline), "target": describe_columns(self.target)}
        return [
            vars(one)
            | {
                f"{metric}_{side}": told.get(one.column, {}).get(metric)
                for metric in BOTH_SIDES
                for side, told in sides.items()
            }
            for one in self.drifts
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row for each column, the furthest first.

        The fields of `Drift` (`column`, `kind` and `note` str, `drifted` bool, the rest float64), then count,
        count_null_ratio, mean, unique_est and inferred_data_type of both sides, with `_baseline` and `_target` after
        their names, and `unique_change`, the target's distinct values less the baseline's.
        """
        import pandas as pd

        texts = {
            "column",
            "kind",
            "note",
            "inferred_data_type_baseline",
            "inferred_data_type_target",
        }
        names = [
            *Drift.__dataclass_fields__,
            *(f"{metric}_{side}" for metric in BOTH_SIDES for side in ("baseline", "target")),
        ]
        kinds = {
            name: "str" if name in texts else "bool" if name == "drifted" else "float64" for name in names
        }
        frame = pd.DataFrame(self.records, columns=pd.Index(names), dtype=object).astype(kinds)
        frame["unique_change"] = frame["unique_est_target"] - frame["unique_est_baseline"]
        return frame

    def pair(self, column: str) -> Pair | None:
        """Both distributions of a column over the same bins; None where they cannot be compared."""
        theirs, ours = self.baseline.get(column), self.target.get(column)
        return None if theirs is None or ours is None else _pair(theirs, ours)


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
