"""Tell a Dagster instance what was done without it, so that its pages show it.

One runless materialisation for each partition that the store holds and Dagster has not seen in this version. Nothing
is computed here, and reporting twice, or stopping in the middle, does no harm.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg

from monitoring_pipeline import overview, readiness
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.links import Links, partition_key
from monitoring_pipeline.orchestration import metadata
from monitoring_pipeline.orchestration.assets import asset_key
from monitoring_pipeline.orchestration.event_log import store_materializations
from monitoring_pipeline.orchestration.partitions import partitions_for
from monitoring_pipeline.store import profiles
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace

AT_ONCE = 500
"""Partitions that are told in one batch: a second or two."""


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
    at_once: int = AT_ONCE,
) -> int:
    """Report profiled buckets of a window that Dagster does not know in their present version; returns how many.

    Two events for each partition, `profiles` and `analyzer_results`, 3 ms together on SQLite. Ends early, between two
    batches of `at_once` partitions, once `stopped` says so.
    """
    granularity = workspace.dataset(dataset_id).spec.granularity
    partitions = partitions_for(granularity, readiness.first_bucket(workspace, dataset_id))
    known = instance.get_materialized_partitions(asset_key(dataset_id, "analyzer_results"))
    todo = [
        batch
        for batch in profiles.batches(workspace.store, workspace.ref(dataset_id), window)
        if batch.version > 1 or partition_key(granularity, batch.bucket) not in known
    ]
    told = 0
    while told < len(todo) and not stopped():
        part = todo[told : told + at_once]
        store_materializations(
            instance, [*_profiled(workspace, dataset_id, part), *_analysed(workspace, dataset_id, part)]
        )
        told += len(part)
        if progress is not None:
            progress(told, len(todo))
    for name in ("profiles", "analyzer_results"):
        # Dagster works out a page's partition bars when somebody looks, from all events; now it only adds what is new.
        instance.get_status_by_partition(asset_key(dataset_id, name), [], partitions)
    return told


def _profiled(
    workspace: Workspace, dataset_id: str, part: Sequence[profiles.BatchRow]
) -> Iterator[dg.AssetMaterialization]:
    """Of each bucket its profile, with the numbers that are plotted over partitions."""
    spec, links = workspace.dataset(dataset_id).spec, Links.of(workspace.settings)
    plotted = overview.key_metrics(workspace, dataset_id, [batch.bucket for batch in part])
    for batch in part:
        yield dg.AssetMaterialization(
            asset_key(dataset_id, "profiles"),
            partition=partition_key(spec.granularity, batch.bucket),
            metadata={
                "dagster/partition_row_count": batch.rows,
                **plotted.get(batch.bucket, {}),
                "load": batch.version,
                **metadata.links_of_profile(links, spec, batch.bucket),
            },
            tags=_version(batch),
        )


def _analysed(
    workspace: Workspace, dataset_id: str, part: Sequence[profiles.BatchRow]
) -> Iterator[dg.AssetMaterialization]:
    """Of each bucket its verdicts, counted, and the worst."""
    spec, links = workspace.dataset(dataset_id).spec, Links.of(workspace.settings)
    by_bucket: defaultdict[datetime, list[AnalyzerResult]] = defaultdict(list)
    for one in overview.verdicts(workspace, dataset_id, [batch.bucket for batch in part]):
        by_bucket[one.bucket].append(one)
    for batch in part:
        yield dg.AssetMaterialization(
            asset_key(dataset_id, "analyzer_results"),
            partition=partition_key(spec.granularity, batch.bucket),
            metadata={
                **metadata.of_results(batch.bucket, by_bucket[batch.bucket]),
                **metadata.links_of_results(links, spec, batch.bucket),
            },
            tags=_version(batch),
        )


def _version(batch: profiles.BatchRow) -> dict[str, str]:
    """The tag by which Dagster tells one load of a partition from another."""
    return {"dagster/data_version": batch.fingerprint[:63]}
