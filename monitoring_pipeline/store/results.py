"""Verdicts of analyzers, written once.

A result is known by (analyzer, analyzer version, segment, column, bucket) within its dataset; one of these is
current. Writing it again keeps the one that is there. It is replaced only by `supersede`, which keeps the old row.
Late data marks results as stale and changes nothing else. `evaluation` remembers which analyzer has judged which
bucket, because an analyzer with nothing to say leaves no result.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert, insert_tuples, to_json, upsert
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.schema import CURRENT
from monitoring_pipeline.timegrid import TimeRange, to_micros

Evaluated = tuple[str, str, datetime]
"""Analyzer id, analyzer version, start of the bucket."""

RESULT_COLUMNS: tuple[str, ...] = tuple(
    column.name for column in schema.analyzer_result.columns if column.name != "pk"
)
"""Columns of a result row. `bucket` and `created` are microseconds since 1970, `dataset` is the dataset's number."""

_IDENTITY = ("analyzer_id", "analyzer_version", "segment", "column", "bucket")

_table = schema.analyzer_result


def write_results(
    store: Store,
    ref: DatasetRef,
    rows: Sequence[Mapping[str, object]],
    *,
    evaluated: Iterable[Evaluated] = (),
    now: datetime | None = None,
) -> set[str]:
    """Write results that are not there yet, in one transaction; return the analysis ids of those that were new.

    Their runs are to be told of from then on (`untold_runs`).

    `rows` have the keys `RESULT_COLUMNS` (`dataset` may be missing; other absent ones take their default).
    `evaluated` names what was judged, results or not; what `rows` hold counts as judged in any case.
    """
    prepared = [_prepared(ref, row) for row in rows]
    marks = _marks(rows, evaluated)
    if not prepared and not marks:
        return set()
    with store.begin() as connection:
        return _write(connection, ref, prepared, marks=marks, now=now or datetime.now(UTC))


def supersede(
    store: Store,
    ref: DatasetRef,
    *,
    evaluated: Collection[Evaluated],
    replacements: Sequence[Mapping[str, object]] = (),
    now: datetime | None = None,
) -> int:
    """Retire the current results of these evaluations and write their replacements, in one transaction.

    The old rows stay, with state `superseded`. Without replacements the evaluations are forgotten, so that they may
    become due again. Returns how many results were retired.
    """
    prepared = [_prepared(ref, row) for row in replacements]
    marks = _marks(replacements, evaluated if replacements else ())
    with store.begin() as connection:
        retired = 0
        for analyzer_id, version, bucket in evaluated:
            scope = {"analyzer_id": analyzer_id, "analyzer_version": version, "bucket": to_micros(bucket)}
            done = connection.execute(
                sa.update(_table)
                .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT)
                .where(*(_table.c[name] == value for name, value in scope.items()))
                .values(state="superseded")
            )
            retired += done.rowcount
            table = schema.evaluation
            connection.execute(
                sa.delete(table)
                .where(table.c.dataset == ref.pk)
                .where(*(table.c[name] == value for name, value in scope.items()))
            )
        _write(connection, ref, prepared, marks=marks, now=now or datetime.now(UTC))
        return retired


def results(
    store: Store,
    ref: DatasetRef,
    *,
    window: TimeRange | None = None,
    analyzer_ids: Collection[str] | None = None,
    run_id: str | None = None,
    anomalies_only: bool = False,
    stale_only: bool = False,
    state: str | None = "current",
    limit: int | None = None,
    newest_first: bool = False,
) -> list[dict[str, object]]:
    """Result rows with the keys `RESULT_COLUMNS`, ordered by bucket, analyzer, segment, column.

    `newest_first` turns the order of the buckets around; `state=None` shows superseded results too.
    """
    bucket = _table.c.bucket.desc() if newest_first else _table.c.bucket
    query = (
        sa.select(*(_table.c[name] for name in RESULT_COLUMNS))
        .where(_table.c.dataset == ref.pk, *_within(window))
        .order_by(bucket, _table.c.analyzer_id, _table.c.analyzer_version, _table.c.segment, _table.c.column)
        .order_by(_table.c.pk)
        .limit(limit)
    )
    if state is not None:
        query = query.where(_table.c.state == (CURRENT if state == "current" else state))
    if analyzer_ids is not None:
        query = query.where(_table.c.analyzer_id.in_(analyzer_ids))
    if run_id is not None:
        query = query.where(_table.c.run_id == run_id)
    if anomalies_only:
        query = query.where(_table.c.anomaly_count > 0)
    if stale_only:
        query = query.where(_table.c.stale)
    with store.read() as connection:
        return [dict(zip(RESULT_COLUMNS, row, strict=True)) for row in connection.execute(query)]


