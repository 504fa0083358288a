"""Commands about time: try a document's readiness, cool-down and schedules on a virtual clock."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from monitoring_pipeline.cli.app import JsonOption, app, asked_window, open_workspace, out
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.simulation import SimulatedArrival, Simulation
    from monitoring_pipeline.workspace import Workspace

_SHOWN = 60


@app.command(rich_help_panel="Time")
def simulate(
    dataset: Annotated[str, typer.Argument(help="The dataset whose monitor document is tried.")],
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="When the clock starts, e.g. 2026-01-01.")
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="When it stops.")],
    arrivals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with the columns at, bucket, rows (or JSON lines): what arrives when. "
            "Unless given, what has really arrived, when it did.",
        ),
    ] = None,
    down: Annotated[
        list[str] | None,
        typer.Option(metavar="FROM/TO", help="A time in which the daemon does not run; may be repeated."),
    ] = None,
    tick: Annotated[float, typer.Option(min=1, help="Seconds between two looks of the pipeline.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """Walk a virtual clock over arrivals: when would each bucket be analysed, and who would be told?

    Nothing is read, stored or sent. Try it before you change a readiness duration, a cool-down or a schedule:

    `monitor simulate lead-scoring --from 2026-03-01 --to 2026-04-01 --arrivals arrivals.csv`
    """
    from monitoring_pipeline import simulation

    with open_workspace() as workspace:
        window = asked_window(start, end)
        if window is None:
            raise UsageError("a simulation needs --from and --to")
        known = workspace.dataset(dataset)
        came = _real_arrivals(workspace, dataset) if arrivals is None else simulation.read_arrivals(arrivals)
        found = simulation.simulate(
            known.document,
            came,
            window,
            tick=timedelta(seconds=tick),
            down=[_outage(text) for text in down or ()],
        )
        if as_json:
            sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
        else:
            _show(found, dataset, window, len(came))


def _real_arrivals(workspace: Workspace, dataset_id: str) -> list[SimulatedArrival]:
    from monitoring_pipeline import pipeline
    from monitoring_pipeline.simulation import SimulatedArrival

    found = pipeline.discover(workspace, dataset_id).arrivals
    return [SimulatedArrival(one.last_upload, bucket, one.rows) for bucket, one in found.items()]


def _outage(text: str) -> TimeRange:
    try:
        first, last = text.split("/")
        return TimeRange(parse_moment(first), parse_moment(last))
    except ValueError as error:
        raise UsageError(
            f"--down {text!r} is not FROM/TO, e.g. 2026-03-01T08:00/2026-03-04: {error}"
        ) from None


def _show(found: Simulation, dataset: str, window: TimeRange, arrivals: int) -> None:
    out.print(
        f"{dataset} from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC: {arrivals:,} arrivals, "
        f"{len(found.analysed):,} analyses, {len(found.missed):,} missed, {len(found.late):,} late"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("bucket (UTC)", "analysed at", "analyzers", "may tell", "had waited for"):
        table.add_column(name, overflow="fold")
    rounds = Counter((one.bucket, one.at) for one in found.analysed)
    for bucket, at in sorted(rounds)[-_SHOWN:]:
        there = [one for one in found.analysed if (one.bucket, one.at) == (bucket, at)]
        table.add_row(
            f"{bucket:%Y-%m-%d %H:%M}",
            f"{at:%Y-%m-%d %H:%M}",
            str(len(there)),
            escape(", ".join(sorted({name for one in there for name in one.monitors})) or "nobody"),
            escape("; ".join(dict.fromkeys(reason for one in there for reason in one.waited))),
        )
    if len(rounds) > _SHOWN:
        out.print(f"the last {_SHOWN} of {len(rounds):,} rounds; --json shows all")
    out.print(table)
    for title, lines in (
        ("missed", [f"{one.bucket:%Y-%m-%d %H:%M} {one.analyzer_id}: {one.reason}" for one in found.missed]),
        (
            "late",
            [
                f"{one.bucket:%Y-%m-%d %H:%M}: {one.rows:,} rows at {one.at:%Y-%m-%d %H:%M}, after "
                f"{len(one.analyzers)} analyzers had run; `monitor reanalyze` would judge it again"
                for one in found.late
            ],
        ),
        (
            "waiting",
            [
                f"{one.bucket:%Y-%m-%d %H:%M} {one.analyzer_id}: {one.reason}"
                for one in found.waiting
                if one.bucket
            ],
        ),
    ):
        for line in lines[:_SHOWN]:
            out.print(f"  [yellow]{title}[/yellow] {escape(line)}")
        if len(lines) > _SHOWN:
            out.print(f"  [yellow]{title}[/yellow] … and {len(lines) - _SHOWN:,} more; --json shows all")
