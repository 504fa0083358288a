# ruff: noqa: I001
"""The `monitor` command: thin words over `pipeline.py`, one module per family of commands.

Exit codes: 0 healthy, 1 anomalies at or above the asked severity, 2 a mistake in the command or a document,
3 the pipeline itself failed.
"""

# In the order in which `monitor --help` shows them.
from monitoring_pipeline.cli import (
    start,
    operate,
    documents,
    explore,
    change,
    presets,
    preview,
    profiles,
    schedule,
)
from monitoring_pipeline.cli.app import app

__all__ = [
    "app",
    "change",
    "documents",
    "explore",
    "main",
    "operate",
    "presets",
    "preview",
    "profiles",
    "schedule",
    "start",
]


def main() -> None:
    """Entry point of the `monitor` command."""
    app()