def calculated(store: Store, ref: DatasetRef, window: TimeRange | None = None) -> set[tuple[str, str, int]]:
    """What has been judged: (analyzer id, analyzer version, bucket in microseconds)."""
    table = schema.evaluation
    query = sa.select(table.c.analyzer_id, table.c.analyzer_version, table.c.bucket).where(
        table.c.dataset == ref.pk
    )
    if window is not None:
        query = query.where(table.c.bucket >= to_micros(window.start), table.c.bucket < to_micros(window.end))
    with store.read() as connection:
        return {(analyzer, version, bucket) for analyzer, version, bucket in connection.execute(query)}


def untold_runs(store: Store, ref: DatasetRef) -> list[str]:
    """Runs that left results of which no monitor has spoken yet, oldest first."""
    table = schema.analysis_run
    query = (
        sa.select(table.c.run_id)
        .where(table.c.dataset == ref.pk, table.c.told_at.is_(None))
        .order_by(table.c.written_at, table.c.run_id)
    )
    with store.read() as connection:
        return list(connection.execute(query).scalars())


def mark_told(store: Store, ref: DatasetRef, run_id: str, *, now: datetime) -> None:
    """Note that monitors have spoken about a run."""
    table = schema.analysis_run
    with store.begin() as connection:
        connection.execute(
            sa.update(table)
            .where(table.c.dataset == ref.pk, table.c.run_id == run_id)
            .values(told_at=to_micros(now))
        )


def mark_stale(
    store: Store, ref: DatasetRef, window: TimeRange, *, analyzer_ids: Collection[str] | None = None
) -> int:
    """Mark the current results of a window as stale, of all analyzers or of some; return how many were not yet.

    Writing a batch marks the results of its own bucket. This is for results of later buckets whose baselines held it.
    """
    statement = (
        sa.update(_table)
        .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT, ~_table.c.stale, *_within(window))
        .values(stale=True)
    )
    if analyzer_ids is not None:
        statement = statement.where(_table.c.analyzer_id.in_(analyzer_ids))
    with store.begin() as connection:
        return connection.execute(statement).rowcount


def outdate(
    connection: Connection,
    ref: DatasetRef,
    bucket: int,
    *,
    version: int,
    changed: Collection[tuple[str, str]] | None,
) -> None:
    """Note, inside a transaction, that a bucket now has a newer profile version.

    Results that saw an older one become stale where their (segment, column) has changed; `changed` None means all of
    them. Evaluations are forgotten, because the new data may hold columns and segments of which nobody has spoken yet;
    results that are there stay as they are. `bucket` in microseconds.
    """
    query = (
        sa.select(_table.c.pk, _table.c.segment, _table.c.column)
        .where(_table.c.dataset == ref.pk, _table.c.bucket == bucket, _table.c.state == CURRENT)
        .where(sa.func.coalesce(_table.c.profile_version, 0) < version, ~_table.c.stale)
    )
    touched = [
        {"key": pk}
        for pk, segment, column in connection.execute(query)
        if changed is None or (segment, column) in changed
    ]
    if touched:
        connection.execute(
            sa.update(_table).where(_table.c.pk == sa.bindparam("key")).values(stale=True), touched
        )
    mark = schema.evaluation
    connection.execute(sa.delete(mark).where(mark.c.dataset == ref.pk, mark.c.bucket == bucket))


