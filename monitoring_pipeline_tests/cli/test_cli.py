"""The `monitor` command as people use it: what it prints, what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.workspaces import DOCUMENT, make_workspace

SHARED = Path(__file__).parents[2] / "shared" / "data"


def monitor(home: Path, *arguments: str) -> Result:
    """The command in a workspace; an exception of any kind fails the test."""
    result = CliRunner().invoke(app, list(arguments), env={"MONITORING_HOME": str(home), "COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_help_teaches_every_command(tmp_path: Path) -> None:
    result = monitor(tmp_path, "--help")

    assert result.exit_code == 0
    for command in (
        "demo",
        "init",
        "validate",
        "apply",
        "run",
        "profile",
        "results",
        "digest",
        "status",
        "schema",
    ):
        assert f" {command} " in result.stdout


def test_a_healthy_run_exits_with_zero(tmp_path: Path) -> None:
    result = monitor(make_workspace(tmp_path / "data", days=10), "run")

    assert result.exit_code == 0
    assert "profiled 10 buckets" in result.stdout


@pytest.mark.parametrize(("fail_on", "code"), [("low", 1), ("medium", 1), ("high", 0), ("never", 0)])
def test_anomalies_exit_with_one_when_they_are_severe_enough(tmp_path: Path, fail_on: str, code: int) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)

    result = monitor(home, "run", "--from", "2026-03-01", "--fail-on", fail_on)

    assert result.exit_code == code
    assert "Rows down" in result.stdout


def test_a_second_run_has_nothing_to_do_and_is_healthy(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)
    monitor(home, "run", "--from", "2026-03-01")

    result = monitor(home, "run", "--from", "2026-03-01")

    assert result.exit_code == 0
    assert "10 unchanged" in result.stdout


def test_results_and_digests_show_what_happened(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10, few_rows_on=8)
    monitor(home, "run", "--from", "2026-03-01")

    shown = monitor(home, "results", "orders").stdout
    records = json.loads(monitor(home, "results", "orders", "--json").stdout)
    digest = monitor(home, "digest").stdout

    assert "rows 10" in shown
    assert [(record["analyzerId"], record["threshold_metricValue"]) for record in records] == [
        ("orders-volume-analyzer", 10.0)
    ]
    assert "Orders arrive" in digest


def test_status_tells_what_to_do_next(tmp_path: Path) -> None:
    result = monitor(make_workspace(tmp_path / "data", days=3), "status")

    assert result.exit_code == 0
    assert "nothing profiled yet" in result.stdout
    assert "monitor run orders" in result.stdout


def test_a_bad_document_shows_every_problem_and_exits_with_two(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    document = json.loads(json.dumps(DOCUMENT))
    document["analyzers"][0]["config"]["type"] = "fixd"
    document["monitors"][0]["analyzerIds"] = ["unknown-analyzer"]
    path = home / "datasets" / "orders" / "monitors.json"
    path.write_text(json.dumps(document))

    result = monitor(home, "validate", str(path))

    assert result.exit_code == 2
    assert "$.analyzers[0].config.type" in result.stderr
    assert "$.monitors[0].analyzerIds[0]" in result.stderr
    assert "Traceback" not in result.stderr


def test_validating_the_workspace_takes_all_of_its_files(tmp_path: Path) -> None:
    result = monitor(make_workspace(tmp_path / "data", days=0), "validate")

    assert result.exit_code == 0
    assert "dataset.yaml" in result.stdout
    assert "monitors.json" in result.stdout


def test_an_analyzer_that_cannot_run_is_a_warning_with_the_reason(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    document = json.loads(json.dumps(DOCUMENT))
    document["analyzers"][1]["config"]["metric"] = "count_nul_ratio"
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))

    result = monitor(home, "validate")

    assert result.exit_code == 0
    assert "$.analyzers[1]" in result.stdout
    assert "count_null_ratio" in result.stdout


def test_an_unknown_dataset_is_one_line_and_exits_with_two(tmp_path: Path) -> None:
    result = monitor(make_workspace(tmp_path / "data", days=0), "run", "order")

    assert result.exit_code == 2
    assert "did you mean 'orders'" in result.stderr


def test_an_empty_workspace_says_how_to_begin(tmp_path: Path) -> None:
    result = monitor(tmp_path, "run")

    assert result.exit_code == 2
    assert "monitor init" in result.stderr


def test_the_schema_is_json_for_editors(tmp_path: Path) -> None:
    schema = json.loads(monitor(tmp_path, "schema").stdout)

    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "analyzers" in schema["properties"]


def test_applying_shows_what_changed(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=0)
    monitor(home, "apply")
    path = home / "datasets" / "orders" / "monitors.json"
    path.write_text(path.read_text().replace('"lower": 50', '"lower": 60'))

    result = monitor(home, "apply")

    assert "orders/dataset: unchanged, version 1" in result.stdout
    assert "orders/monitors: changed, version 2" in result.stdout
    assert '+        "lower": 60' in result.stdout.replace("60.0", "60")


def test_init_describes_a_csv_file_and_the_first_run_works(tmp_path: Path) -> None:
    home = tmp_path / "data"
    file = tmp_path / "visits.csv"
    lines = [f"2026-03-{1 + row % 9:02d}T{row % 24:02d}:00:00,{row % 3},{row * 0.5}" for row in range(900)]
    file.write_text("visited_at,kind,amount\n" + "\n".join(lines) + "\n")

    made = monitor(home, "init", str(file))
    ran = monitor(home, "run", "visits", "--fail-on", "never")

    assert made.exit_code == 0, made.output
    assert "monitor run visits" in made.stdout
    assert ran.exit_code == 0, ran.output
    assert "profiled 9 buckets" in ran.stdout


def test_the_first_run_over_a_window_finds_data_that_no_start_announces(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10)
    path = home / "datasets" / "orders" / "dataset.yaml"
    path.write_text(path.read_text().replace("start: 2026-03-01\n", ""))

    result = monitor(home, "run", "--from", "2026-03-02", "--to", "2026-03-05")

    assert "profiled 3 buckets" in result.stdout


def test_init_does_not_overwrite_what_somebody_wrote(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=1)

    result = monitor(home, "init", str(home / "landing" / "orders"))

    assert result.exit_code == 2
    assert "--force" in result.stderr


def test_profile_show_refuses_what_is_no_profile(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a profile")

    result = monitor(tmp_path, "profile", "show", str(file))

    assert result.exit_code == 2
    assert "notes.txt" in result.stderr


@pytest.mark.skipif(not SHARED.exists(), reason="needs the real datasets beside the checkout")
def test_profile_show_tells_what_a_whylogs_file_holds(tmp_path: Path) -> None:
    result = monitor(tmp_path, "profile", "show", str(SHARED / "whylogs_profiles" / "plain.bin"), "--json")

    described = json.loads(result.stdout)
    assert described["columns"]["allnull"]["count_null"] == 20_000
    assert described["dataset_timestamp"].startswith("2024-03-05T12:30:00")


@pytest.mark.skipif(not SHARED.exists(), reason="needs the real datasets beside the checkout")
@pytest.mark.parametrize(
    ("folder", "first", "buckets"),
    [("nyc_taxi", ["--from", "2018-01-01", "--to", "2018-02-01"], 31), ("adult", [], 14)],
)
def test_init_and_run_work_on_real_data(tmp_path: Path, folder: str, first: list[str], buckets: int) -> None:
    made = monitor(tmp_path, "init", str(SHARED / folder))
    ran = monitor(tmp_path, "run", folder, *first, "--fail-on", "never")

    assert made.exit_code == 0, made.output
    assert ran.exit_code == 0, ran.output
    assert f"profiled {buckets} buckets" in ran.stdout
