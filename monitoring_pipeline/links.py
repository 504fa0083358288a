"""Where a person can look further: addresses of pages in the Dagster UI and on the dashboard. Text only, from settings.

Dagster's names of assets and partitions are made here and used by its face as well, so that links and assets agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self
from urllib.parse import quote, urlencode

from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import Granularity

AssetName = Literal["batches", "profiles", "analyzer_results"]


def slug(name: str) -> str:
    """A dataset or monitor id as Dagster accepts it in keys, groups and check names."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def partition_key(granularity: Granularity, bucket: datetime) -> str:
    """A bucket's partition: `2026-03-01`, with `-05:00` where buckets are shorter than a day."""
    within_a_day = granularity in (Granularity.HOURLY, Granularity.QUARTER_HOURLY)
    return bucket.strftime("%Y-%m-%d-%H:%M" if within_a_day else "%Y-%m-%d")


@dataclass(frozen=True)
class Links:
    """Addresses under the two bases, which end without a slash; no dashboard, no link to it."""

    dagster: str
    dashboard: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The bases that the settings name."""
        dashboard = settings.dashboard_url
        return cls(settings.dagster_url.rstrip("/"), dashboard.rstrip("/") if dashboard else None)

    def asset(self, dataset_id: str, name: AssetName) -> str:
        """The page of one of a dataset's assets."""
        return f"{self.dagster}/assets/{slug(dataset_id)}/{name}"

    def checks(self, dataset_id: str) -> str:
        """The page with the checks, one for each monitor, of a dataset."""
        return f"{self.asset(dataset_id, 'analyzer_results')}?view=checks"

    def bucket(
        self,
        dataset_id: str,
        granularity: Granularity,
        bucket: datetime,
        *,
        name: AssetName = "analyzer_results",
    ) -> str:
        """The page of an asset with the partition of a bucket opened."""
        partition = quote(partition_key(granularity, bucket), safe="")
        return f"{self.asset(dataset_id, name)}?view=partitions&partition={partition}"

    def on_dashboard(self, dataset_id: str, bucket: datetime | None = None) -> str | None:
        """The dashboard on a dataset, at the moment of a bucket; None where there is no dashboard."""
        if self.dashboard is None:
            return None
        wanted = {"dataset": dataset_id} | ({"bucket": bucket.isoformat()} if bucket else {})
        return f"{self.dashboard}/?{urlencode(wanted)}"
