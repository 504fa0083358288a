"""`monitor privacy`, and docs/privacy.md: its examples are read, and its way to do it over leaves no secret behind."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.config.dataset import parse_dataset
from monitoring_pipeline_tests.planted import found_in, in_database, in_files
from monitoring_pipeline_tests.test_privacy import DATASET, KEY, NOW, PRIVACY, Hospital

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "privacy.md"


def _monitor(hospital: Hospital, *arguments: str) -> Result:
    environment = {
        "MONITORING_HOME": str(hospital.home),
        "MONITORING_STORE_URL": hospital.url,
        "MONITORING_NOW": NOW.isoformat(),
        "MONITORING_PRIVACY_KEY": KEY,
    }
    return CliRunner().invoke(app, [*arguments], env=environment)


def _columns(hospital: Hospital) -> dict[str, dict[str, Any]]:
    result = _monitor(hospital, "privacy", "patients", "--json")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)
    assert told["segments"] == ["ward=north", "ward=south"]
    return {row["column"]: row for row in told["columns"]}


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "home", f"sqlite:///{tmp_path / 'store.db'}", private=True)


def test_it_says_what_each_column_could_reveal(hospital: Hospital) -> None:
    hospital.run()
    columns = _columns(hospital)

    def told(name: str, *keys: str) -> tuple[object, ...]:
        return tuple(columns[name][key] for key in keys)

    kept = ("exact_values", "values", "hashed_values", "min_max")
    assert told("email", *kept) == (False, 0, 0, "none")
    assert told("patient_id", *kept) == (False, 0, 0, "masked")
    assert told("amount", *kept) == (False, 0, 0, "masked")
    assert told("city", *kept) == (True, 1, 0, "none")
    assert columns["city"]["lowest_count"] >= 5
    assert columns["account"]["hashed_values"] > 20
    assert told("at", "exact_values", "min_max", "since") == (True, "exact", "2026-03-01T00:00:00+00:00")
    assert told("", "exact_values", "values", "hashed_values") == (False, 0, 2)
    assert all(row["advice"] is None for name, row in columns.items() if name != "ward")


def test_a_name_that_no_profile_has_is_pointed_out(hospital: Hospital) -> None:
    hospital.run()
    path = hospital.home / "datasets" / "patients" / "dataset.yaml"
    path.write_text(path.read_text() + "    emial: {frequent_items: off}\n")
    result = _monitor(hospital, "privacy")
    assert "privacy names emial, of which nothing is stored" in result.output


def test_a_dataset_that_was_never_profiled_holds_nothing(hospital: Hospital) -> None:
    result = _monitor(hospital, "privacy")
    assert (result.exit_code, "nothing is stored yet" in result.output) == (0, True)


def test_what_was_stored_before_the_rule_is_told_and_doing_it_over_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    hospital = Hospital(tmp_path / "home", f"sqlite:///{path}", private=False)
    hospital.run()
    assert found_in(hospital.secrets, in_database(hospital.url))
    (hospital.home / "datasets" / "patients" / "dataset.yaml").write_text(DATASET + PRIVACY)
    advice = _columns(hospital)["email"]["advice"]
    assert "monitor delete patients --from 2026-03-01" in advice
    assert "monitor backfill patients --from 2026-03-01 --again" in advice

    for words in re.findall(r"monitor ((?:delete|backfill) [^#\n]*)", DOCUMENTATION.read_text()):
        result = _monitor(hospital, *words.split())
        assert result.exit_code == 0, result.output
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    (hospital.home / "reports" / "report.html").unlink()

    places = [*in_database(hospital.url), *in_files(tmp_path, skip=[hospital.home / "landing"])]
    assert found_in(hospital.secrets, places) == {}
    assert _columns(hospital)["email"]["exact_values"] is False


def test_the_example_of_the_documentation_is_read_and_means_what_it_says() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    data = {
        "id": "d",
        "granularity": "daily",
        "source": {"path": "x.parquet"},
        "timestamp": "at",
        "segments": [["country"]],
        **yaml.safe_load(example),
    }
    privacy = parse_dataset(data, source="docs/privacy.md").privacy
    assert {
        name: str(privacy.rule(name)) for name in ("email", "account", "order_id", "country", "other")
    } == {
        "email": "frequent_items off, extremes masked",
        "account": "frequent_items hashed, extremes masked",
        "order_id": "frequent_items off, extremes masked",
        "country": "frequent_items on, extremes exact",
        "other": "frequent_items at_least 10, extremes masked",
    }
