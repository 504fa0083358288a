"""Anomalies that a monitor will tell of when its schedule comes, and up to when it has spoken.

They are held here from the moment at which they are found, in the transaction that tells of their run, and let go in
the transaction that records the digest which tells of them: each is told once, whoever dies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import digests, incidents, schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.timegrid import TimeRange, from_micros, to_micros

_held, _spoken = schema.held_anomaly, schema.monitor_spoken


@dataclass(frozen=True)
class Held:
    """One anomaly that a monitor has still to tell of: the verdict's id, and its bucket."""

    monitor_id: str
    analysis_id: str
    bucket: datetime


@dataclass(frozen=True)
class HeldBack:
    """What is held back of a dataset, oldest bucket first, and the last moment of each monitor that has passed."""

    anomalies: tuple[Held, ...] = ()
    spoken: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """What is to be written: digests with the names of their channels, what is held no longer, moments that passed."""

    digests: Sequence[tuple[Mapping[str, object], Sequence[str]]]
    done: Collection[Held]
    spoken: Mapping[str, datetime]
    forgotten: Collection[str] = ()
    """Monitors that do not exist any more."""


def hold(connection: Connection, ref: DatasetRef, anomalies: Sequence[Held], *, now: datetime) -> None:
    """Hold anomalies back, inside a transaction; one that is held already stays as it is."""
    rows = [
        {
            "dataset": ref.pk,
            "monitor_id": one.monitor_id,
            "analysis_id": one.analysis_id,
            "bucket": to_micros(one.bucket),
            "found": to_micros(now),
        }
        for one in anomalies
    ]
    if rows:
        connection.execute(insert(connection, _held).on_conflict_do_nothing(), rows)


def held_back(store: Store, ref: DatasetRef) -> HeldBack:
    """What is held back of a dataset now."""
    with store.read() as connection:
        return _read(connection, ref)


def waiting(store: Store) -> set[str]:
    """The ids of the datasets of which anything is held back, of all organisations."""
    held = sa.select(_held.c.dataset).distinct()
    query = sa.select(schema.dataset.c.dataset_id).where(schema.dataset.c.pk.in_(held))
    with store.read() as connection:
        return set(connection.execute(query).scalars())


def release(
    store: Store,
    ref: DatasetRef,
    tell: Callable[[HeldBack, Sequence[Mapping[str, object]]], Release],
    *,
    window: TimeRange,
    now: datetime,
) -> set[str]:
    """Let `tell` say what is told of what is held back, and write it, in one transaction.

    `tell` gets what is held back and the incidents that overlap the window or are open, each once; it must not use the
    store. Returns the keys of the digests that are new.
    """
    with store.begin() as connection:
        lock_dataset(connection, ref)
        near = [
            *incidents.incidents_in(connection, ref, window=window),
            *incidents.incidents_in(connection, ref, status="open"),
        ]
        told = tell(_read(connection, ref), list({str(record["id"]): record for record in near}.values()))
        recorded = {
            str(digest["dedup_key"])
            for digest, channels in told.digests
            if digests.record(connection, ref, digest, channels, now=now)
        }
        _let_go(connection, ref, told.done)
        for monitor_id, moment in told.spoken.items():
            statement = insert(connection, _spoken).values(
                dataset=ref.pk, monitor_id=monitor_id, moment=to_micros(moment)
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["dataset", "monitor_id"], set_={"moment": to_micros(moment)}
                )
            )
        for monitor_id in told.forgotten:
            for table in (_held, _spoken):
                connection.execute(
                    sa.delete(table).where(table.c.dataset == ref.pk, table.c.monitor_id == monitor_id)
                )
        return recorded


def _read(connection: Connection, ref: DatasetRef) -> HeldBack:
    anomalies = sa.select(_held.c.monitor_id, _held.c.analysis_id, _held.c.bucket).where(
        _held.c.dataset == ref.pk
    )
    spoken = sa.select(_spoken.c.monitor_id, _spoken.c.moment).where(_spoken.c.dataset == ref.pk)
    return HeldBack(
        tuple(
            Held(monitor_id, analysis_id, from_micros(bucket))
            for monitor_id, analysis_id, bucket in connection.execute(
                anomalies.order_by(_held.c.bucket, _held.c.monitor_id, _held.c.analysis_id)
            )
        ),
        {monitor_id: from_micros(moment) for monitor_id, moment in connection.execute(spoken)},
    )


def _let_go(connection: Connection, ref: DatasetRef, done: Collection[Held]) -> None:
    rows = [{"monitor": one.monitor_id, "analysis": one.analysis_id} for one in done]
    if rows:
        connection.execute(
            sa.delete(_held).where(
                _held.c.dataset == ref.pk,
                _held.c.monitor_id == sa.bindparam("monitor"),
                _held.c.analysis_id == sa.bindparam("analysis"),
            ),
            rows,
        )
