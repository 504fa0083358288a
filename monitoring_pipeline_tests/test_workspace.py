"""A workspace on disk: what loads, what is broken, and what an error says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitoring_pipeline.errors import DocumentError, UnknownDatasetError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace, load_catalog
from monitoring_pipeline_tests.workspaces import DATASET, DOCUMENT, make_workspace


def test_a_broken_dataset_does_not_take_the_others_down(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    broken = home / "datasets" / "broken"
    broken.mkdir()
    (broken / "dataset.yaml").write_text("id: broken\ngranularity: sometimes\n")

    catalog = load_catalog(home)

    assert list(catalog.datasets) == ["orders"]
    assert "sometimes" in str(catalog.broken["broken"])


def test_an_unknown_dataset_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    workspace = Workspace(Settings(home=make_workspace(tmp_path / "data", days=0)))

    with pytest.raises(UnknownDatasetError, match="did you mean 'orders'"):
        workspace.dataset("order")


def test_a_document_of_another_dataset_is_refused(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    (home / "datasets" / "orders" / "monitors.json").write_text(
        json.dumps({**DOCUMENT, "datasetId": "sales"})
    )

    error = load_catalog(home).broken["orders"]

    assert [problem.path for problem in error.problems] == ["$.datasetId"]


def test_a_document_of_another_granularity_is_refused(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET.replace("daily", "hourly"))

    assert [problem.path for problem in load_catalog(home).broken["orders"].problems] == ["$.granularity"]


def test_two_folders_with_one_id_are_refused(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    twin = home / "datasets" / "twin"
    twin.mkdir()
    (twin / "dataset.yaml").write_text(DATASET)

    assert isinstance(load_catalog(home).broken["twin"], DocumentError)


def test_applying_the_same_files_again_makes_no_new_version(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)

    with Workspace(Settings(home=home)) as workspace:
        first = workspace.apply("orders", author="ann")
        again = workspace.apply("orders", author="ben")

    assert {kind: (version.version, version.changed) for kind, version in first.items()} == {
        "dataset": (1, True),
        "monitors": (1, True),
    }
    assert {kind: (version.version, version.changed) for kind, version in again.items()} == {
        "dataset": (1, False),
        "monitors": (1, False),
    }
