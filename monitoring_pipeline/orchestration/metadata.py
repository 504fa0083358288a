"""What a person sees in the Dagster UI of a run or partition: counts that plot, the worst anomalies as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.alerting.wording import sentence
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.entity_schema import EntitySchema
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
    """Metadata of a profiling run."""
    shown = {
        "rows": report.rows,
        "cells": report.cells,
        "seconds": round(report.seconds, 3),
        "buckets profiled": len(report.buckets),
        "buckets unchanged": len(report.unchanged),
        "buckets without data": len(report.missing),
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
        "input problems": len(report.problems),
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
    """Metadata of an analysis run."""
    anomalies = [result for result in results if result.anomaly_count]
    waiting = "\n".join(
        f"- `{wait.analyzer_id}`"
        + (f" on {wait.bucket:%Y-%m-%d %H:%M}" if wait.bucket else "")
        + f": {wait.reason}"
        for wait in analyzed.waiting[:SHOWN]
    )
    return {
        "new verdicts": analyzed.count,
        "new anomalies": len(analyzed.anomalies),
        "digests": len(notified.digests),
        "incidents": len(notified.incidents),
        "seconds": round(analyzed.seconds, 3),
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
    """The most severe digest as people got it, and how many others there are."""
    worst = min(digests, key=lambda digest: (digest.severity, -digest.anomaly_count))
    more = f"\n\nand {len(digests) - 1} more" if len(digests) > 1 else ""
    return f"```\n{render_text(worst)}\n```{more}"


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
