"""What the commands show: tables and one-line reports for people, on a rich console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from monitoring_pipeline.alerting.delivery import DeliveryReport
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.alerting.wording import sentence
from monitoring_pipeline.analysis.gates import Gate
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.overview import Status
from monitoring_pipeline.pipeline import Analyzed, Notified, Profiled
from monitoring_pipeline.segments import segment_label

SHOWN = 10
SHOWN_METRICS = (
    *("count", "count_null", "mean", "stddev", "min", "median", "max"),
    *("outlier_count", "outlier_sigma_count", "unique_est"),
)


@contextmanager
def progress(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that fills as `(done, total)` is reported; silent when the output is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_profiled(console: Console, dataset_id: str, report: Profiled) -> None:
    """What was profiled, how fast, and what was wrong with the input."""
    rate = f", {report.cells / report.seconds / 1e6:.1f} M cells/s" if report.cells and report.seconds else ""
    console.print(
        f"[bold]{dataset_id}[/bold] profiled {len(report.buckets):,} buckets: {report.rows:,} rows, "
        f"{report.cells:,} cells in {report.seconds:.1f} s{rate}; {len(report.unchanged):,} unchanged",
        highlight=False,
    )
    counted = Counter(problem.kind for problem in report.problems)
    for kind, count in counted.most_common():
        first = next(problem for problem in report.problems if problem.kind == kind)
        console.print(
            f"  [yellow]{kind.replace('_', ' ')}[/yellow] ×{count}, first: {escape(first.path)}: {escape(first.detail)}",
            highlight=False,
        )


def show_analyzed(console: Console, dataset_id: str, analyzed: Analyzed, notified: Notified) -> None:
    """How many verdicts and anomalies, the worst of them, and what waits."""
    console.print(
        f"[bold]{dataset_id}[/bold] {analyzed.count:,} verdicts in {analyzed.seconds:.1f} s: "
        f"{len(analyzed.anomalies):,} anomalies, {len(notified.incidents):,} incidents, "
        f"{len(notified.digests):,} digests"
        + (
            f", {analyzed.failures:,} without a verdict (`monitor results {dataset_id} --all`)"
            if analyzed.failures
            else ""
        ),
        highlight=False,
    )
    for incident in sorted(notified.incidents, key=lambda incident: incident.start, reverse=True)[:SHOWN]:
        console.print(
            f"  [red]●[/red] {incident.start:%Y-%m-%d %H:%M}  {escape(incident.title)}", highlight=False
        )
    idle = [f"{wait.analyzer_id}: {wait.reason}" for wait in analyzed.waiting if wait.gate is Gate.IDLE]
    for note in [*idle, *analyzed.notes, *notified.problems]:
        console.print(f"  [yellow]note[/yellow] {escape(note)}", highlight=False)


def show_delivered(console: Console, report: DeliveryReport) -> None:
    """What the channels accepted and what they did not."""
    if report.delivered or report.failed or report.waiting:
        console.print(
            f"digests: {report.delivered} delivered, {report.failed} failed, {report.waiting} waiting"
        )
    for problem in report.problems:
        console.print(f"  [yellow]{escape(problem)}[/yellow]", highlight=False)


def show_results(console: Console, dataset_id: str, results: Sequence[AnalyzerResult]) -> None:
    """Verdicts as a table."""
    if not results:
        console.print(f"{dataset_id}: nothing to show; `monitor run {dataset_id}` analyses what is due")
        return
    table = Table("bucket", "", "what", "analyzer", "segment", box=None, pad_edge=False, header_style="bold")
    for result in results:
        mark = (
            "[yellow]?[/yellow]" if result.failure_type else "[red]●[/red]" if result.anomaly_count else "·"
        )
        what = result.failure_explanation if result.failure_type else sentence(result)
        table.add_row(
            f"{result.bucket:%Y-%m-%d %H:%M}",
            mark,
            escape(what or ""),
            escape(result.analyzer_id),
            escape(segment_label(result.segment)),
        )
    console.print(table)


def show_digests(console: Console, digests: Sequence[Digest]) -> None:
    """Digests as their readers get them."""
    if not digests:
        console.print("no digests yet: nothing was wrong, or nothing has run (`monitor status`)")
    for digest in digests:
        console.print(render_text(digest), highlight=False, markup=False)


def show_status(console: Console, status: Status, *, every: bool = False) -> None:
    """One dataset's state in a few lines; or in all there are with `every`."""
    console.print(f"[bold]{status.dataset_id}[/bold]  {status.granularity}", highlight=False)
    if status.last_bucket is None:
        console.print("  nothing profiled yet")
    else:
        console.print(
            f"  {status.buckets:,} buckets profiled, {status.rows:,} rows, {moment_words(status.first_bucket)} to "
            f"{moment_words(status.last_bucket)}, last upload {moment_words(status.last_upload)}",
            highlight=False,
        )
    if status.to_profile or status.due:
        console.print(
            f"  due: {status.to_profile:,} buckets to profile, {status.due:,} analyses (`monitor run {status.dataset_id}`)"
        )
    shown = None if every else SHOWN
    for line in status.todo[:shown]:
        console.print(f"  due: {escape(line)}", highlight=False)
    for line in status.waiting[:shown]:
        console.print(f"  waiting: {escape(line)}", highlight=False)
    hidden = sum(len(lines[shown:]) for lines in (status.todo, status.waiting)) if shown is not None else 0
    if hidden:
        console.print(f"  and {hidden:,} more (`monitor status {status.dataset_id} --all`)", highlight=False)
    for line in status.trouble:
        console.print(f"  [yellow]trouble[/yellow] {escape(line)}", highlight=False)
    for incident in status.open_incidents:
        console.print(
            f"  [red]open[/red] since {moment_words(incident.start)}: {escape(incident.title)}",
            highlight=False,
        )
    for line in status.undelivered:
        console.print(f"  [yellow]undelivered[/yellow] {escape(line)}", highlight=False)


def show_profile(console: Console, described: Mapping[str, Any]) -> None:
    """A profile file: for each segment a table of columns and what people ask of them first, and quality figures."""
    for part in described.get("segments", [described]):
        tags = ", ".join(f"{name}={value}" for name, value in (part.get("segment") or {}).items())
        console.print(
            f"[bold]{escape(tags) or 'all data'}[/bold]  {part.get('dataset_timestamp') or ''}",
            highlight=False,
        )
        table = Table(
            "column", *SHOWN_METRICS, "most frequent", box=None, pad_edge=False, header_style="bold"
        )
        for name, metrics in part["columns"].items():
            items = ", ".join(
                f"{value} ({count:,.0f})" for value, count in (metrics.get("frequent_items") or [])[:3]
            )
            table.add_row(
                escape(name), *(_figure(metrics.get(metric)) for metric in SHOWN_METRICS), escape(items)
            )
        console.print(table)
        for name, value in part.get("performance", {}).get("metrics", {}).items():
            console.print(f"  {name} {_figure(value)}", highlight=False)
        for warning in part.get("warnings", ()):
            console.print(f"  [yellow]{escape(warning)}[/yellow]", highlight=False)


def _figure(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, (int, float)) else "" if value is None else str(value)


def moment_words(moment: datetime | None) -> str:
    """A moment to the minute; never, where there is none."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
