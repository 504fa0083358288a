"""Verdicts counted where they lie, and the verdicts of a few chosen series, for whoever looks at a whole period.

A week of a wide dataset holds more verdicts than are worth carrying out of the database one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.result_tables import RESULT_COLUMNS
from monitoring_pipeline.store.schema import CURRENT
from monitoring_pipeline.timegrid import TimeRange, from_micros, to_micros

VerdictSeries = tuple[str, str, str]
"""Analyzer id, column, segment key."""

_AT_ONCE = 200
"""Series that one query names."""

_table = schema.analyzer_result


@dataclass(frozen=True)
class AnalyzerTally:
    """The current results of one analyzer in a window: how many verdicts, anomalies among them, failures by type and
    explanation, and how many of all are stale. `buckets` have any of them.
    """

    analyzer_id: str
    verdicts: int
    anomalies: int
    stale: int
    buckets: int
    failures: tuple[tuple[str, str, int], ...]
    """Failure type, one of its explanations, how many; most first."""

    @property
    def failed(self) -> int:
        """Results without a verdict."""
        return sum(count for _, _, count in self.failures)


def analyzer_tallies(store: Store, ref: DatasetRef, window: TimeRange) -> dict[str, AnalyzerTally]:
    """Every analyzer with current results on buckets that start in the window, by id."""
    count = sa.func.count()
    of_window = _current(ref, window)
    query = (
        sa.select(
            _table.c.analyzer_id,
            _table.c.failure_type,
            sa.func.min(_table.c.failure_explanation),
            count,
            sa.func.sum(sa.case((_table.c.anomaly_count > 0, 1), else_=0)),
            sa.func.sum(sa.case((_table.c.stale, 1), else_=0)),
        )
        .where(*of_window)
        .group_by(_table.c.analyzer_id, _table.c.failure_type)
        .order_by(_table.c.analyzer_id, count.desc(), _table.c.failure_type)
    )
    seen = (
        sa.select(_table.c.analyzer_id, sa.func.count(_table.c.bucket.distinct()))
        .where(*of_window)
        .group_by(_table.c.analyzer_id)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        buckets = dict(connection.execute(seen).all())
    found: dict[str, AnalyzerTally] = {}
    for analyzer_id in sorted(buckets):
        mine = [tuple(row[1:]) for row in rows if row[0] == analyzer_id]
        found[analyzer_id] = AnalyzerTally(
            analyzer_id,
            verdicts=sum(number for failure, _, number, _, _ in mine if failure is None),
            anomalies=sum(int(anomalies) for failure, _, _, anomalies, _ in mine if failure is None),
            stale=sum(int(stale) for *_, stale in mine),
            buckets=buckets[analyzer_id],
            failures=tuple(
                (str(failure), str(why or ""), int(number))
                for failure, why, number, _, _ in mine
                if failure is not None
            ),
        )
    return found


def anomalies_by_column(store: Store, ref: DatasetRef, window: TimeRange) -> dict[str, int]:
    """How many current anomalies each column has, over all segments; those of the dataset itself under ""."""
    return {str(column): count for column, count in _anomalies(store, ref, window, _table.c.column)}


def anomalies_by_bucket(store: Store, ref: DatasetRef, window: TimeRange) -> dict[datetime, int]:
    """How many current anomalies each bucket has, over all columns and segments."""
    found = _anomalies(store, ref, window, _table.c.bucket)
    return {from_micros(int(str(bucket))): count for bucket, count in found}


def verdict_series(
    store: Store, ref: DatasetRef, window: TimeRange, series: Collection[VerdictSeries]
) -> dict[VerdictSeries, list[dict[str, object]]]:
    """The current result rows of these series (keys `RESULT_COLUMNS`), by bucket, those of the window."""
    found: dict[VerdictSeries, list[dict[str, object]]] = {one: [] for one in series}
    wanted = sorted(found)
    identity = sa.tuple_(_table.c.analyzer_id, _table.c.column, _table.c.segment)
    with store.read() as connection:
        for start in range(0, len(wanted), _AT_ONCE):
            query = (
                sa.select(*(_table.c[name] for name in RESULT_COLUMNS))
                .where(*_current(ref, window), identity.in_(wanted[start : start + _AT_ONCE]))
                .order_by(_table.c.bucket, _table.c.pk)
            )
            for row in connection.execute(query).mappings():
                found[row["analyzer_id"], row["column"], row["segment"]].append(dict(row))
    return found


def _anomalies(
    store: Store, ref: DatasetRef, window: TimeRange, by: sa.Column[str] | sa.Column[int]
) -> list[tuple[object, int]]:
    query = (
        sa.select(by, sa.func.count())
        .where(*_current(ref, window), _table.c.anomaly_count > 0, _table.c.failure_type.is_(None))
        .group_by(by)
        .order_by(by)
    )
    with store.read() as connection:
        return [(name, count) for name, count in connection.execute(query)]


def _current(ref: DatasetRef, window: TimeRange) -> list[sa.ColumnElement[bool]]:
    return [
        _table.c.dataset == ref.pk,
        _table.c.state == CURRENT,
        _table.c.bucket >= to_micros(window.start),
        _table.c.bucket < to_micros(window.end),
    ]