def _write(
    connection: Connection,
    ref: DatasetRef,
    rows: Sequence[Mapping[str, object]],
    *,
    marks: Collection[tuple[str, str, int]],
    now: datetime,
) -> set[str]:
    lock_dataset(connection, ref)  # so that nobody else writes what is found to be missing
    missing: dict[tuple[object, ...], Mapping[str, object]] = {}
    versions = _batch_versions(connection, ref, rows)
    for row in rows:
        # New data may have come while the analyzer was at work.
        seen, newest = row["profile_version"], versions.get(row["bucket"], 0)
        outdated = isinstance(seen, int) and seen < newest
        missing.setdefault(
            tuple(row[name] for name in _IDENTITY), {**row, "stale": True} if outdated else row
        )
    for known in _current(connection, ref, rows):
        missing.pop(known, None)
    insert_tuples(
        connection,
        _table,
        [tuple(row[name] for name in RESULT_COLUMNS) for row in missing.values()],
        names=RESULT_COLUMNS,
    )
    runs = sorted({str(row["run_id"]) for row in missing.values()})
    moment = to_micros(now)
    upsert(
        connection,
        schema.analysis_run,
        [{"dataset": ref.pk, "run_id": run_id, "written_at": moment, "told_at": None} for run_id in runs],
    )
    if marks:
        connection.execute(
            insert(connection, schema.evaluation).on_conflict_do_nothing(),
            [
                {
                    "dataset": ref.pk,
                    "bucket": bucket,
                    "analyzer_id": analyzer_id,
                    "analyzer_version": version,
                    "evaluated_at": moment,
                }
                for analyzer_id, version, bucket in sorted(marks)
            ],
        )
    return {str(row["analysis_id"]) for row in missing.values()}


def _batch_versions(
    connection: Connection, ref: DatasetRef, rows: Sequence[Mapping[str, object]]
) -> dict[object, int]:
    """The profile version of every bucket that the rows are about, by bucket in microseconds."""
    if not rows:
        return {}
    table, buckets = schema.batch, _buckets(rows)
    query = (
        sa.select(table.c.bucket, sa.func.max(table.c.version))
        .where(table.c.dataset == ref.pk, table.c.bucket.between(buckets[0], buckets[-1]))
        .group_by(table.c.bucket)
    )
    return dict(connection.execute(query).all())


def _buckets(rows: Sequence[Mapping[str, object]]) -> list[int]:
    return sorted({bucket for row in rows if isinstance(bucket := row["bucket"], int)})


def _current(
    connection: Connection, ref: DatasetRef, rows: Sequence[Mapping[str, object]]
) -> set[tuple[object, ...]]:
    """Identities of the current results of the same analyzers and buckets."""
    if not rows:
        return set()
    buckets = _buckets(rows)
    query = sa.select(*(_table.c[name] for name in _IDENTITY)).where(
        _table.c.dataset == ref.pk,
        _table.c.state == CURRENT,
        _table.c.bucket.between(buckets[0], buckets[-1]),
        _table.c.analyzer_id.in_({row["analyzer_id"] for row in rows}),
    )
    return {tuple(row) for row in connection.execute(query)}


def _marks(rows: Sequence[Mapping[str, object]], evaluated: Iterable[Evaluated]) -> set[tuple[str, str, int]]:
    marks = {(analyzer_id, version, to_micros(bucket)) for analyzer_id, version, bucket in evaluated}
    for row in rows:
        bucket = row["bucket"]
        assert isinstance(bucket, int)  # noqa: S101 - _prepared has checked it
        marks.add((str(row["analyzer_id"]), str(row["analyzer_version"]), bucket))
    return marks


_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(RESULT_COLUMNS),
    "monitor_ids": [],
    "details": {},
    "state": "current",
    "stale": False,
    "user_initiated_backfill": False,
}
_KNOWN = frozenset(RESULT_COLUMNS)
_PLAIN = frozenset({str, int, bool, type(None)})


def _prepared(ref: DatasetRef, row: Mapping[str, object]) -> dict[str, object]:
    unknown = row.keys() - _KNOWN
    if unknown:
        raise StoreError(
            f"a result has no column {', '.join(sorted(unknown))}; accepted: {', '.join(RESULT_COLUMNS)}"
        )
    prepared = {**_DEFAULTS, **row}
    for name, value in row.items():
        if type(value) not in _PLAIN:
            prepared[name] = _plain(value)
    prepared["dataset"] = ref.pk
    for name in ("monitor_ids", "details"):
        prepared[name] = to_json(prepared[name])
    if not isinstance(prepared["bucket"], int):
        raise StoreError(
            f"a result's bucket is {prepared['bucket']!r}; accepted: microseconds since 1970 as an int"
        )
    return prepared


def _plain(value: object) -> object:
    """Numbers as the drivers take them: no numpy scalars, and null for NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def _within(window: TimeRange | None) -> list[sa.ColumnElement[bool]]:
    if window is None:
        return []
    return [_table.c.bucket >= to_micros(window.start), _table.c.bucket < to_micros(window.end)]
