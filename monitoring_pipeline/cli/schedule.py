"""Commands about time: fill the past, judge again what late data has changed, try schedules on a virtual clock."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from monitoring_pipeline.cli.app import (
    FAILED,
    FromOption,
    JsonOption,
    ToOption,
    app,
    asked_window,
    err,
    open_workspace,
    out,
)
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.simulation import SimulatedArrival, Simulation
    from monitoring_pipeline.workspace import Workspace

_SHOWN = 60


@app.command(rich_help_panel="Time")
def backfill(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: FromOption = None,
    end: ToOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also profile what has not changed.")] = False,
    tell: Annotated[
        bool,
        typer.Option("--notify", help="Record digests about the past as well; unless given, nobody is told."),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report", help="Show the filled partitions in Dagster, where there is one."
        ),
    ] = True,
) -> None:
    """Fill the store over a range of buckets, straight and fast; then show Dagster what was done.

    Everything since the dataset's first bucket, unless told. Stop it with Ctrl-C and run it again: it goes on where
    it was, and what is done stays done.

    `monitor backfill lead-scoring --from 2025-01-01 --to 2026-01-01`
    """
    from monitoring_pipeline import terminal
    from monitoring_pipeline.backfill import backfill as fill

    with open_workspace() as workspace, _stoppable() as stopped:
        window = asked_window(start, end) or TimeRange(parse_moment("1970-01-01"), parse_moment("2200-01-01"))
        workspace.dataset(dataset)
        workspace.apply(dataset)
        last, chunks = None, []
        with terminal.progress(out, f"filling {dataset}") as progress:
            for chunk in fill(workspace, dataset, window, again=again, tell=tell):
                progress(chunk.done, chunk.total)
                chunks.append(chunk)
                last = chunk
                if stopped():
                    break
        if last is None:
            raise UsageError(
                f"{dataset} has no bucket in that range; `monitor status {dataset}` shows what there is"
            )
        seconds = sum(chunk.seconds for chunk in chunks)
        out.print(
            f"[bold]{dataset}[/bold] {last.done:,} of {last.total:,} buckets in {seconds:.1f} s: "
            f"{sum(chunk.profiled for chunk in chunks):,} profiled ({sum(chunk.rows for chunk in chunks):,} rows), "
            f"{sum(chunk.unchanged for chunk in chunks):,} unchanged, {sum(chunk.missing for chunk in chunks):,} without "
            f"data; {sum(chunk.verdicts for chunk in chunks):,} new verdicts, "
            f"{sum(chunk.anomalies for chunk in chunks):,} anomalies",
            highlight=False,
        )
        for line in dict.fromkeys(problem for chunk in chunks for problem in chunk.problems):
            out.print(f"  [yellow]note[/yellow] {escape(line)}", highlight=False)
        if report and not stopped():
            _report_to_dagster(
                workspace, dataset, TimeRange(chunks[0].window.start, last.window.end), stopped
            )
        if stopped():
            out.print("stopped as asked; the same command goes on from here")
        else:
            out.print(f"next   monitor results {dataset}   or   make dev")


def _report_to_dagster(
    workspace: Workspace, dataset: str, window: TimeRange, stopped: Callable[[], bool]
) -> None:
    from monitoring_pipeline import terminal
    from monitoring_pipeline.orchestration.reporting import instance_here, report_partitions

    with instance_here() as instance:
        if instance is None:
            out.print(
                "no Dagster instance here (DAGSTER_HOME is not set): the store is filled, nothing was reported"
            )
            return
        with terminal.progress(out, "telling Dagster") as progress:
            told = report_partitions(instance, workspace, dataset, window, progress=progress, stopped=stopped)
        out.print(f"Dagster was told of {told:,} partitions")


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C lets the work at hand finish; a second one ends it at once, which is safe as well."""
    asked = False

    def note(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        err.print("stopping after this part; Ctrl-C again stops at once (nothing is lost either way)")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@app.command(rich_help_panel="Time")
def reanalyze(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: FromOption = None,
    end: ToOption = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every verdict of the range, not only those that new data could change."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Tell nobody of what has turned out bad.")] = False,
) -> None:
    """Judge again what late or repaired data has made stale. The old verdicts stay, as superseded.

    What was an anomaly before and still is one is not told again.

    `monitor reanalyze lead-scoring --from 2026-03-01`
    """
    from monitoring_pipeline import pipeline
    from monitoring_pipeline import reanalysis as again
    from monitoring_pipeline.alerting.wording import sentence

    with open_workspace() as workspace:
        window = asked_window(start, end)
        workspace.dataset(dataset)
        with out.status(f"judging {dataset} again"):
            run_id = pipeline.new_run(quietly=quiet)
            report = again.reanalyze(workspace, dataset, window, everything=everything, run_id=run_id)
            notified = pipeline.notify(workspace, dataset)
        out.print(
            f"[bold]{dataset}[/bold] {report.retired:,} verdicts on {len(report.buckets):,} buckets judged again in "
            f"{report.seconds:.1f} s: {len(report.turned_good):,} anomalies gone, {len(report.turned_bad):,} new; "
            f"{len(notified.digests):,} digests",
            highlight=False,
        )
        for mark, turned in (
            ("[green]gone[/green]", report.turned_good),
            ("[red]new[/red]", report.turned_bad),
        ):
            for result in turned[:_SHOWN]:
                out.print(
                    f"  {mark} {result.bucket:%Y-%m-%d %H:%M}  {escape(sentence(result))}", highlight=False
                )
        if report.left:
            out.print(
                f"  [yellow]left[/yellow] {report.left:,} stale verdicts of analyzers that are no more as they were"
            )
        for note in [*report.notes, *notified.problems]:
            out.print(f"  [yellow]note[/yellow] {escape(note)}", highlight=False)
        if not report.buckets and not everything:
            out.print("nothing is stale; --all judges the range again all the same")
        if not quiet and notified.digests:
            out.print("next   monitor digest --send")


@app.command(rich_help_panel="Time")
def replay(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: FromOption = None,
    end: ToOption = None,
) -> None:
    """Prove that each verdict follows from what was known when it was given. Stores nothing.

    Every verdict of the range, superseded ones too, is judged again from the profiles, the monitor document and the
    verdicts of that moment. Exit code 3 when one comes out otherwise.

    `monitor replay lead-scoring --from 2026-03-01 --to 2026-03-08`
    """
    from monitoring_pipeline import replay as then
    from monitoring_pipeline.segments import segment_label

    with open_workspace() as workspace:
        workspace.dataset(dataset)
        with out.status(f"replaying {dataset}"):
            found = then.replay(workspace, dataset, asked_window(start, end))
        for one in found.differences[:_SHOWN]:
            place = f"{one.bucket:%Y-%m-%d %H:%M} {one.analyzer_id} {one.column or '(dataset)'} {segment_label(one.segment)}"
            out.print(
                f"  [red]✗[/red] {escape(place)}: {one.name} was {one.then!r}, is {one.now!r}",
                highlight=False,
            )
        out.print(
            f"[bold]{dataset}[/bold] {found.verdicts:,} verdicts of {found.runs:,} runs: {found.same - found.left:,} the "
            f"same, {found.verdicts - found.same:,} different, {found.left:,} of which no document or profile is left",
            highlight=False,
        )
        if found.differences:
            raise typer.Exit(FAILED)


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
    from monitoring_pipeline import readiness
    from monitoring_pipeline.simulation import SimulatedArrival

    found = readiness.discover(workspace, dataset_id).arrivals
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
