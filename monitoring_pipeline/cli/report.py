"""`monitor report`: the review of a week, or of any period, as one HTML file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    DatasetOption,
    ToOption,
    app,
    chosen_datasets,
    explained,
    open_workspace,
    out,
)
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from monitoring_pipeline.reports import Period


@app.command(rich_help_panel="Every day")
def report(
    datasets: DatasetOption = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Begin of the period, e.g. 2026-01-31.")
    ] = None,
    end: ToOption = None,
    path: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: reports/ in the workspace.")
    ] = None,
    send: Annotated[
        list[str] | None,
        typer.Option(
            "--send", metavar="CHANNEL", help="Send it to this channel of channels.yaml; may be repeated."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --send: also where this report has gone already.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the review of the last complete week, or of a period, as one HTML file: incidents, drift, quality,
    performance, coverage, each against the week before.

    The page fetches nothing, prints well and is smaller than 2 MB. By e-mail it goes as a file, to other channels as a
    summary; each report goes to each channel once.
    """
    with explained(), open_workspace() as workspace:
        from monitoring_pipeline.reports import build_report, send_report, write_report

        period = _period(start, end, workspace.now())
        chosen = chosen_datasets(workspace, datasets) if datasets else None
        with out.status(f"looking at {period.name}"):
            made = build_report(workspace, period, chosen)
        name = made.file_name
        if chosen:
            name = f"{made.file_name.removesuffix('.html')}-{'-'.join(chosen)[:100]}.html"
        written = path or workspace.home / "reports" / name
        write_report(made, written)
        out.print(f"wrote {escape(str(written))} ({made.size / 1_000:,.0f} kB)", highlight=False)
        out.print(escape(made.text.rstrip()), highlight=False)
        sent = send_report(workspace, made, written, send, again=again, called=name) if send else []
        for one in sent:
            colour = "red" if one.problem else "green"
            out.print(f"[{colour}]{escape(one.words)}[/{colour}]", highlight=False)
        if show:
            typer.launch(str(written.resolve()))
        if any(one.problem for one in sent):
            raise typer.Exit(1)


def _period(start: str | None, end: str | None, now: datetime) -> Period:
    """The asked period; without both ends the last complete week, without one of them a week or the present."""
    from monitoring_pipeline.reports import Period

    if start is None and end is None:
        return Period.last_week(now)
    try:
        last = parse_moment(end) if end is not None else now
        first = parse_moment(start) if start is not None else last - timedelta(weeks=1)
        return Period(TimeRange(first, last))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--from and --to do not make a period: {error}") from None
