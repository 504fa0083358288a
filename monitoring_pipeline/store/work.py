"""Work that is still to do, as the store sees it: what was profiled from which data, what failed, what is stale.

Lean queries for a sensor that asks every minute about hundreds of datasets: none of them reads a profile or a result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, upsert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.schema import CURRENT
from monitoring_pipeline.timegrid import TimeRange, from_micros, to_micros

_ERROR_LENGTH = 500


@dataclass(frozen=True)
class Failure:
    """Runs that failed on a bucket: what they were to do, how many there were, the last one and its error."""

    bucket: datetime
    work: str
    attempts: int
    run_id: str
    error: str
    failed_at: datetime


@dataclass(frozen=True)
class Profiled:
    """One bucket that was profiled: from which data, the how manieth time, and when."""

    bucket: datetime
    fingerprint: str
    version: int
    profiled_at: datetime


@dataclass(frozen=True)
class Stale:
    """Current results of a dataset that rest on data which has changed since: how many, and on which buckets."""

    results: int
    buckets: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Span:
    """The first and the last bucket that the store holds of a dataset."""

    first: datetime
    last: datetime


def span(store: Store, ref: DatasetRef) -> Span | None:
    """The buckets that the store holds of a dataset; None without any. Two seeks in the key, whatever their number."""
    table = schema.batch
    first, last = (
        sa.select(find(table.c.bucket)).where(table.c.dataset == ref.pk).scalar_subquery()
        for find in (sa.func.min, sa.func.max)
    )
    with store.read() as connection:
        found = connection.execute(sa.select(first, last)).one()
    return None if found[0] is None else Span(from_micros(found[0]), from_micros(found[1]))


def fingerprints(store: Store, ref: DatasetRef, window: TimeRange | None = None) -> dict[datetime, str]:
    """From which data each bucket's profile was made, by bucket; of a window or of all."""
    table, names = schema.batch, schema.segment
    overall = sa.select(names.c.pk).where(names.c.dataset == ref.pk, names.c.key == OVERALL).scalar_subquery()
    query = sa.select(table.c.bucket, table.c.fingerprint).where(
        table.c.dataset == ref.pk, table.c.segment == overall
    )
    if window is not None:
        query = query.where(table.c.bucket >= to_micros(window.start), table.c.bucket < to_micros(window.end))
    with store.read() as connection:
        return {from_micros(bucket): fingerprint for bucket, fingerprint in connection.execute(query)}


def profiled_since(store: Store, ref: DatasetRef, moment: datetime) -> tuple[int, list[Profiled]]:
    """How many buckets the store holds, and those that were profiled at or after a moment."""
    table, names = schema.batch, schema.segment
    overall = sa.select(names.c.pk).where(names.c.dataset == ref.pk, names.c.key == OVERALL).scalar_subquery()
    mine = (table.c.dataset == ref.pk, table.c.segment == overall)
    recent = sa.select(table.c.bucket, table.c.fingerprint, table.c.version, table.c.profiled_at).where(
        *mine, table.c.profiled_at >= to_micros(moment)
    )
    with store.read() as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(table).where(*mine)).scalar_one()
        return total, [
            Profiled(from_micros(bucket), fingerprint, version, from_micros(profiled_at))
            for bucket, fingerprint, version, profiled_at in connection.execute(recent)
        ]


def failures(store: Store, ref: DatasetRef) -> dict[datetime, Failure]:
    """Failed work of a dataset by bucket, ascending."""
    return all_failures(store, [ref]).get((ref.organisation, ref.dataset_id), {})


def all_failures(
    store: Store, refs: Collection[DatasetRef] | None = None
) -> dict[tuple[str, str], dict[datetime, Failure]]:
    """Failed work by (organisation, dataset id) and bucket, ascending; of some datasets or of all."""
    table, names = schema.failed_work, schema.dataset
    query = (
        sa.select(
            names.c.organisation,
            names.c.dataset_id,
            table.c.bucket,
            table.c.work,
            table.c.attempts,
            table.c.run_id,
            table.c.error,
            table.c.failed_at,
        )
        .join(names, names.c.pk == table.c.dataset)
        .order_by(table.c.dataset, table.c.bucket)
    )
    if refs is not None:
        query = query.where(table.c.dataset.in_({ref.pk for ref in refs}))
    found: dict[tuple[str, str], dict[datetime, Failure]] = {}
    with store.read() as connection:
        for owner, name, micros, work, attempts, run_id, error, failed_at in connection.execute(query):
            bucket = from_micros(micros)
            found.setdefault((owner, name), {})[bucket] = Failure(
                bucket, work, attempts, run_id, error, from_micros(failed_at)
            )
    return found


def record_failure(
    store: Store,
    ref: DatasetRef,
    work: Mapping[datetime, str],
    *,
    run_id: str,
    error: str,
    now: datetime,
) -> list[Failure]:
    """Note that a run failed with this work (by bucket) undone; return what is known of each bucket by then.

    The same run is counted once however often it is told of. Other work on the bucket than last time begins again at
    one attempt: the data or the document has changed.
    """
    table = schema.failed_work
    with store.begin() as connection:
        query = sa.select(table.c.bucket, table.c.work, table.c.attempts, table.c.run_id).where(
            table.c.dataset == ref.pk, table.c.bucket.in_([to_micros(bucket) for bucket in work])
        )
        known = {from_micros(row[0]): row[1:] for row in connection.execute(query)}
        noted: list[Failure] = []
        for bucket, what in sorted(work.items()):
            before_work, before, before_run = known.get(bucket, ("", 0, ""))
            same = before_work == what
            attempts = before if same and before_run == run_id else (before if same else 0) + 1
            noted.append(Failure(bucket, what, attempts, run_id, error[:_ERROR_LENGTH], now))
        upsert(
            connection,
            table,
            [
                {
                    "dataset": ref.pk,
                    "bucket": to_micros(one.bucket),
                    "work": one.work,
                    "attempts": one.attempts,
                    "run_id": one.run_id,
                    "error": one.error,
                    "failed_at": to_micros(now),
                }
                for one in noted
            ],
        )
    return noted


def forget_failures(store: Store, ref: DatasetRef, buckets: Collection[datetime]) -> None:
    """Forget failed work on buckets, because it has been done since or is not to be done any more."""
    table = schema.failed_work
    if not buckets:
        return
    with store.begin() as connection:
        connection.execute(
            sa.delete(table).where(table.c.dataset == ref.pk, table.c.bucket == sa.bindparam("moment")),
            [{"moment": to_micros(bucket)} for bucket in sorted(buckets)],
        )


def stale(store: Store) -> dict[tuple[str, str], Stale]:
    """Stale results of every dataset that has any, by (organisation, dataset id)."""
    table, names = schema.analyzer_result, schema.dataset
    query = (
        sa.select(
            names.c.organisation,
            names.c.dataset_id,
            sa.func.count(),
            sa.func.count(sa.distinct(table.c.bucket)),
            sa.func.min(table.c.bucket),
            sa.func.max(table.c.bucket),
        )
        .join(names, names.c.pk == table.c.dataset)
        .where(table.c.stale, table.c.state == CURRENT)
        .group_by(names.c.organisation, names.c.dataset_id)
    )
    with store.read() as connection:
        return {
            (owner, name): Stale(results, buckets, from_micros(first), from_micros(last))
            for owner, name, results, buckets, first, last in connection.execute(query)
        }
