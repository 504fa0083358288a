"""Verdicts of analyzers, written once.

A result is known by (analyzer, analyzer version, segment, column, bucket) within its dataset; one of these is
current. Writing it again keeps the one that is there. It is replaced only by `supersede`, which keeps the old row.
Late data marks results as stale and changes nothing else. `evaluation` remembers which analyzer has judged which
bucket, because an analyzer with nothing to say leaves no result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert, insert_tuples, upsert
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.result_tables import RESULT_COLUMNS, ResultTable, as_tables, checked
from monitoring_pipeline.store.schema import CURRENT
from monitoring_pipeline.store.selection import chunks_of
from monitoring_pipeline.timegrid import TimeRange, from_micros, to_micros

Evaluated = tuple[str, str, datetime]
"""Analyzer id, analyzer version, start of the bucket."""

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
    return write_tables(store, ref, as_tables(rows), evaluated=evaluated, now=now)


def write_tables(
    store: Store,
    ref: DatasetRef,
    tables: Iterable[ResultTable],
    *,
    evaluated: Iterable[Evaluated] = (),
    now: datetime | None = None,
) -> set[str]:
    """The same as `write_results` for results that come in columns: six times as fast."""
    prepared = [checked(ref, table) for table in tables if len(table)]
    marks = _marks(prepared, evaluated)
    if not prepared and not marks:
        return set()
    with store.begin() as connection:
        return _write(connection, ref, prepared, marks=marks, now=now or datetime.now(UTC))


def supersede(
    store: Store,
    ref: DatasetRef,
    *,
    evaluated: Collection[Evaluated],
    replacements: Iterable[ResultTable] = (),
    only_stale: bool = False,
    now: datetime | None = None,
) -> int:
    """Retire the current results of these evaluations and write their replacements, in one transaction.

    The old rows stay, with state `superseded`; with `only_stale` those that are not stale stay current, and win over
    their replacements. Without replacements the evaluations are forgotten, so that they may become due again. Returns
    how many results were retired.
    """
    prepared = [checked(ref, table) for table in replacements if len(table)]
    marks = _marks(prepared, evaluated if prepared else ())
    with store.begin() as connection:
        lock_dataset(
            connection, ref
        )  # before any of its rows, as everybody does, or two may wait for each other
        retired = 0
        for analyzer_id, version, bucket in evaluated:
            scope = {"analyzer_id": analyzer_id, "analyzer_version": version, "bucket": to_micros(bucket)}
            done = connection.execute(
                sa.update(_table)
                .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT)
                .where(*(_table.c[name] == value for name, value in scope.items()))
                .where(*([_table.c.stale] if only_stale else []))
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


def stale_evaluations(store: Store, ref: DatasetRef, window: TimeRange | None = None) -> list[Evaluated]:
    """Evaluations with current results that are stale, oldest bucket first."""
    query = (
        sa.select(_table.c.analyzer_id, _table.c.analyzer_version, _table.c.bucket)
        .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT, _table.c.stale, *_within(window))
        .distinct()
        .order_by(_table.c.bucket, _table.c.analyzer_id, _table.c.analyzer_version)
    )
    with store.read() as connection:
        return [(name, version, from_micros(bucket)) for name, version, bucket in connection.execute(query)]


def alarmed_before(store: Store, ref: DatasetRef, run_id: str) -> set[str]:
    """Analysis ids of a run's results, superseded or not, whose superseded predecessors were anomalies already."""
    old = _table.alias("old")
    query = (
        sa.select(old.c.analysis_id)
        .join(_table, sa.and_(_table.c.dataset == old.c.dataset, _table.c.analysis_id == old.c.analysis_id))
        .where(_table.c.dataset == ref.pk, _table.c.run_id == run_id, old.c.pk < _table.c.pk)
        .where(old.c.state == "superseded", old.c.anomaly_count > 0)
        .distinct()
    )
    with store.read() as connection:
        return set(connection.execute(query).scalars())


def extent(store: Store, ref: DatasetRef, run_id: str) -> tuple[datetime, datetime] | None:
    """The first and the last bucket that a run has judged, superseded or not; None when it left no result."""
    query = sa.select(sa.func.min(_table.c.bucket), sa.func.max(_table.c.bucket)).where(
        _table.c.dataset == ref.pk, _table.c.run_id == run_id
    )
    with store.read() as connection:
        first, last = connection.execute(query).one()
    return None if first is None else (from_micros(first), from_micros(last))


