"""The code location: what people find in the Dagster UI."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DATASET, make_workspace


def definitions_of(home: Path) -> dg.Definitions:
    return build_definitions(WorkspaceResource(home=str(home)), Settings(home=home))


def test_a_dataset_has_a_group_of_partitioned_assets_with_its_owner(tmp_path: Path) -> None:
    definitions = definitions_of(make_workspace(tmp_path / "data", days=0))
    dg.Definitions.validate_loadable(definitions)

    specs = {
        spec.key.path[-1]: spec
        for spec in definitions.resolve_all_asset_specs()
        if spec.group_name == "orders"
    }

    assert set(specs) == {"batches", "profiles", "analyzer_results"}
    assert {tuple(spec.owners) for spec in specs.values()} == {("team:shop",)}
    assert all(isinstance(spec.partitions_def, dg.DailyPartitionsDefinition) for spec in specs.values())
    assert specs["batches"].description == "Orders of a small shop"


def test_assets_are_late_when_nothing_new_has_come_for_some_granules(tmp_path: Path) -> None:
    definitions = definitions_of(make_workspace(tmp_path / "data", days=0))

    specs = [spec for spec in definitions.resolve_all_asset_specs() if spec.group_name == "orders"]

    expected = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=2), fail_window=timedelta(days=4))
    assert [spec.freshness_policy for spec in specs] == [expected] * 3


def test_the_results_depend_on_the_window_of_profiles_that_baselines_need(tmp_path: Path) -> None:
    definitions = definitions_of(make_workspace(tmp_path / "data", days=0))

    specs = {spec.key.path[-1]: spec for spec in definitions.resolve_all_asset_specs()}
    (dependency,) = specs["analyzer_results"].deps

    assert dependency.asset_key == specs["profiles"].key
    assert isinstance(dependency.partition_mapping, dg.TimeWindowPartitionMapping)
    assert (dependency.partition_mapping.start_offset, dependency.partition_mapping.end_offset) == (-7, 0)


def test_each_monitor_is_an_asset_check(tmp_path: Path) -> None:
    definitions = definitions_of(make_workspace(tmp_path / "data", days=0))

    checks = definitions.resolve_asset_graph().asset_check_keys

    assert dg.AssetCheckKey(dg.AssetKey(["orders", "analyzer_results"]), "orders_volume_monitor") in checks


@pytest.mark.parametrize(
    ("granularity", "partitions"),
    [
        ("PT15M", dg.TimeWindowPartitionsDefinition),
        ("hourly", dg.HourlyPartitionsDefinition),
        ("daily", dg.DailyPartitionsDefinition),
        ("weekly", dg.WeeklyPartitionsDefinition),
        ("monthly", dg.MonthlyPartitionsDefinition),
    ],
)
def test_partitions_are_the_buckets_of_the_granularity(
    tmp_path: Path, granularity: str, partitions: type
) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET.replace("daily", granularity))
    (home / "datasets" / "orders" / "monitors.json").unlink()

    specs = {spec.key.path[-1]: spec for spec in definitions_of(home).resolve_all_asset_specs()}

    assert isinstance(specs["profiles"].partitions_def, partitions)


def test_ids_that_look_the_same_to_dagster_are_refused(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    for name in ("web-orders", "web.orders"):
        folder = home / "datasets" / name
        folder.mkdir()
        (folder / "dataset.yaml").write_text(DATASET.replace("id: orders", f"id: {name}"))

    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"web-orders.*web\.orders"):
        definitions_of(home)


def test_a_broken_dataset_is_left_out_and_named_by_a_failing_check(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    broken = home / "datasets" / "broken"
    broken.mkdir()
    (broken / "dataset.yaml").write_text("id: broken\n")

    definitions = definitions_of(home)
    groups = {spec.group_name for spec in definitions.resolve_all_asset_specs()}
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    documents = next(asset for asset in assets if asset.key == dg.AssetKey("monitor_documents"))
    result = dg.materialize([documents], resources=definitions.resources)

    assert groups == {"orders", "workspace"}
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "broken" in str(check.metadata["broken"].value)


def test_loading_notes_the_documents_in_the_store(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    definitions_of(home)

    with Workspace(Settings(home=home)) as workspace:
        again = workspace.apply("orders")

    assert {kind: (version.version, version.changed) for kind, version in again.items()} == {
        "dataset": (1, False),
        "monitors": (1, False),
    }


def test_partitions_begin_where_the_data_begins_before_anything_has_run(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET.replace("start: 2026-03-01\n", ""))

    specs = {spec.key.path[-1]: spec for spec in definitions_of(home).resolve_all_asset_specs()}
    partitions = specs["profiles"].partitions_def

    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    assert partitions.get_first_partition_key() == "2026-03-01"
