"""Many materialisations at once leave in Dagster's log what Dagster itself would have left one by one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.event_log import store_materializations

KEYS = [dg.AssetKey(["orders", name]) for name in ("profiles", "analyzer_results")]


def materializations(days: range) -> list[dg.AssetMaterialization]:
    return [
        dg.AssetMaterialization(
            key,
            partition=f"2026-03-{day:02}",
            metadata={"verdicts": day},
            tags={"dagster/data_version": f"v{day}"},
        )
        for key in KEYS
        for day in days
    ]


def rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the event log's files, without the moments at which they were written."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for file in sorted(folder.rglob("history/runs/*.db")):
        connection = sqlite3.connect(file)
        for table in ("event_logs", "asset_keys", "asset_event_tags"):
            wanted = [
                name
                for _, name, *_ in connection.execute(f"pragma table_info({table})")
                if "timestamp" not in name
            ]
            found[f"{file.name} {table}"] = [
                tuple(timeless(value) for value in row)
                for row in connection.execute(f"select {', '.join(wanted)} from {table}")  # noqa: S608
            ]
        connection.close()
    return found


def timeless(value: object) -> object:
    if not (isinstance(value, str) and value.startswith("{")):
        return value
    return json.dumps(
        json.loads(value, object_hook=lambda one: one | {"timestamp": 0} if "timestamp" in one else one)
    )


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[list[dg.DagsterInstance]]:
    for name in ("one by one", "at once"):
        (tmp_path / name).mkdir()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "one by one")) as first,
        dg.DagsterInstance.local_temp(str(tmp_path / "at once")) as second,
    ):
        yield [first, second]


def test_the_rows_are_those_of_dagster(tmp_path: Path, instances: list[dg.DagsterInstance]) -> None:
    one_by_one, at_once = instances
    for days in (range(1, 4), range(3, 6)):
        for one in materializations(days):
            one_by_one.report_runless_asset_event(one)
        store_materializations(at_once, materializations(days))

    expected, found = rows(tmp_path / "one by one"), rows(tmp_path / "at once")
    assert {name: len(content) for name, content in found.items()} == {
        ".db event_logs": 12,
        ".db asset_keys": 0,
        ".db asset_event_tags": 0,
        "index.db event_logs": 12,
        "index.db asset_keys": 2,
        "index.db asset_event_tags": 12,
    }
    assert found == expected


def test_dagster_reads_them_back(instances: list[dg.DagsterInstance]) -> None:
    store_materializations(instances[0], materializations(range(1, 4)))
    for key in KEYS:
        assert instances[0].get_materialized_partitions(key) == {"2026-03-01", "2026-03-02", "2026-03-03"}
        newest = instances[0].get_latest_materialization_event(key)
        assert newest is not None
        assert newest.asset_materialization is not None
        assert newest.asset_materialization.metadata["verdicts"].value == 3


def test_nothing_to_report_is_nothing(instances: list[dg.DagsterInstance]) -> None:
    store_materializations(instances[0], [])
    assert instances[0].all_asset_keys() == []
