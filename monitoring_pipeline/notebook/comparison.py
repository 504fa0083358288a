"""Two profiles held against each other, column by column, and shown in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from monitoring_pipeline.comparison import DEFAULT_THRESHOLD, ColumnComparison, Drift
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.notebook import drawing
from monitoring_pipeline.notebook.profiles import Profile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Drift", "compare"]

_NAMED = 8


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
        return self._columns.drifted

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """Every column of either side, the furthest first."""
        return self._columns.drifts

    def to_frame(self) -> pd.DataFrame:
        """One row for each column, the furthest first.

        The fields of `Drift` (`column`, `kind` and `note` str, `drifted` bool, the rest float64), then count,
        count_null_ratio, mean, unique_est and inferred_data_type of both sides, with `_baseline` and `_target` after
        their names, and `unique_change`, the target's distinct values less the baseline's.
        """
        return self._columns.to_frame()

    def __repr__(self) -> str:
        of = f"{self.target.rows:,} rows against a baseline of {self.baseline.rows:,}"
        told = f"{len(self.drifted):,} of {len(self.drifts):,} columns drifted"
        named = ", ".join(self.drifted[:_NAMED]) + (", …" if len(self.drifted) > _NAMED else "")
        return f"Comparison of {of}: {told}" + (f": {named}" if named else "")

    def _repr_html_(self) -> str:
        theirs, ours = self._columns.baseline, self._columns.target
        rows: list[drawing.ComparedColumn] = []
        for one in self.drifts[: drawing.MOST_ROWS]:
            pair = self._columns.pair(one.column) if one.kind else None
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

    @cached_property
    def _columns(self) -> ColumnComparison:
        return ColumnComparison(
            self.baseline.profiles(self.segment), self.target.profiles(self.segment), self.threshold
        )


def compare(
    baseline: Profile,
    target: Profile,
    *,
    segment: str | Mapping[str, str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
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
