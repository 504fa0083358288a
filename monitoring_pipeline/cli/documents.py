"""Commands about what the user wrote: monitor documents and dataset descriptions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    MISUSED,
    DatasetOption,
    app,
    chosen_datasets,
    err,
    fail,
    open_workspace,
    out,
    say_next,
)
from monitoring_pipeline.errors import Problem, UsageError
from monitoring_pipeline.settings import Settings

if TYPE_CHECKING:
    from monitoring_pipeline.config.document import MonitorDocument
    from monitoring_pipeline.metrics import Metric


@app.command(rich_help_panel="What is watched")
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Monitor documents, dataset descriptions, channels.yaml; the workspace unless given."
        ),
    ] = None,
) -> None:
    """Check monitor documents, dataset descriptions and `channels.yaml`: every problem at once, with its place.

    **Example**  `monitor validate data/datasets/orders/monitors.json`
    """
    from monitoring_pipeline.config.channels import CHANNELS_FILE, load_channels
    from monitoring_pipeline.config.dataset import load_dataset
    from monitoring_pipeline.config.document import load_document
    from monitoring_pipeline.errors import DocumentError
    from monitoring_pipeline.workspace import DATASET_FILE, DOCUMENT_FILE, own_metrics

    home = _with_plug_ins()
    paths = files or [
        *sorted(
            path for name in (DATASET_FILE, DOCUMENT_FILE) for path in (home / "datasets").glob(f"*/{name}")
        ),
        *home.glob(CHANNELS_FILE),
    ]
    if not paths:
        fail(
            UsageError(
                f"nothing to validate: no datasets in {home / 'datasets'}; name a file, or try `monitor init`"
            )
        )
    broken = 0
    for path in paths:
        try:
            warnings: Sequence[Problem] = ()
            if path.name == CHANNELS_FILE:
                load_channels(path.parent)
            elif path.suffix in {".yaml", ".yml"}:
                own_metrics(load_dataset(path), source=str(path))
            else:
                loaded = load_document(path)
                warnings = (*loaded.warnings, *_idle_analyzers(loaded.document, path.parent))
        except DocumentError as error:
            broken += 1
            err.print(f"[red]✗[/red] {escape(str(error))}")
        else:
            out.print(f"[green]✓[/green] {path}")
            for warning in warnings:
                out.print(f"  [yellow]warning[/yellow] {escape(str(warning))}")
    if broken:
        raise typer.Exit(MISUSED)


def _idle_analyzers(document: MonitorDocument, folder: Path) -> Iterator[Problem]:
    """The analyzers that this release cannot run, which is no reason to refuse the document."""
    from monitoring_pipeline.analysis.engine import unable
    from monitoring_pipeline.config.dataset import load_dataset
    from monitoring_pipeline.errors import DocumentError
    from monitoring_pipeline.workspace import (
        DATASET_FILE,
        DOCUMENT_FILE,
        own_metrics,
        refuse_stated_metrics,
    )

    description = folder / DATASET_FILE
    metrics: Mapping[str, Metric] = {}
    if description.exists():
        with suppress(DocumentError):  # told where the description itself is checked
            metrics = own_metrics(load_dataset(description), source=str(description))
    refuse_stated_metrics(document, metrics, source=str(folder / DOCUMENT_FILE))
    reasons = unable(document, metrics=metrics)
    for place, analyzer in enumerate(document.analyzers):
        if analyzer.id in reasons:
            yield Problem(f"$.analyzers[{place}]", f"{analyzer.id}, which does not run", reasons[analyzer.id])


def _with_plug_ins() -> Path:
    """The workspace's folder, with its own analyzers known where the settings allow them."""
    from monitoring_pipeline.config.plug_ins import use_folder

    settings = Settings()
    use_folder(settings.home if settings.workspace_analyzers else None)
    return settings.home


@app.command(rich_help_panel="What is watched")
def schema(
    channels: Annotated[bool, typer.Option("--channels", help="That of `channels.yaml` instead.")] = False,
) -> None:
    """Print the JSON Schema of the monitor document, for editors; plug-in analyzers are in it.

    **Example**  `monitor schema > monitors.schema.json`, and in the document `"$schema": "…/monitors.schema.json"`
    """
    from monitoring_pipeline.config.channels import channels_json_schema
    from monitoring_pipeline.config.editor_schema import editor_schema

    if channels:
        sys.stdout.write(json.dumps(channels_json_schema(), indent=2) + "\n")
        return
    _with_plug_ins()
    made, left_out = editor_schema()
    sys.stdout.write(json.dumps(made, indent=2) + "\n")
    for reason in left_out:
        err.print(f"[yellow]left out[/yellow] {escape(reason)}", highlight=False)


@app.command(rich_help_panel="What is watched")
def apply(
    datasets: DatasetOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="The file wins over what came through the API since.")
    ] = False,
) -> None:
    """Write the workspace's files to the store as versioned documents.

    **Example**  `monitor apply orders`, after `monitor document diff orders`
    """
    from monitoring_pipeline.document_tables import show_diff

    with open_workspace() as workspace:
        changed = False
        for dataset_id in chosen_datasets(workspace, datasets):
            for kind, version in workspace.apply(dataset_id, force=force).items():
                changed = changed or version.changed
                state = "changed" if version.changed else "unchanged"
                out.print(f"{dataset_id}/{kind}: {state}, version {version.version}", highlight=False)
                if version.changed:
                    show_diff(out, version.diff)
        if changed:
            say_next("monitor run", "monitor document history DATASET")
