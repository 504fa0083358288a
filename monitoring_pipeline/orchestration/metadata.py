"""What a person sees in the Dagster UI of a run or partition: counts that plot, the worst anomalies as a table, and the way on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.alerting.wording import sentence
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.dataset import DatasetSpec
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.links import Links
from monitoring_pipeline.pipeline import Analyzed, Notified, Profiled, ProfiledBucket
from monitoring_pipeline.segments import segment_label

SHOWN = 20

Metadata = Mapping[str, dg.MetadataValue | int | float | str]


def of_profile(bucket: ProfiledBucket, key_metrics: Mapping[str, float]) -> Metadata:
    """Metadata of one profiled partition; its numbers are plotted over partitions."""
    return {
        "dagster/partition_row_count": bucket.rows,
        **key_metrics,
        "columns": bucket.columns,
        "segments": bucket.segments,
        "load": bucket.version,
        **{f"problems: {kind}": count for kind, count in bucket.problems.items()},
    }


def links_of_profile(links: Links, spec: DatasetSpec, bucket: datetime) -> Metadata:
    """From a profiled partition on to what was found in it."""
    found = {"verdicts on it": dg.MetadataValue.url(links.bucket(spec.id, spec.granularity, bucket))}
    return {**found, **_dashboard(links, spec.id, bucket)}


def links_of_results(links: Links, spec: DatasetSpec, bucket: datetime) -> Metadata:
    """From an analysed partition on to what was judged, and to the monitors' checks."""
    profile = links.bucket(spec.id, spec.granularity, bucket, name="profiles")
    return {
        "profile": dg.MetadataValue.url(profile),
        "checks": dg.MetadataValue.url(links.checks(spec.id)),
        **_dashboard(links, spec.id, bucket),
    }


def newest(links: Links, document: MonitorDocument, anomalies: Sequence[AnalyzerResult]) -> Metadata:
    """The way to the partition of the newest anomaly, where there is one."""
    if not anomalies:
        return {}
    bucket = max(result.bucket for result in anomalies)
    link = links.bucket(document.dataset_id, document.granularity, bucket)
    return {"newest anomaly": dg.MetadataValue.url(link), **_dashboard(links, document.dataset_id, bucket)}


def _dashboard(links: Links, dataset_id: str, bucket: datetime) -> Metadata:
    link = links.on_dashboard(dataset_id, bucket)
    return {"dashboard": dg.MetadataValue.url(link)} if link else {}


def of_columns(schema: EntitySchema | None, upstream: dg.AssetKey) -> Metadata:
    """Columns with their types, and that each comes from the column of the same name of the asset before."""
    if schema is None or not schema.columns:
        return {}
    columns = [
        dg.TableColumn(
            name,
            type=str(known.data_type or "unknown"),
            description=", ".join(
                str(word)
                for word in (known.discreteness, known.classifier)
                if word and str(word) != "unknown"
            )
            or None,
        )
        for name, known in sorted(schema.columns.items())
    ]
    lineage = {name: [dg.TableColumnDep(asset_key=upstream, column_name=name)] for name in schema.columns}
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns=columns)),
        "dagster/column_lineage": dg.MetadataValue.column_lineage(dg.TableColumnLineage(lineage)),
    }


def of_profiling(report: Profiled) -> Metadata:
    """Metadata of a profiling run: in words, because Dagster would plot its numbers on each partition of the run."""
    shown = {
        "profiled": f"{len(report.buckets):,} buckets, {report.rows:,} rows, {report.cells:,} cells in {report.seconds:.1f} s",
        "not profiled": f"{len(report.unchanged):,} buckets unchanged, {len(report.missing):,} without data",
    }
    if not report.problems:
        return shown
    records = [
        dg.TableRecord(
            {"kind": problem.kind, "file": problem.path, "rows": problem.rows, "detail": problem.detail}
        )
        for problem in report.problems[:SHOWN]
    ]
    return {
        **shown,
        "input problems": f"{len(report.problems):,}",
        "input problems (first)": dg.MetadataValue.table(records),
    }


def of_results(bucket: datetime, results: Sequence[AnalyzerResult]) -> Metadata:
    """Metadata of one analysed partition."""
    mine = [result for result in results if result.bucket == bucket]
    anomalies = [result for result in mine if result.anomaly_count]
    return {
        "verdicts": len(mine),
        "anomalies": len(anomalies),
        "failures": sum(result.failure_type is not None for result in mine),
        **({"worst": sentence(anomalies[0])} if anomalies else {}),
    }


def of_analysis(analyzed: Analyzed, notified: Notified, results: Sequence[AnalyzerResult]) -> Metadata:
    """Metadata of an analysis run: in words what holds for the run, and not for each of its partitions."""
    anomalies = [result for result in results if result.anomaly_count]
    waiting = "\n".join(
        f"- `{wait.analyzer_id}`"
        + (f" on {wait.bucket:%Y-%m-%d %H:%M}" if wait.bucket else "")
        + f": {wait.reason}"
        for wait in analyzed.waiting[:SHOWN]
    )
    return {
        "judged": f"{analyzed.count:,} new verdicts, {len(analyzed.anomalies):,} of them anomalies, in {analyzed.seconds:.1f} s",
        "told": f"{len(notified.digests):,} digests on {len(notified.incidents):,} incidents",
        **({"worst anomalies": anomaly_table(anomalies[:SHOWN])} if anomalies else {}),
        **({"waiting": dg.MetadataValue.md(waiting)} if waiting else {}),
        **(
            {"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in analyzed.notes))}
            if analyzed.notes
            else {}
        ),
        **({"digest": dg.MetadataValue.md(_digest(notified.digests))} if notified.digests else {}),
    }


def _digest(digests: Sequence[Digest]) -> str:
    """The most severe digest as people got it, and the way to what it and the others are about."""
    worst, *others = sorted(digests, key=lambda digest: (digest.severity, -digest.anomaly_count))
    linked = [
        f"- [{one.monitor_name}, {one.last_bucket:%Y-%m-%d %H:%M}]({one.link})"
        for one in [worst, *others][:SHOWN]
        if one.link
    ]
    more = [f"and {len(others)} more"] if others else []
    return "\n\n".join([f"```\n{render_text(worst)}\n```", *more, *(["\n".join(linked)] if linked else [])])


def anomaly_table(anomalies: Sequence[AnalyzerResult]) -> dg.TableMetadataValue:
    """Anomalies as a table, in the order given."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "bucket": f"{result.bucket:%Y-%m-%d %H:%M}",
                    "column": result.column or "(dataset)",
                    "segment": segment_label(result.segment),
                    "analyzer": result.analyzer_id,
                    "what": sentence(result),
                }
            )
            for result in anomalies
        ]
    )
