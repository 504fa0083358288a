"""The first commands of a new user: see the demonstration, describe your own data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import app, explained, out
from monitoring_pipeline.settings import Settings


@app.command(rich_help_panel="Begin")
def demo(
    home: Annotated[Path, typer.Option(help="Workspace to make the demonstration in.")] = Path("data"),
    end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day, not included; yesterday unless given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes another business.")] = 7,
) -> None:
    """See the main job: 120 days of a lead-scoring business, incidents planted, found or missed."""
    from monitoring_pipeline.demo.run import run_demo

    with explained():
        run_demo(home, end=end.date() if end else None, seed=seed, console=out)


@app.command(rich_help_panel="Begin")
def init(
    file: Annotated[
        str, typer.Argument(help="A Parquet, CSV, JSON-lines or whylogs file, a folder or a glob of them.")
    ],
    dataset_id: Annotated[
        str | None, typer.Option("--id", help="Name of the dataset; the file's unless given.")
    ] = None,
    timestamp: Annotated[str | None, typer.Option(help="Timestamp column; guessed unless given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing description.")] = False,
) -> None:
    """Look at your data and write a dataset description and first monitors for it."""
    from monitoring_pipeline import onboarding

    with explained():
        made = onboarding.init_dataset(
            Settings().home, file, dataset_id=dataset_id, timestamp=timestamp, force=force
        )
        for line in made.notes:
            out.print(f"  {escape(line)}")
        out.print(f"wrote  {made.dataset_file}\nwrote  {made.document_file}")
        out.print(f"next   monitor run {made.dataset_id}")
