"""Telling of a run: its incidents and its digests are written together, once, or not at all.

Whoever tells of a run reads the incidents as they are, changes them by what the run has found, and records what
monitors say about it. All of this and the note that it was done is one transaction, in which nobody else changes the
dataset: of two that want to tell of the same run one does, two that tell of different runs leave both their marks, and
one that dies leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.store import digests, incidents, schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.timegrid import TimeRange, to_micros


@dataclass(frozen=True)
class Telling:
    """What is to be written of a run: incidents and the ids of those that are merged, as for `save_incidents`, and
    digests, each with the names of its channels, as for `record_digest`."""

    incidents: Sequence[Mapping[str, object]]
    merged: Collection[str]
    digests: Sequence[tuple[Mapping[str, object], Sequence[str]]]


def tell_run(
    store: Store,
    ref: DatasetRef,
    run_id: str,
    tell: Callable[[Sequence[Mapping[str, object]]], Telling],
    *,
    window: TimeRange,
    now: datetime,
) -> set[str]:
    """Let `tell` say what is to be written of a run, write it, and note that the run has been told.

    `tell` gets the incidents that overlap the window or are open, each once; it must not use the store. It is not
    called when the run has been told already. Returns the keys of the digests that are new.
    """
    run = schema.analysis_run
    with store.begin() as connection:
        lock_dataset(connection, ref)
        told = connection.execute(
            sa.update(run)
            .where(run.c.dataset == ref.pk, run.c.run_id == run_id, run.c.told_at.is_(None))
            .values(told_at=to_micros(now))
        )
        if not told.rowcount:
            return set()
        near = [
            *incidents.incidents_in(connection, ref, window=window),
            *incidents.incidents_in(connection, ref, status="open"),
        ]
        telling = tell(list({str(record["id"]): record for record in near}.values()))
        incidents.save_in(connection, ref, telling.incidents, telling.merged, now=now)
        return {
            str(digest["dedup_key"])
            for digest, channels in telling.digests
            if digests.record(connection, ref, digest, channels, now=now)
        }
