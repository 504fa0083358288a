"""The example of docs/analyzers.md, word for word: it loads, keeps the contract and finds an anomaly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.engine import unable
from monitoring_pipeline.config import plug_ins
from monitoring_pipeline.config.analyzers import parse_config
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.testing import check_analyzer
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import load, one, run

GUIDE = Path(__file__).parents[2] / "docs" / "analyzers.md"


def example(language: str) -> str:
    """The first block of the guide in a language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)[0]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "analyzers").mkdir()
    (tmp_path / "analyzers" / "doubled.py").write_text(example("python"))
    plug_ins.use_folder(tmp_path)
    yield tmp_path
    plug_ins.use_folder(None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store) -> DatasetRef:
    return register_dataset(store, "org-0", "shop")


def test_the_example_is_as_short_as_promised() -> None:
    code = [line for line in example("python").splitlines() if line.strip()]
    assert len(code) <= 20


def test_the_example_keeps_the_contract(home: Path) -> None:
    doubled = registry().algorithms["doubled"]
    assert isinstance(doubled, ModuleType)
    check_analyzer(doubled, parse_config({"type": "doubled", "metric": "mean"}, source="guide"))


def test_the_example_finds_a_tripled_number_of_orders(home: Path, store: Store, ref: DatasetRef) -> None:
    for day, orders in enumerate([10.0, 11.0, 9.0, 32.0, 34.0]):
        load(store, ref, day, {"orders": np.array([orders])})
    monitors = document(json.loads(example("json")))
    assert not unable(monitors)
    calm = one(run(store, ref, monitors, [3]))
    assert not calm.is_anomaly
    assert (calm.analyzer_type, calm.calculated_upper) == ("doubled", 33.0)
    load(store, ref, 3, {"orders": np.array([33.5])})
    assert one(run(store, ref, monitors, [3])).is_anomaly


def test_the_settings_say_whether_the_workspace_brings_analyzers(home: Path) -> None:
    for allowed in (False, True):
        with Workspace(Settings(home=home, workspace_analyzers=allowed)) as workspace:
            assert not workspace.catalog.datasets
            assert ("doubled" in registry().algorithms) == allowed


def test_a_broken_plug_in_of_the_workspace_keeps_its_analyzers_only(
    home: Path, store: Store, ref: DatasetRef
) -> None:
    (home / "analyzers" / "broken.py").write_text("raise RuntimeError('out of order')")
    plug_ins.use_folder(home)
    load(store, ref, 0, {"orders": np.array([1.0])})
    config = {"type": "experimental", "implementation": "broken", "metric": "mean"}
    analysis = run(store, ref, document({"id": "own", "config": config}, {}), [0])
    assert [result.analyzer_id for result in analysis.results] == ["mean-below-ten"]
    assert "broken (analyzers/broken.py) cannot be loaded: RuntimeError: out of order" in analysis.notes[0]


def test_a_plug_in_with_a_config_of_its_own_is_named_by_its_type(home: Path) -> None:
    config = {"type": "experimental", "implementation": "doubled", "metric": "mean"}
    [reason] = unable(document({"config": config})).values()
    assert reason == "doubled has a config of its own; write its name as the type, not as implementation"
