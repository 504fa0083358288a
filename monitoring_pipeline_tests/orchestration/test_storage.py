"""Dagster's own storage, chosen by one environment variable."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.storage import URL_VARIABLE

REPOSITORY = Path(__file__).parents[2]


@dg.asset
def number() -> int:
    return 7


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return tmp_path


def test_unless_told_otherwise_runs_are_kept_in_files(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([number], instance=instance).success
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs_count() == 1
    assert list((home / "data" / "dagster").rglob("*.db"))


def test_one_variable_moves_them_to_postgresql(
    home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dagster_postgres", reason="needs the extra postgres")
    monkeypatch.setenv(URL_VARIABLE, postgres_url)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([number], instance=instance).success
        ref = instance.get_ref()
    with dg.DagsterInstance.from_ref(ref) as other:  # as a run's worker opens it
        assert other.get_runs_count() == 1
        assert other.get_latest_materialization_event(dg.AssetKey("number")) is not None
    assert not list((home / "data").rglob("*.db"))
