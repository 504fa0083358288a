"""What the commands about documents show: monitors and analyzers in words, versions, presets, previews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitoring_pipeline import plain_words
from monitoring_pipeline.alerting.figures import how_many
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.config.presets import Preset
from monitoring_pipeline.preview import Preview
from monitoring_pipeline.store.documents import DocumentVersion
from monitoring_pipeline.terminal import SHOWN, moment_words, show_results


def show_document(console: Console, document: MonitorDocument) -> None:
    """A dataset's monitors and analyzers as two tables, and what of them does nothing."""
    console.print(f"[bold]{escape(document.dataset_id)}[/bold]  {document.granularity}", highlight=False)
    table = Table("monitor", "", "severity", "what", "analyzers", "tells", box=None, pad_edge=False)
    for monitor in document.monitors:
        table.add_row(
            escape(monitor.id),
            _state(disabled=monitor.disabled),
            plain_words.severity_words(monitor.severity),
            escape(monitor.display_name or ""),
            escape(", ".join(monitor.analyzer_ids)),
            escape(plain_words.tells(monitor)) or "[yellow]nobody[/yellow]",
        )
    if document.monitors:
        console.print(table)
    table = Table("analyzer", "", "type", "metric", "looks at", "tells", box=None, pad_edge=False)
    for analyzer in document.analyzers:
        listening = [one.id for one in document.monitors if analyzer.id in one.analyzer_ids]
        table.add_row(
            escape(analyzer.id),
            _state(disabled=analyzer.disabled),
            escape(str(analyzer.config.type)),
            escape(analyzer.metric or ""),
            escape(plain_words.targets_words(analyzer)),
            escape(", ".join(listening)),
        )
    if document.analyzers:
        console.print(table)
    if not document.monitors and not document.analyzers:
        console.print("  nothing is watched yet")
    for line in plain_words.idle_parts(document):
        console.print(f"  [yellow]note[/yellow] {escape(line)}", highlight=False)


def show_monitor(console: Console, monitor: Monitor, document: MonitorDocument) -> None:
    """One monitor in words, and each of its analyzers."""
    words = plain_words.monitor_words(monitor)
    _heading(console, "monitor", monitor.id, monitor.display_name, disabled=monitor.disabled)
    _lines(
        console,
        {"tells": words.tells, "what": words.what, "when": words.when, "tags": ", ".join(monitor.tags)},
    )
    for name in monitor.analyzer_ids:
        console.print()
        show_analyzer(console, document.analyzer(name), document, with_monitors=False)


def show_analyzer(
    console: Console, analyzer: Analyzer, document: MonitorDocument, *, with_monitors: bool = True
) -> None:
    """One analyzer in words, and the monitors that tell of it."""
    words = plain_words.analyzer_words(analyzer, document.granularity)
    _heading(console, "analyzer", analyzer.id, analyzer.display_name, disabled=analyzer.disabled)
    listening = [one.id for one in document.monitors if analyzer.id in one.analyzer_ids]
    _lines(
        console,
        {
            "watches": words.watches,
            "against": words.against,
            "anomaly": words.anomaly,
            "when": words.when,
            "tags": ", ".join(analyzer.tags),
            **({"told by": ", ".join(listening) or "no monitor"} if with_monitors else {}),
        },
    )


def show_diff(console: Console, diff: str) -> None:
    """A unified difference: what went in red, what came in green."""
    for line in diff.splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        console.print(line, style=style, markup=False, highlight=False)


def show_history(console: Console, versions: Sequence[DocumentVersion]) -> None:
    """Versions of a document as a table, newest first."""
    table = Table("version", "when", "who", "from", "lines", "hash", box=None, pad_edge=False)
    for version in versions:
        changed = Counter(line[0] for line in version.diff.splitlines()[2:] if line[:1] in ("+", "-"))
        table.add_row(
            str(version.version),
            moment_words(version.created),
            escape(version.author),
            version.origin,
            f"+{changed['+']} −{changed['-']}",
            version.hash[:12],
        )
    console.print(table)


def show_presets(console: Console, presets: Sequence[Preset]) -> None:
    """Presets by what they are for."""
    table = Table("preset", "for", "what it tells", "needs", box=None, pad_edge=False)
    for preset in sorted(presets, key=lambda one: one.category):
        first = " *" if preset.first else ""
        table.add_row(
            f"{preset.name}{first}", preset.category, escape(preset.description), escape(preset.needs)
        )
    console.print(table)
    console.print("* in the document that `monitor init` writes", highlight=False)


def show_preview(console: Console, shown: Preview, results: Sequence[AnalyzerResult]) -> None:
    """What analyzers would say: the chosen verdicts, the counts, and what was left out and why."""
    console.print(
        f"[bold]{escape(shown.dataset_id)}[/bold] from {moment_words(shown.window.start)} to "
        f"{moment_words(shown.window.end)}: {how_many(len(shown.results), 'verdict')}, "
        f"{how_many(len(shown.anomalies), 'anomaly', 'anomalies')}; "
        "nothing was stored",
        highlight=False,
    )
    if results:
        show_results(console, shown.dataset_id, results)
    table = Table("analyzer", "verdicts", "anomalies", "without", "columns", box=None, pad_edge=False)
    for tally in shown.tallies:
        columns = [f"{column or 'dataset'} {count:,}" for column, count in tally.columns.items()]
        more = f", {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
        table.add_row(
            escape(tally.analyzer_id),
            f"{tally.results:,}",
            f"{tally.anomalies:,}",
            f"{tally.failures:,}",
            escape(", ".join(columns[:SHOWN]) + more),
        )
    if shown.tallies:
        console.print(table)
    for line in (*shown.summary(), *shown.notes):
        console.print(f"  [yellow]note[/yellow] {escape(line)}", highlight=False)


def _heading(console: Console, kind: str, id_: str, name: str | None, *, disabled: bool) -> None:
    console.print(
        f"{kind} [bold]{escape(id_)}[/bold]  {escape(name or '')}  {_state(disabled=disabled)}".rstrip(),
        highlight=False,
    )


def _lines(console: Console, lines: Mapping[str, str]) -> None:
    for label, text in lines.items():
        if text:
            console.print(f"  {label:<8} {escape(text)}", highlight=False)


def _state(*, disabled: bool) -> str:
    return "[yellow]disabled[/yellow]" if disabled else ""
