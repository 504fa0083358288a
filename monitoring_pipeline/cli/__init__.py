# ruff: noqa: I001
"""The `monitor` command: thin words over `pipeline.py`, one module per family of commands.

Exit codes: 0 healthy, 1 anomalies at or above the asked severity, 2 a mistake in the command or a document,
3 the pipeline itself failed.
"""

# In the order in which `monitor --help` shows them.
from monitoring_pipeline.cli import (
    start,
    operate,
    incidents,
    channels,
    report,
    documents,
    explore,
    change,
    presets,
    preview,
    profiles,
    metrics,
    schedule,
    storage,
    privacy,
    database,
)
from monitoring_pipeline.cli.app import app

__all__ = [
    "app",
    "change",
    "channels",
    "database",
    "documents",
    "explore",
    "incidents",
    "main",
    "metrics",
    "operate",
    "presets",
    "preview",
    "privacy",
    "profiles",
    "report",
    "schedule",
    "start",
    "storage",
]


def main() -> None:
    """Entry point of the `monitor` command."""
    app()
