"""One asset check per monitor, on the analyzer results; none ever blocks.

A check fails when the newest buckets of a run hold anomalies of the monitor's analyzers. WARN or ERROR follows the
monitor's severity. A monitor that is disabled, or had nothing to judge, still reports, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.links import Links
from monitoring_pipeline.orchestration import metadata

WORST_SHOWN = 20


def check_name(monitor: Monitor) -> str:
    """Name of a monitor's check."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in monitor.id)


def check_specs(monitors: Sequence[Monitor], asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The check of each monitor."""
    return [
        dg.AssetCheckSpec(
            check_name(monitor), asset=asset, description=monitor.display_name or monitor.id, blocking=False
        )
        for monitor in monitors
    ]


def check_results(
    document: MonitorDocument, results: Sequence[AnalyzerResult], *, links: Links
) -> list[dg.AssetCheckResult]:
    """The verdict of each monitor over the results of a run's buckets, with the way to the newest anomaly."""
    return [_check_result(document, monitor, results, links) for monitor in document.monitors]


def _check_result(
    document: MonitorDocument, monitor: Monitor, results: Sequence[AnalyzerResult], links: Links
) -> dg.AssetCheckResult:
    judged = [result for result in results if result.analyzer_id in monitor.analyzer_ids]
    anomalies = [result for result in judged if result.anomaly_count]
    status = "disabled" if monitor.disabled else "skipped: nothing to judge" if not judged else "judged"
    return dg.AssetCheckResult(
        check_name=check_name(monitor),
        passed=monitor.disabled or not anomalies,
        severity=dg.AssetCheckSeverity.ERROR if monitor.severity == 1 else dg.AssetCheckSeverity.WARN,
        metadata={
            "status": status,
            "verdicts": len(judged),
            "anomalies": len(anomalies),
            **({"worst": metadata.anomaly_table(anomalies[:WORST_SHOWN])} if anomalies else {}),
            **metadata.newest(links, document, anomalies),
        },
    )
