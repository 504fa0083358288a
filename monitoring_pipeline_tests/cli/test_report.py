"""`monitor report`: where it writes, what it says, what it refuses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.reports.shop import NOW, make_shop


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop") / "data")


def report(home: Path, *arguments: str, now: datetime = NOW) -> Result:
    result = CliRunner().invoke(
        app,
        ["report", *arguments],
        env={"MONITORING_HOME": str(home), "MONITORING_NOW": now.isoformat(), "COLUMNS": "160"},
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_last_complete_week_is_written_and_it_says_where_and_how_large(home: Path) -> None:
    result = report(home)
    path = home / "reports" / "2026-W11.html"
    assert result.exit_code == 0
    assert f"wrote {path} ({path.stat().st_size / 1_000:,.0f} kB)" in result.stdout
    assert "2026-W11 (2026-03-09 to 2026-03-15, UTC)" in result.stdout
    assert "coupon nulls 0 % → 40 %" in path.read_text().replace("<code>", "").replace("</code>", "")


def test_a_period_and_a_dataset_may_be_asked_for_and_a_place(home: Path, tmp_path: Path) -> None:
    result = report(home, "shop", "--from", "2026-03-01", "--to", "2026-03-05")
    assert (home / "reports" / "2026-03-01_to_2026-03-04-shop.html").exists()
    assert result.exit_code == 0
    assert report(home, "--from", "2026-03-01", "--out", str(tmp_path / "new" / "a.html")).exit_code == 0
    assert (tmp_path / "new" / "a.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "yesterday"),
        ("--from", "2026-03-05", "--to", "2026-03-01"),
        ("--from", "2027-03-05", "--to", "2027-03-09"),
        ("nobody",),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_two(home: Path, arguments: tuple[str, ...]) -> None:
    result = report(home, *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "error" in result.output
