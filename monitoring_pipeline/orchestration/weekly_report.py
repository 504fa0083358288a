"""The `weekly_report` asset: the review of each week over all datasets, one HTML file a week in the workspace.

A partition is a week, so that a past one can be written again after results have changed. It goes once to each channel
that `channels.yaml` names under `routes: report:`.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg

from monitoring_pipeline.orchestration.assets import asset_key
from monitoring_pipeline.orchestration.partitions import partitions_for
from monitoring_pipeline.orchestration.schedules import report_schedule
from monitoring_pipeline.reports import (
    Period,
    Report,
    build_report,
    report_channels,
    send_report,
    write_report,
)
from monitoring_pipeline.timegrid import Granularity, TimeRange, utc
from monitoring_pipeline.workspace import Workspace

WEEKLY_REPORT = dg.AssetKey(["weekly_report"])
REPORT_JOB = "write_weekly_report"
_RETRIES, _RETRY_SECONDS = 6, 600


def report_definitions(starts: Mapping[str, datetime]) -> dg.Definitions:
    """The asset, its job and its schedule over the datasets whose first buckets are given; nothing without any."""
    if not starts:
        return dg.Definitions()
    partitions = partitions_for(Granularity.WEEKLY, Granularity.WEEKLY.floor(min(starts.values())))
    job = dg.define_asset_job(
        REPORT_JOB,
        selection=dg.AssetSelection.assets(WEEKLY_REPORT),
        description="Write the report of a week.",
    )
    return dg.Definitions(
        assets=[_asset(starts, partitions)], jobs=[job], schedules=[report_schedule(job, partitions)]
    )


def _asset(
    starts: Mapping[str, datetime], partitions: dg.TimeWindowPartitionsDefinition
) -> dg.AssetsDefinition:
    @dg.asset(
        key=WEEKLY_REPORT,
        deps=[
            # Of all partitions: a week has none of a dataset that began later, or whose buckets are months.
            dg.AssetDep(asset_key(dataset_id, "analyzer_results"), partition_mapping=dg.AllPartitionMapping())
            for dataset_id in starts
        ],
        group_name="workspace",
        kinds={"python", "html"},
        description="Drift, quality, performance and incidents of the week, against the week before, as one HTML file.",
        partitions_def=partitions,
    )
    def weekly_report(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        window = context.partition_time_window
        report = build_report(workspace, Period(TimeRange(utc(window.start), utc(window.end))))
        path = (workspace.home / "reports" / report.file_name).resolve()
        write_report(report, path)
        _send(context, workspace, report, path)
        return dg.MaterializeResult(metadata=_metadata(report, str(path)))

    return weekly_report


def _send(context: dg.AssetExecutionContext, workspace: Workspace, report: Report, path: Path) -> None:
    """Send it to those who are to get it and have not; a week that is written again is not sent again."""
    sent = send_report(workspace, report, path, report_channels(workspace))
    for one in sent:
        (context.log.warning if one.problem else context.log.info)(one.words)
    failed = [one for one in sent if one.problem]
    if (
        failed
        and context.op_execution_context.retry_number < _RETRIES
        and not all(one.permanent for one in failed)
    ):
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_RETRY_SECONDS)
    if failed:
        raise dg.Failure(
            description=f"the report is written and was not sent: {failed[0].words}",
            allow_retries=False,
            metadata={"path": dg.MetadataValue.path(str(path))},
        )


def _metadata(report: Report, path: str) -> Mapping[str, dg.MetadataValue | int | str]:
    return {
        "headline": report.headline,
        "path": dg.MetadataValue.path(path),
        "bytes": report.size,
        "datasets": report.datasets,
        "datasets that cannot be read": report.broken,
        "open incidents": report.open_incidents,
        "resolved incidents": report.resolved,
        "summary": dg.MetadataValue.md(f"```\n{report.text}```"),
    }
