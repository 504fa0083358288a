"""Links lead to the page that shows what they are about."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring_pipeline import pipeline
from monitoring_pipeline.links import Links, partition_key
from monitoring_pipeline.orchestration.assets import asset_key
from monitoring_pipeline.orchestration.partitions import key_of, partitions_for
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import make_workspace

HOUR = datetime(2026, 3, 16, 5, tzinfo=UTC)


@pytest.mark.parametrize("granularity", Granularity)
def test_a_link_names_assets_and_partitions_as_dagster_does(granularity: Granularity) -> None:
    bucket = granularity.floor(HOUR)
    start = granularity.shift(bucket, -3)
    assert partition_key(granularity, bucket) == key_of(partitions_for(granularity, start), bucket)

    page = Links("http://here").asset("my-orders", "profiles")
    assert page == "http://here/assets/" + "/".join(asset_key("my-orders", "profiles").path)


def test_a_bucket_of_an_hour_is_quoted() -> None:
    link = Links("http://here").bucket("visits", Granularity.HOURLY, HOUR)
    assert link == "http://here/assets/visits/analyzer_results?view=partitions&partition=2026-03-16-05%3A00"


def test_without_a_dashboard_there_is_no_link_to_one() -> None:
    assert Links.of(Settings()).on_dashboard("orders") is None
    there = Links.of(Settings(dashboard_url="https://board.example/"))
    assert there.on_dashboard("my orders") == "https://board.example/?dataset=my+orders"
    assert (
        there.on_dashboard("orders", HOUR)
        == "https://board.example/?dataset=orders&bucket=2026-03-16T05%3A00%3A00%2B00%3A00"
    )


@pytest.mark.parametrize(
    ("dashboard", "link"),
    [
        (None, "https://dagster.example/assets/orders/analyzer_results?view=partitions&partition=2026-03-18"),
        (
            "https://board.example",
            "https://board.example/?dataset=orders&bucket=2026-03-18T00%3A00%3A00%2B00%3A00",
        ),
    ],
)
def test_a_digest_leads_to_the_newest_bucket_that_it_tells_of(
    tmp_path: Path, dashboard: str | None, link: str
) -> None:
    home = make_workspace(tmp_path / "data", days=20, few_rows_on=15, nulls_on=17)
    settings = Settings(
        home=home,
        dagster_url="https://dagster.example/",
        dashboard_url=dashboard,
    )
    with Workspace(settings) as workspace:
        pipeline.profile_batch(workspace, "orders")
        pipeline.analyze_batch(workspace, "orders")
        [digest] = pipeline.notify(workspace, "orders").digests
        assert digest.link == link
