"""`monitor preview`: what analyzers would have said about the past, without a trace in the store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.cli.app import (
    FromOption,
    JsonOption,
    ToOption,
    app,
    asked_window,
    open_workspace,
    out,
    say_next,
)
from monitoring_pipeline.cli.explore import DatasetArgument

if TYPE_CHECKING:
    from monitoring_pipeline.preview import Preview


@app.command(rich_help_panel="What is watched")
def preview(
    dataset: DatasetArgument,
    analyzers: Annotated[
        list[str] | None, typer.Option("--analyzer", metavar="ID", help="Only this one; may be repeated.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Analyzers of this file: one, a list, a fragment or a whole document."),
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    every: Annotated[bool, typer.Option("--all", help="Healthy verdicts and failures as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Run analyzers over a past range and show their verdicts; nothing is stored and nobody is told.

    The newest 30 buckets unless a range is given. An analyzer that is named runs even when it is disabled.

    **Example**  `monitor preview orders --analyzer row-count-analyzer --from 2026-01-01`,
    `monitor preview orders --file idea.json`
    """
    from monitoring_pipeline.config.document import read_json
    from monitoring_pipeline.document_tables import show_preview
    from monitoring_pipeline.preview import preview as judge
    from monitoring_pipeline.preview import with_fragment

    with open_workspace() as workspace:
        document, chosen = workspace.dataset(dataset).document, tuple(analyzers or ())
        if file is not None:
            data, _ = read_json(file)
            document, of_file = with_fragment(document, data, source=str(file))
            chosen = chosen or of_file
        found = judge(
            workspace, dataset, window=asked_window(start, end), analyzer_ids=chosen, document=document
        )
        newest = sorted(
            (result for result in found.results if every or result.is_anomaly),
            key=lambda result: result.bucket,
            reverse=True,
        )
        if as_json:
            organisation = workspace.organisation(dataset)
            sys.stdout.write(json.dumps(_json(found, organisation), indent=2, ensure_ascii=False) + "\n")
            return
        show_preview(out, found, newest[:limit])
        if len(newest) > limit:
            out.print(f"  {len(newest) - limit:,} more; --limit shows them")
        span = f"--from {found.window.start:%Y-%m-%dT%H:%M} --to {found.window.end:%Y-%m-%dT%H:%M}"
        if file is not None:
            say_next(f"put the analyzers into {dataset}'s monitors.json, then: monitor apply {dataset}")
        say_next(f"monitor run {dataset} {span}   (stores what is due, and tells)")


def _json(found: Preview, organisation: str) -> dict[str, Any]:
    return {
        "datasetId": found.dataset_id,
        "from": found.window.start.isoformat(),
        "to": found.window.end.isoformat(),
        "stored": False,
        "analyzers": [
            {
                "id": tally.analyzer_id,
                "results": tally.results,
                "anomalies": tally.anomalies,
                "failures": tally.failures,
                "anomaliesByColumn": dict(tally.columns),
            }
            for tally in found.tallies
        ],
        "results": [
            result.to_reference_record(organisation=organisation, dataset=found.dataset_id)
            for result in found.results
        ],
        "waiting": [
            {
                "analyzerId": wait.analyzer_id,
                "bucket": wait.bucket.isoformat() if wait.bucket else None,
                "reason": wait.reason,
            }
            for wait in found.waiting
        ],
        "notes": list(found.notes),
    }
