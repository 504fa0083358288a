"""Partitions are buckets: one definition per granularity and first bucket, and the way from keys to buckets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

import dagster as dg

from monitoring_pipeline.timegrid import Granularity, utc


@cache
def partitions_for(granularity: Granularity, start: datetime) -> dg.TimeWindowPartitionsDefinition:
    """The buckets from `start` on; equal arguments share one object."""
    day = start.strftime("%Y-%m-%d")
    match granularity:
        case Granularity.QUARTER_HOURLY:
            return dg.TimeWindowPartitionsDefinition(
                cron_schedule="*/15 * * * *", start=start.strftime("%Y-%m-%d-%H:%M"), fmt="%Y-%m-%d-%H:%M"
            )
        case Granularity.HOURLY:
            return dg.HourlyPartitionsDefinition(start_date=start.strftime("%Y-%m-%d-%H:%M"))
        case Granularity.DAILY:
            return dg.DailyPartitionsDefinition(start_date=day)
        case Granularity.WEEKLY:
            return dg.WeeklyPartitionsDefinition(start_date=day, day_offset=1)
        case Granularity.MONTHLY:
            return dg.MonthlyPartitionsDefinition(start_date=day)


def buckets_of(partitions: dg.TimeWindowPartitionsDefinition, keys: Sequence[str]) -> dict[datetime, str]:
    """Bucket start → partition key, in the order of the keys."""
    return {utc(partitions.time_window_for_partition_key(key).start): key for key in keys}


def key_of(partitions: dg.TimeWindowPartitionsDefinition, bucket: datetime) -> str:
    """Partition key of a bucket."""
    return bucket.strftime(partitions.fmt)
