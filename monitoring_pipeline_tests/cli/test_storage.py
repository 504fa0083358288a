from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import audit, profiles
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DATASET, make_workspace


def monitor(home: Path, *arguments: str, answer: str | None = None) -> Result:
    environment = {"MONITORING_HOME": str(home), "COLUMNS": "160", "MONITORING_AUTHOR": "ada"}
    result = CliRunner().invoke(app, list(arguments), env=environment, input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_workspace(tmp_path_factory.mktemp("made") / "data", days=65)
    assert monitor(home, "backfill", "orders", "--no-report").exit_code == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def stored(home: Path) -> int:
    with Workspace(Settings(home=home)) as workspace:
        return len(profiles.batches(workspace.store, workspace.ref("orders")))


def test_retention_says_what_would_go_and_leaves_it(home: Path) -> None:
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET + "retention: {base: P1D}\n")
    result = monitor(home, "retention", "orders", "--dry-run")
    assert result.exit_code == 0
    assert (
        "orders would go: profiles of 65 buckets from 2026-03-01 00:00 to 2026-05-04 00:00" in result.stdout
    )
    again = monitor(home, "retention")
    assert "orders removed: profiles of 65 buckets" in again.stdout
    assert "nothing is old enough" in monitor(home, "retention").stdout
    assert "65 " in monitor(home, "status", "orders").stdout


def test_retention_has_nothing_to_do_where_nobody_asked(home: Path) -> None:
    assert "nothing is old enough to go" in monitor(home, "retention").stdout


def test_deleting_asks_first_and_shows_what_goes(home: Path) -> None:
    result = monitor(home, "delete", "orders", "--from", "2026-03-10", "--to", "2026-03-12", answer="n\n")
    assert result.exit_code == 0
    for line in (
        "batches",
        "profiles of columns",
        "verdicts",
        "roll-ups",
        "Your own files are not touched",
        "nothing was deleted",
    ):
        assert line in result.stdout
    assert stored(home) == 65


def test_a_deleted_range_is_gone_and_stays_so(home: Path) -> None:
    result = monitor(home, "delete", "orders", "--from", "2026-03-10", "--to", "2026-03-12", "--yes")
    assert result.exit_code == 0
    assert "2 buckets of orders were deleted" in result.stdout
    assert "--again" in result.stdout
    monitor(home, "run")
    assert stored(home) == 63
    assert (
        "2 buckets from 2026-03-10 00:00 to 2026-03-11 00:00 were deleted" in monitor(home, "status").stdout
    )
    assert (
        "nothing of orders"
        in monitor(home, "delete", "orders", "--from", "2026-03-10", "--to", "2026-03-12").stdout
    )
    back = monitor(
        home, "backfill", "orders", "--from", "2026-03-10", "--to", "2026-03-12", "--again", "--no-report"
    )
    assert "2 profiled" in back.stdout
    assert stored(home) == 65


def test_everything_after_a_moment_goes_when_no_end_is_given(home: Path) -> None:
    monitor(home, "delete", "orders", "--from", "2026-05-01", "--yes")
    assert stored(home) == 61


def test_a_whole_dataset_goes_with_a_note_of_who_did_it_and_the_files_stay(home: Path) -> None:
    files = len([*(home / "landing" / "orders").iterdir()])
    result = monitor(home, "delete", "orders", answer="y\n")
    assert "65" in result.stdout
    assert "is still there: the next run begins anew" in result.stdout.replace("\n", " ")
    assert len([*(home / "landing" / "orders").iterdir()]) == files
    with Workspace(Settings(home=home)) as workspace:
        [entry] = audit.entries(workspace.store, "org-0")
    assert (entry.actor, entry.action) == ("ada", "delete dataset")
    assert stored(home) == 0


def test_a_dataset_whose_folder_is_gone_can_be_deleted(home: Path) -> None:
    shutil.rmtree(home / "datasets" / "orders")
    assert "orders was deleted" in monitor(home, "delete", "orders", "--yes").stdout
    result = monitor(home, "delete", "orders", "--yes")
    assert result.exit_code == 2
    assert "no dataset 'orders'" in result.stderr


def test_nobody_there_to_answer_is_a_mistake_and_deletes_nothing(home: Path) -> None:
    result = monitor(home, "delete", "orders", answer="")
    assert result.exit_code == 2
    assert "--yes answers" in result.stderr
    assert stored(home) == 65


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2026-03-10T12:00", "--to", "2026-03-12"), "inside a bucket"),
        (("--from", "2026-03-12", "--to", "2026-03-10"), "ends before it starts"),
        (("--from", "yesterday"), "ISO-8601"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(home: Path, arguments: tuple[str, ...], message: str) -> None:
    result = monitor(home, "delete", "orders", *arguments, "--yes")
    assert result.exit_code == 2
    assert message in result.stderr