def normal_since(store: Store, ref: DatasetRef, run_id: str) -> dict[tuple[str, str, str], datetime]:
    """The newest bucket in which a run, superseded or not, found a series normal: by analyzer, column and segment."""
    series = (_table.c.analyzer_id, _table.c.column, _table.c.segment)
    query = (
        sa.select(*series, sa.func.max(_table.c.bucket))
        .where(_table.c.dataset == ref.pk, _table.c.run_id == run_id)
        .where(_table.c.failure_type.is_(None), sa.func.coalesce(_table.c.anomaly_count, 0) <= 0)
        .group_by(*series)
    )
    moments: dict[int, datetime] = {}
    found: dict[tuple[str, str, str], datetime] = {}
    with store.read() as connection:
        for chunk in chunks_of(connection, query):
            for analyzer_id, column, segment, bucket in chunk:
                if bucket not in moments:
                    moments[bucket] = from_micros(bucket)
                found[analyzer_id, column, segment] = moments[bucket]
    return found


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


def results_of(
    store: Store, ref: DatasetRef, series: Collection[tuple[str, str, str]], *, window: TimeRange
) -> list[dict[str, object]]:
    """Current rows of some series (analyzer, column, segment) in a window, by bucket."""
    if not series:
        return []
    known = [
        sa.and_(_table.c.analyzer_id == analyzer, _table.c.column == column, _table.c.segment == segment)
        for analyzer, column, segment in sorted(series)
    ]
    query = (
        sa.select(*(_table.c[name] for name in RESULT_COLUMNS))
        .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT, *_within(window), sa.or_(*known))
        .order_by(_table.c.bucket, _table.c.pk)
    )
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


def mark_stale(
    store: Store, ref: DatasetRef, window: TimeRange, *, analyzer_ids: Collection[str] | None = None
) -> int:
    """Mark the current results of a window as stale, of all analyzers or of some; return how many were not yet.

    For people who want them judged again; new data marks what it touches by itself (`outdate`, `outdate_resting`).
    """
    statement = (
        sa.update(_table)
        .where(_table.c.dataset == ref.pk, _table.c.state == CURRENT, ~_table.c.stale, *_within(window))
        .values(stale=True)
    )
    if analyzer_ids is not None:
        statement = statement.where(_table.c.analyzer_id.in_(analyzer_ids))
    with store.begin() as connection:
        lock_dataset(connection, ref)
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


@dataclass(frozen=True)
class Resting:
    """Results that rest on a bucket of some dataset: those of an analyzer on the buckets of a window.

    `ref` is the dataset that the results are about, which may be another one. `any_segment`: their baseline comes from
    another segment than their own.
    """

    ref: DatasetRef
    analyzer_id: str
    window: TimeRange
    any_segment: bool = False


def outdate_resting(
    connection: Connection, resting: Sequence[Resting], *, changed: Collection[tuple[str, str]] | None
) -> None:
    """Mark, inside a transaction, the current results as stale that rest on something that has changed.

    `changed` are the (segment, column) whose metrics differ, None for all of them; a dataset-level result, column "",
    rests on the segment's own row, which is the column "" as well.
    """
    for ref in {one.ref for one in resting}:
        mine = [one for one in resting if one.ref == ref]
        query = sa.select(
            _table.c.pk, _table.c.analyzer_id, _table.c.bucket, _table.c.segment, _table.c.column
        ).where(
            _table.c.dataset == ref.pk,
            _table.c.state == CURRENT,
            _table.c.bucket >= min(to_micros(one.window.start) for one in mine),
            _table.c.bucket < max(to_micros(one.window.end) for one in mine),
            _table.c.analyzer_id.in_({one.analyzer_id for one in mine}),
            ~_table.c.stale,
        )
        rests = {
            one.analyzer_id: (to_micros(one.window.start), to_micros(one.window.end), one.any_segment)
            for one in mine
        }
        touched = [
            {"key": pk}
            for pk, analyzer_id, bucket, segment, column in connection.execute(query)
            if rests[analyzer_id][0] <= bucket < rests[analyzer_id][1]
            and _has_changed(segment, column, changed, any_segment=rests[analyzer_id][2])
        ]
        if touched:
            connection.execute(
                sa.update(_table).where(_table.c.pk == sa.bindparam("key")).values(stale=True), touched
            )


def _has_changed(
    segment: str, column: str, changed: Collection[tuple[str, str]] | None, *, any_segment: bool
) -> bool:
    if changed is None:
        return True
    return any(column == name for _, name in changed) if any_segment else (segment, column) in changed


