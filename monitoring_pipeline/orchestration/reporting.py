"""Tell a Dagster instance what was done without it, so that its pages show it.

One runless materialisation for each partition that the store holds and Dagster has not seen in this version. Nothing
is computed here, and reporting twice, or stopping in the middle, does no harm.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from monitoring_pipeline import overview, readiness
from monitoring_pipeline.orchestration.assets import asset_key
from monitoring_pipeline.orchestration.partitions import key_of, partitions_for
from monitoring_pipeline.store import profiles
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace

VERDICTS_AT_ONCE = 1_000
"""Buckets whose verdicts are counted in one query."""


@contextmanager
def instance_here() -> Iterator[dg.DagsterInstance | None]:
    """The instance that DAGSTER_HOME names, or the one of a `dagster.yaml` in this folder; None where there is none."""
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            yield instance
    elif Path("dagster.yaml").exists():
        with dg.DagsterInstance.from_config(".") as instance:
            yield instance
    else:
        yield None


def report_partitions(
    instance: dg.DagsterInstance,
    workspace: Workspace,
    dataset_id: str,
    window: TimeRange,
    *,
    progress: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Report profiled buckets of a window that Dagster does not know in their present version; returns how many.

    Two events for each partition, `profiles` and `analyzer_results`, about 10 ms apiece on SQLite. Ends early, between
    two partitions, once `stopped` says so.
    """
    granularity = workspace.dataset(dataset_id).spec.granularity
    partitions = partitions_for(granularity, readiness.first_bucket(workspace, dataset_id))
    keys = {name: asset_key(dataset_id, name) for name in ("profiles", "analyzer_results")}
    known = instance.get_materialized_partitions(keys["analyzer_results"])
    todo = [
        batch
        for batch in profiles.batches(workspace.store, workspace.ref(dataset_id), window)
        if batch.version > 1 or key_of(partitions, batch.bucket) not in known
    ]
    for first in range(0, len(todo), VERDICTS_AT_ONCE):
        part = todo[first : first + VERDICTS_AT_ONCE]
        shown = overview.verdicts(workspace, dataset_id, [batch.bucket for batch in part])
        verdicts = Counter(one.bucket for one in shown)
        anomalies = Counter(one.bucket for one in shown if one.anomaly_count)
        for place, batch in enumerate(part, start=first + 1):
            if stopped():
                return place - 1
            key, tags = key_of(partitions, batch.bucket), {"dagster/data_version": batch.fingerprint[:63]}
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    keys["profiles"],
                    partition=key,
                    metadata={"dagster/partition_row_count": batch.rows, "load": batch.version},
                    tags=tags,
                )
            )
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    keys["analyzer_results"],
                    partition=key,
                    metadata={"verdicts": verdicts[batch.bucket], "anomalies": anomalies[batch.bucket]},
                    tags=tags,
                )
            )
            if progress is not None:
                progress(place, len(todo))
    return len(todo)
