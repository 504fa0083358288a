"""What importing costs: the floors below the faces load no face, and the package itself loads next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def modules_after(program: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running the program."""
    listed = f"{program}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", listed], check=True, capture_output=True, text=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("monitoring_pipeline", {"numpy", "pandas", "pyarrow", "pydantic", "dagster", "sqlalchemy"}),
        (
            "monitoring_pipeline.config.document",
            {"numpy", "pandas", "pyarrow", "dagster", "yaml", "sqlalchemy"},
        ),
        ("monitoring_pipeline.notebook", {"dagster", "pandas", "sqlalchemy", "typer", "slack_sdk"}),
        ("monitoring_pipeline.pipeline", {"dagster", "pandas", "slack_sdk", "typer"}),
        ("monitoring_pipeline.cli", {"dagster", "numpy", "pandas", "pyarrow", "sqlalchemy"}),
    ],
)
def test_a_module_loads_nothing_that_it_does_not_need(module: str, unwanted: set[str]) -> None:
    assert modules_after(f"import {module}") & unwanted == set()
