"""Results on their way into the store, in columns: what is the same for all is said once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import eq

import numpy as np

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import to_json
from monitoring_pipeline.store.datasets import DatasetRef

RESULT_COLUMNS: tuple[str, ...] = tuple(
    column.name for column in schema.analyzer_result.columns if column.name != "pk"
)
"""Columns of a result row. `bucket` and `created` are microseconds since 1970, `dataset` is the dataset's number."""


@dataclass(frozen=True)
class ResultTable:
    """Results in columns: `shared` are values that all have in common, `columns` the others, one list each.

    Names and values are those of `RESULT_COLUMNS`, `monitor_ids` and `details` as JSON; absent ones take their default.
    """

    shared: Mapping[str, object]
    columns: Mapping[str, Sequence[object]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> Sequence[object]:
        """The values of one column."""
        return self.columns[name] if name in self.columns else [self.shared[name]] * len(self)

    def of(self, places: Sequence[int]) -> ResultTable:
        """Some of the results."""
        picked = {name: [values[at] for at in places] for name, values in self.columns.items()}
        return ResultTable(self.shared, picked)

    def rows(self, names: Sequence[str]) -> list[tuple[object, ...]]:
        """The results one by one."""
        columns = (
            self.columns[name] if name in self.columns else repeat(self.shared[name], len(self))
            for name in names
        )
        return list(zip(*columns, strict=True))


_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(RESULT_COLUMNS),
    "monitor_ids": "[]",
    "details": "{}",
    "state": "current",
    "stale": False,
    "user_initiated_backfill": False,
}
_KNOWN = frozenset(RESULT_COLUMNS)
_PLAIN = frozenset({str, int, bool, type(None)})


def as_tables(rows: Sequence[Mapping[str, object]]) -> list[ResultTable]:
    """Single rows as a table; `monitor_ids` and `details` are still lists and maps."""
    if not rows:
        return []
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, list[object]] = {
        name: [row.get(name, _DEFAULTS.get(name)) for row in rows] for name in names
    }
    for name in _JSON & columns.keys():
        columns[name] = [to_json(row[name]) if name in row else _DEFAULTS[name] for row in rows]
    return [ResultTable({}, columns)]


_JSON = frozenset({"monitor_ids", "details"})


def checked(ref: DatasetRef, table: ResultTable) -> ResultTable:
    """The table with all columns, and values that the drivers take. Raises StoreError."""
    unknown = (table.shared.keys() | table.columns.keys()) - _KNOWN
    if unknown:
        raise StoreError(
            f"a result has no column {', '.join(sorted(unknown))}; accepted: {', '.join(RESULT_COLUMNS)}"
        )
    columns = {name: _plain(values) for name, values in table.columns.items() if name != "dataset"}
    shared = {name: _plain([value])[0] for name, value in table.shared.items()}
    checked = ResultTable({**_DEFAULTS, **shared, "dataset": ref.pk}, columns)
    for bucket in set(checked.column("bucket")):
        if not isinstance(bucket, int):
            raise StoreError(f"a result's bucket is {bucket!r}; accepted: microseconds since 1970 as an int")
    return checked


def _plain(values: Sequence[object]) -> Sequence[object]:
    """Numbers as the drivers take them: no numpy scalars, and null for NaN."""
    kinds = {*map(type, values)}
    if kinds <= _PLAIN:
        return values
    if kinds <= {*_PLAIN, float}:
        return (
            values
            if all(map(eq, values, values))
            else [value if value == value else None for value in values]
        )
    numbers = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [None if isinstance(value, float) and math.isnan(value) else value for value in numbers]
