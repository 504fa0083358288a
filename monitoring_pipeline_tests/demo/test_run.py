"""The demo as a newcomer sees it: everything that was planted is found, and nothing else."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from monitoring_pipeline.demo.run import run_demo


@pytest.mark.slow
@pytest.mark.parametrize("end", [date(2026, 11, 18), date(2026, 8, 16)])
def test_the_demo_finds_what_was_planted_and_nothing_else(tmp_path: Path, end: date) -> None:
    output = io.StringIO()

    score = run_demo(tmp_path / "data", end=end, seed=7, console=Console(file=output, width=160))

    printed = output.getvalue().strip().splitlines()
    assert printed[-1] == "incidents: 13 planted, 13 found, 0 missed, 0 false"
    assert score.perfect
