"""The assets of one dataset: batches → profiles → analyzer results, partitioned by its buckets.

`batches` is external: the readiness sensor reports what has arrived. `analyzer_results` depends on the window of
profile partitions that its baselines need. Results, digests and incidents live in the store; what a person wants to
see of a partition is on its materialisation.
"""

import warnings
from datetime import datetime, timedelta

import dagster as dg

from monitoring_pipeline import overview, pipeline
from monitoring_pipeline.analysis.reach import buckets_before
from monitoring_pipeline.links import AssetName, Links, slug
from monitoring_pipeline.orchestration import metadata
from monitoring_pipeline.orchestration.checks import check_results, check_specs
from monitoring_pipeline.orchestration.partitions import buckets_of, partitions_for
from monitoring_pipeline.readiness import BUCKETS_PER_RUN
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

DATASET_TAG = "monitoring/dataset"

_GRANULES = {
    Granularity.QUARTER_HOURLY: timedelta(minutes=15),
    Granularity.HOURLY: timedelta(hours=1),
    Granularity.DAILY: timedelta(days=1),
    Granularity.WEEKLY: timedelta(weeks=1),
    Granularity.MONTHLY: timedelta(days=31),
}

# The one beta parameter that we use, and one that Dagster passes to itself.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*(backfill_policy|owners).*")


def job_name(dataset_id: str) -> str:
    """The job that profiles and analyses a dataset's partitions."""
    return f"monitor_{slug(dataset_id)}"


def asset_key(dataset_id: str, name: AssetName) -> dg.AssetKey:
    """Key of one of a dataset's assets."""
    return dg.AssetKey([slug(dataset_id), name])


def freshness_of(granularity: Granularity) -> dg.FreshnessPolicy:
    """When a dataset's assets count as late: a bucket is over, and another one nearly, without anything new."""
    granule = _GRANULES[granularity]
    return dg.FreshnessPolicy.time_window(warn_window=2 * granule, fail_window=4 * granule)


def dataset_definitions(dataset: MonitoredDataset, *, start: datetime) -> dg.Definitions:
    """Assets, checks and job of one dataset, whose first bucket is `start`."""
    spec, document = dataset.spec, dataset.document
    partitions = partitions_for(spec.granularity, start)
    batches_key, profiles_key, results_key = (
        asset_key(spec.id, "batches"),
        asset_key(spec.id, "profiles"),
        asset_key(spec.id, "analyzer_results"),
    )
    group, owners = slug(spec.id), [spec.owner] if spec.owner else None
    tags = {"granularity": spec.granularity.value.lower()}
    chunks = dg.BackfillPolicy.multi_run(BUCKETS_PER_RUN[spec.granularity])

    fresh = freshness_of(spec.granularity)

    batches = dg.AssetSpec(
        batches_key,
        description=spec.description or f"Batches of {spec.id} as they arrive.",
        kinds={spec.source.format or "file"},
        metadata={"source": ", ".join(spec.source.path)},
        tags=tags,
        partitions_def=partitions,
        group_name=group,
        owners=owners,
        freshness_policy=fresh,
    )

    @dg.asset(
        key=profiles_key,
        deps=[batches],
        description="Mergeable profiles of each bucket, per column and segment: counts, moments and sketches, no raw rows.",
        kinds={"python"},
        tags=tags,
        partitions_def=partitions,
        group_name=group,
        owners=owners,
        freshness_policy=fresh,
        backfill_policy=chunks,
    )
    def profiles(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        keys = buckets_of(partitions, context.partition_keys)
        report = pipeline.profile_batch(workspace, spec.id, list(keys))
        for note in pipeline.roll_up(workspace, spec.id).notes(spec.id):
            context.log.warning(note)
        plotted = overview.key_metrics(workspace, spec.id, [bucket.bucket for bucket in report.buckets])
        links = Links.of(workspace.settings)
        for bucket in report.buckets:
            shown = {
                **metadata.of_profile(bucket, plotted.get(bucket.bucket, {})),
                **metadata.links_of_profile(links, spec, bucket.bucket),
            }
            context.add_asset_metadata(shown, asset_key=profiles_key, partition_key=keys[bucket.bucket])
        columns = metadata.of_columns(workspace.entity_schema(spec.id), batches_key)
        return dg.MaterializeResult(metadata={**metadata.of_profiling(report), **columns})

    @dg.asset(
        key=results_key,
        deps=[
            dg.AssetDep(
                profiles,
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=-_baseline_buckets(dataset), end_offset=0
                ),
            )
        ],
        description="Verdicts of every analyzer on each bucket, against its baseline.",
        kinds={"python"},
        tags=tags,
        check_specs=check_specs(document.monitors, results_key),
        partitions_def=partitions,
        group_name=group,
        owners=owners,
        freshness_policy=fresh,
        backfill_policy=chunks,
    )
    def analyzer_results(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        keys = buckets_of(partitions, context.partition_keys)
        analyzed = pipeline.analyze_batch(workspace, spec.id, list(keys), run_id=_run_id(context))
        notified = pipeline.notify(workspace, spec.id)
        shown = overview.verdicts(workspace, spec.id, list(keys))
        links = Links.of(workspace.settings)
        for bucket, key in keys.items():
            told = {**metadata.of_results(bucket, shown), **metadata.links_of_results(links, spec, bucket)}
            context.add_asset_metadata(told, asset_key=results_key, partition_key=key)
        return dg.MaterializeResult(
            metadata={
                **metadata.of_analysis(analyzed, notified, shown),
                **metadata.of_columns(workspace.entity_schema(spec.id), profiles_key),
            },
            check_results=check_results(document, shown, links=links),
        )

    job = dg.define_asset_job(
        job_name(spec.id),
        selection=dg.AssetSelection.assets(profiles_key, results_key),
        description=f"Profile and analyse buckets of {spec.id}.",
        tags={DATASET_TAG: spec.id},
    )
    return dg.Definitions(assets=[batches, profiles, analyzer_results], jobs=[job])


def _run_id(context: dg.AssetExecutionContext) -> str:
    """Dagster's run; a retried step judges under a name of its own."""
    retries = context.op_execution_context.retry_number
    return f"{context.run.run_id}-{retries}" if retries else context.run.run_id


def _baseline_buckets(dataset: MonitoredDataset) -> int:
    """Buckets before a target that its analyzers look at."""
    return max((buckets_before(analyzer) for analyzer in dataset.document.analyzers), default=0)
