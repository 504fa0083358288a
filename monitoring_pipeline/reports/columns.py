"""What each column was in the period and in the one before: how much of it is missing, its type, where its numbers lie."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.metrics import merge_scalars, metric
from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import Series

Floats = NDArray[np.float64]

SURE = 4.0
"""Standard errors that a share of nulls must have moved by, so that it counts as changed."""

LEAST_CHANGE = 0.001
"""And by so much at least."""

_COUNTS = ("n", "n_null", "t_bool", "t_integral", "t_fractional", "t_string", "t_object")
_SCALARS = (*_COUNTS, "m_n", "mean", "m2", "min", "max", "unique_est", "n_columns")
_NO_TYPES = frozenset({"", "unknown", "null"})
_CELLS = 2_000_000
"""Numbers of the store that are held at a time."""


@dataclass(frozen=True)
class Described:
    """One column of one period; NaN and "" where there is nothing to tell. `distinct` is the median over the buckets."""

    values: float
    nulls: float
    """Share of the values that are missing."""
    type: str
    mean: float
    stddev: float
    least: float
    most: float
    distinct: float

    @property
    def there(self) -> bool:
        """Whether the column had any values, missing ones included."""
        return self.values > 0


@dataclass(frozen=True)
class ColumnStory:
    """A column now and before, and bucket by bucket, (2 · n_buckets,) with those before first: its shares of nulls, NaN
    where it has no values, and its types, "" there. `late`: it comes with outcomes, after the rows.
    """

    name: str
    now: Described
    before: Described
    null_shares: Floats
    types: NDArray[np.str_]
    late: bool

    @property
    def came(self) -> bool:
        """Whether it is new."""
        return self.now.there and not self.before.there

    @property
    def went(self) -> bool:
        """Whether it is gone."""
        return self.before.there and not self.now.there

    @property
    def type_changed(self) -> bool:
        """Whether its values are mostly of another type than before."""
        told = {self.now.type, self.before.type}
        return len(told) == 2 and not told & _NO_TYPES

    def absent(self, rows: Floats) -> int:
        """In how many buckets of the period it is not there although there are `rows`, (2 · n_buckets,)."""
        if self.late or not self.now.there:
            return 0
        return int((np.isnan(self.null_shares) & (rows > 0))[len(rows) // 2 :].sum())

    @property
    def odd_types(self) -> tuple[str, int]:
        """The type that some buckets of the period have other than usual, and in how many; "" and 0 without any."""
        usual = self.now.type if self.before.type in _NO_TYPES else self.before.type
        odd = [one for one in self.types[len(self.types) // 2 :].tolist() if one not in {*_NO_TYPES, usual}]
        return (odd[0], len(odd)) if odd and usual not in _NO_TYPES else ("", 0)

    @property
    def nulls_moved(self) -> float:
        """The change of the share of nulls; 0 where it is no larger than chance makes it."""
        now, before = self.now, self.before
        if not (now.there and before.there):
            return 0.0
        change = now.nulls - before.nulls
        share = (now.nulls * now.values + before.nulls * before.values) / (now.values + before.values)
        error = math.sqrt(share * (1 - share) * (1 / now.values + 1 / before.values))
        return change if abs(change) > max(SURE * error, LEAST_CHANGE) else 0.0


def column_stories(
    store: Store, ref: DatasetRef, columns: Sequence[str], buckets: Buckets
) -> Iterator[ColumnStory]:
    """The columns that either period has any values of, over all segments together, in the order given."""
    at_once = max(1, _CELLS // (len(_SCALARS) * max(2 * len(buckets), 1)))
    for start in range(0, len(columns) if len(buckets) else 0, at_once):
        yield from _stories(store, ref, columns[start : start + at_once], buckets)


def _stories(
    store: Store, ref: DatasetRef, columns: Collection[str], buckets: Buckets
) -> Iterator[ColumnStory]:
    both = buckets.with_before
    found = profiles.series(
        store, ref, _SCALARS, both.window, granularity=both.granularity, columns=columns, segments=[OVERALL]
    )
    halves = [_described(found, half) for half in (slice(len(buckets)), slice(len(buckets), None))]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(found.values["n"] > 0, found.values["n_null"] / found.values["n"], np.nan)
    types = np.char.lower(_types(found.values))
    late = (found.values["n_columns"] == 0).any(axis=1)
    for place, (_, column) in enumerate(found.keys):
        before, now = (half[place] for half in halves)
        if before.there or now.there:
            yield ColumnStory(column, now, before, shares[place], types[place], bool(late[place]))


def _described(found: Series, half: slice) -> list[Described]:
    values = {name: matrix[:, half] for name, matrix in found.values.items()}
    merged = merge_scalars(values)
    types = _types(merged)
    with np.errstate(invalid="ignore", divide="ignore"):
        nulls = np.where(merged["n"] > 0, merged["n_null"] / merged["n"], np.nan)
        spread = np.where(merged["m_n"] > 1, np.sqrt(merged["m2"] / (merged["m_n"] - 1)), np.nan)
    # A time's extremes are microseconds, which nobody reads as a number.
    numeric = merged["m_n"] > 0
    least, most = (np.where(numeric, merged[name], np.nan) for name in ("min", "max"))
    return [
        Described(
            values=0.0 if math.isnan(merged["n"][at]) else float(merged["n"][at]),
            nulls=float(nulls[at]),
            type=str(types[at]).lower(),
            mean=float(merged["mean"][at]) if numeric[at] else math.nan,
            stddev=float(spread[at]),
            least=float(least[at]),
            most=float(most[at]),
            distinct=_median(values["unique_est"][at]),
        )
        for at in range(len(found.keys))
    ]


def _types(scalars: Mapping[str, Floats]) -> NDArray[np.str_]:
    told = metric("inferred_data_type")
    return told.formula({name: scalars[name] for name in told.needs})


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan
