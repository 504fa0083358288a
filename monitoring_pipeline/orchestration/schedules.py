"""What happens by the calendar: each schedule is a cron line in UTC, and says what it asks for. Data decides the rest."""

from __future__ import annotations

from typing import Any

import dagster as dg

from monitoring_pipeline.orchestration.jobs import remove_old_profiles
from monitoring_pipeline.orchestration.partitions import key_of
from monitoring_pipeline.reports import Period
from monitoring_pipeline.timegrid import utc


def report_schedule(
    job: Any,  # Dagster has no public name for what `define_asset_job` returns
    partitions: dg.TimeWindowPartitionsDefinition,
) -> dg.ScheduleDefinition:
    """Mondays at 06:00 the report of the week that is over; a week that has been asked for is not asked for again."""

    @dg.schedule(
        name="weekly_report",
        job=job,
        cron_schedule="0 6 * * 1",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Writes the report of the week that is over.",
    )
    def weekly_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = utc(context.scheduled_execution_time)
        period = Period.last_week(now)
        key = key_of(partitions, period.range.start)
        if key not in partitions.get_partition_keys(current_time=now):
            return dg.SkipReason(f"{period.name} was over before any dataset began")
        return dg.RunRequest(run_key=period.name, partition_key=key)

    return weekly_report


def retention_schedule() -> dg.ScheduleDefinition:
    """Every day at 03:30, when hardly anybody looks."""
    return dg.ScheduleDefinition(
        name="retention",
        job=remove_old_profiles,
        cron_schedule="30 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes what the datasets' `retention` does not keep; nothing unless something says so.",
    )