def _write(
    connection: Connection,
    ref: DatasetRef,
    tables: Sequence[ResultTable],
    *,
    marks: Collection[tuple[str, str, int]],
    now: datetime,
) -> set[str]:
    lock_dataset(connection, ref)  # so that nobody else writes what is found to be missing
    versions = _batch_versions(connection, ref, tables)
    known = _current(connection, ref, tables)
    written: set[str] = set()
    runs: set[str] = set()
    for table in tables:
        missing = _unknown(table, known)
        if not len(missing):
            continue
        missing = _outdated(missing, versions)
        names = [
            name
            for name in RESULT_COLUMNS
            if name in missing.columns
            or missing.shared[name] is not None  # no need to say that there is nothing
        ]
        insert_tuples(connection, _table, missing.rows(names), names=names)
        written.update(map(str, missing.column("analysis_id")))
        runs.update(map(str, set(missing.column("run_id"))))
    moment = to_micros(now)
    upsert(
        connection,
        schema.analysis_run,
        [
            {"dataset": ref.pk, "run_id": run_id, "written_at": moment, "told_at": None}
            for run_id in sorted(runs)
        ],
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
    return written


def _unknown(table: ResultTable, known: set[tuple[object, ...]]) -> ResultTable:
    """The first result of every identity that is not known; from then on it is."""
    identities = table.rows(_IDENTITY)
    if known.isdisjoint(identities) and len(set(identities)) == len(identities):
        known.update(identities)
        return table
    places: list[int] = []
    for place, identity in enumerate(identities):
        if identity not in known:
            known.add(identity)
            places.append(place)
    return table.of(places)


def _outdated(table: ResultTable, versions: Mapping[object, int]) -> ResultTable:
    """The same results, stale where new data has come while the analyzer was at work."""
    pairs = zip(table.column("profile_version"), table.column("bucket"), strict=True)
    outdated = [isinstance(seen, int) and seen < versions.get(bucket, 0) for seen, bucket in pairs]
    if not any(outdated):
        return table
    stale = [bool(was) or now for was, now in zip(table.column("stale"), outdated, strict=True)]
    return ResultTable(table.shared, {**table.columns, "stale": stale})


def _batch_versions(
    connection: Connection, ref: DatasetRef, tables: Sequence[ResultTable]
) -> dict[object, int]:
    """The profile version of every bucket that the results are about, by bucket in microseconds."""
    if not tables:
        return {}
    table, buckets = schema.batch, _buckets(tables)
    query = (
        sa.select(table.c.bucket, sa.func.max(table.c.version))
        .where(table.c.dataset == ref.pk, table.c.bucket.between(buckets[0], buckets[-1]))
        .group_by(table.c.bucket)
    )
    return dict(connection.execute(query).all())


def _buckets(tables: Sequence[ResultTable]) -> list[int]:
    return sorted(
        {bucket for table in tables for bucket in set(table.column("bucket")) if isinstance(bucket, int)}
    )


def _current(
    connection: Connection, ref: DatasetRef, tables: Sequence[ResultTable]
) -> set[tuple[object, ...]]:
    """Identities of the current results of the same analyzers and buckets."""
    if not tables:
        return set()
    buckets = _buckets(tables)
    query = sa.select(*(_table.c[name] for name in _IDENTITY)).where(
        _table.c.dataset == ref.pk,
        _table.c.state == CURRENT,
        _table.c.bucket.between(buckets[0], buckets[-1]),
        _table.c.analyzer_id.in_({one for table in tables for one in set(table.column("analyzer_id"))}),
    )
    return {tuple(row) for row in connection.execute(query)}


def _marks(tables: Sequence[ResultTable], evaluated: Iterable[Evaluated]) -> set[tuple[str, str, int]]:
    marks = {(analyzer_id, version, to_micros(bucket)) for analyzer_id, version, bucket in evaluated}
    for table in tables:
        for analyzer_id, version, bucket in set(table.rows(("analyzer_id", "analyzer_version", "bucket"))):
            assert isinstance(bucket, int)  # noqa: S101 - checked has made sure
            marks.add((str(analyzer_id), str(version), bucket))
    return marks


def _within(window: TimeRange | None) -> list[sa.ColumnElement[bool]]:
    if window is None:
        return []
    return [_table.c.bucket >= to_micros(window.start), _table.c.bucket < to_micros(window.end)]
