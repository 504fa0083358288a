"""The commands of every day: run what is due, look at verdicts, digests and the state of things."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    ANOMALOUS,
    DatasetOption,
    FromOption,
    JsonOption,
    ToOption,
    app,
    asked_buckets,
    asked_window,
    chosen_datasets,
    err,
    open_workspace,
    out,
)


class Severity(StrEnum):
    """The worst severity that still counts as healthy is the one below."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEVER = "never"


LEVELS = {Severity.HIGH: 1, Severity.MEDIUM: 2, Severity.LOW: 3, Severity.NEVER: 0}


@app.command(rich_help_panel="Every day")
def run(
    datasets: DatasetOption = None,
    start: FromOption = None,
    end: ToOption = None,
    fail_on: Annotated[
        Severity, typer.Option(help="Exit with 1 when an anomaly is at least this severe.")
    ] = Severity.LOW,
) -> None:
    """Do everything that is due: profile, analyse, record and send digests."""
    from monitoring_pipeline import pipeline, terminal

    worst = LEVELS[Severity.LOW] + 1
    with open_workspace() as workspace:
        for dataset_id in chosen_datasets(workspace, datasets):
            workspace.apply(dataset_id)
            buckets = asked_buckets(workspace, dataset_id, start, end)
            with terminal.progress(out, f"profiling {dataset_id}") as progress:
                profiled = pipeline.profile_batch(workspace, dataset_id, buckets, progress=progress)
            terminal.show_profiled(out, dataset_id, profiled)
            for note in pipeline.roll_up(workspace, dataset_id).notes(dataset_id):
                out.print(f"  [yellow]note[/yellow] {escape(note)}", highlight=False)
            with out.status(f"analysing {dataset_id}"):
                analyzed = pipeline.analyze_batch(
                    workspace, dataset_id, buckets, backfill=buckets is not None
                )
                notified = pipeline.notify(workspace, dataset_id)
            terminal.show_analyzed(out, dataset_id, analyzed, notified)
            worst = min([worst, *(digest.severity for digest in notified.digests)])
        terminal.show_delivered(out, pipeline.deliver(workspace))
    if worst <= LEVELS[fail_on]:
        raise typer.Exit(ANOMALOUS)


@app.command(rich_help_panel="Every day")
def results(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: FromOption = None,
    end: ToOption = None,
    every: Annotated[bool, typer.Option("--all", help="Healthy verdicts and failures as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show verdicts: the anomalies, newest first."""
    from monitoring_pipeline import overview, terminal

    with open_workspace() as workspace:
        found = overview.find_results(
            workspace, dataset, window=asked_window(start, end), anomalies_only=not every, limit=limit
        )
        if as_json:
            ref = workspace.ref(dataset)
            sys.stdout.write(
                json.dumps(
                    [
                        result.to_reference_record(organisation=ref.organisation, dataset=dataset)
                        for result in found
                    ],
                    indent=2,
                )
                + "\n"
            )
        else:
            terminal.show_results(out, dataset, found)


@app.command(rich_help_panel="Every day")
def digest(
    datasets: DatasetOption = None,
    last: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 1,
    send: Annotated[bool, typer.Option("--send", help="Send what still waits in the outbox.")] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="With --send: also what was given up, for example while a token was wrong."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the latest digests, or send those that wait."""
    from monitoring_pipeline import outgoing, overview, pipeline, terminal

    with open_workspace() as workspace:
        if send:
            if again:
                outgoing.send_again(workspace)
            terminal.show_delivered(out, pipeline.deliver(workspace))
            return
        found = overview.find_digests(workspace, chosen_datasets(workspace, datasets), limit=last)
        if as_json:
            sys.stdout.write(json.dumps([item.to_json() for item in found], indent=2) + "\n")
        else:
            terminal.show_digests(out, found)


@app.command(rich_help_panel="Every day")
def status(
    datasets: DatasetOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every bucket and analyzer on a line of its own.")
    ] = False,
) -> None:
    """Show what has arrived, what is due, what waits for what and until when, what was given up, open incidents."""
    from monitoring_pipeline import overview, terminal

    with open_workspace() as workspace:
        for name, error in workspace.catalog.broken.items():
            err.print(f"[red]✗[/red] {name}: {escape(str(error))}")
        for dataset_id in chosen_datasets(workspace, datasets):
            terminal.show_status(out, overview.status(workspace, dataset_id, every=every), every=every)
