"""Many materialisations at once into Dagster's event log: what `report_runless_asset_event` writes, in few transactions.

Dagster's SQLite log opens a connection, compiles its statements and commits, twice for each event: 10 ms apiece, nine
minutes for three years of hours. Its PostgreSQL log has a batch of its own; other storages store one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage


def store_materializations(
    instance: dg.DagsterInstance, materializations: Sequence[dg.AssetMaterialization]
) -> None:
    """Report materialisations that no run has made. Those of one asset are one batch; assets in order of appearance."""
    by_asset: dict[dg.AssetKey, list[dg.EventLogEntry]] = {}
    for one in materializations:
        by_asset.setdefault(one.asset_key, []).append(_entry(one))
    storage = _batching(instance.event_log_storage)
    for entries in by_asset.values():
        storage.store_event_batch(entries)


def _entry(materialization: dg.AssetMaterialization) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None,
        level="INFO",
        user_message="",
        run_id=RUNLESS_RUN_ID,
        timestamp=time.time(),
        job_name=RUNLESS_JOB_NAME,
        dagster_event=DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            event_specific_data=StepMaterializationData(materialization),
            job_name=RUNLESS_JOB_NAME,
        ),
    )


def _batching(storage: EventLogStorage) -> EventLogStorage:
    if type(storage) is SqliteEventLogStorage:
        return _over(Path(storage.path_for_shard("index")).parent)
    return storage


@cache
def _over(folder: Path) -> EventLogStorage:
    """One object for each folder: a new one checks its files' migrations before it writes, for a quarter of a second."""
    return _BatchingEventLog(str(folder))


class _BatchingEventLog(SqliteEventLogStorage):
    """Dagster's own SQLite event log, over the same files, with a batch that is one transaction in each of them."""

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store materialisations of one asset outside any run, in the order and with the rows of `store_event`."""
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(RUNLESS_RUN_ID) as connection:
            for statement in statements:
                connection.execute(statement)
        with self.index_transaction() as connection:
            keys = [connection.execute(statement).inserted_primary_key for statement in statements]
            ids = [key[0] for key in keys if key is not None]
            self._store_asset_event_tags(connection, events, ids)
            # The asset's row names its last event only.
            self._store_asset_event(connection, events[-1], ids[-1])
