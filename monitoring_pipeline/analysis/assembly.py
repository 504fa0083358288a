"""From verdicts in arrays to results: identity, counts, and what all analyzers' results have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitoring_pipeline.analysis.inputs import Inputs
from monitoring_pipeline.analysis.jobs import Job
from monitoring_pipeline.analysis.planner import analyzer_version, children_of, is_column_level
from monitoring_pipeline.analysis.result import FIELDS, AnalyzerResult, analysis_id, name_uuid
from monitoring_pipeline.analysis.verdicts import Column, Verdicts
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import ReferenceBaseline
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import from_micros


@dataclass(frozen=True)
class Assembly:
    """What all results of a run share."""

    ref: DatasetRef
    document: MonitorDocument
    now: datetime
    run_id: str
    backfill: bool

    def shared(self, analyzer: Analyzer) -> dict[str, Any]:
        """The fields that all results of an analyzer share, save for its details."""
        children = [self.document.analyzer(name) for name in children_of(analyzer)]
        return {
            "run_id": self.run_id,
            "analyzer_id": analyzer.id,
            "analyzer_version": analyzer_version(analyzer, children),
            "monitor_ids": tuple(monitor.id for monitor in self.document.monitors_of(analyzer.id)),
            "created": self.now,
            "granularity": self.document.granularity,
            "analyzer_type": str(analyzer.config.type),
            "user_initiated_backfill": self.backfill,
        }

    def identity(self, analyzer: Analyzer, bucket: datetime, segment: str, column: str) -> dict[str, Any]:
        """The fields that say which verdict it is."""
        name = analysis_id(
            self.ref.organisation,
            self.ref.dataset_id,
            analyzer=analyzer.id,
            bucket=bucket,
            segment=segment,
            column=column,
        )
        return {
            "analysis_id": name,
            "result_id": name_uuid(name + self.run_id),
            "segment": segment,
            "column": column,
            "bucket": bucket,
        }

    def results(
        self, job: Job, inputs: Inputs, verdicts: Verdicts, *, versions: Mapping[int, int]
    ) -> Iterator[AnalyzerResult]:
        """The results of some series. `versions` are the profile versions by bucket index."""
        analyzer, weights = job.analyzer, self.document.weight_config
        common = {
            **self.shared(analyzer),
            "target_level": "column" if is_column_level(analyzer) else "dataset",
            "metric": job.metric.name,
            "expected_baseline_count": job.expected_baseline,
            "minimum_batch_size": job.minimum,
            "is_rollup": job.algorithm.needs != "series" or job.target.length > 1,
            "reference_profile_id": (
                job.baseline.profile_id if isinstance(job.baseline, ReferenceBaseline) else None
            ),
        }
        columns = [_column(name, value) for name, value in verdicts.columns.items()]
        starts = [from_micros(int(start)) for start in job.granularity.start_array(job.targets)]
        given = given_details(analyzer)
        for row, at in np.argwhere(inputs.present).tolist():
            segment, column = inputs.keys[row]
            fields: dict[str, Any] = {}
            details: dict[str, object] = {}
            failed = verdicts.failure[row, at] is not None
            for field, is_field, read in columns:
                if not failed or field not in _VERDICT_FIELDS:
                    value = read(row, at)
                    if is_field or value is not None:
                        (fields if is_field else details)[field] = value
            yield AnalyzerResult(
                **common,
                **fields,
                **self.identity(analyzer, starts[at], segment, column),
                anomaly_count=int(verdicts.anomaly[row, at]),
                failure_type=verdicts.failure[row, at],
                failure_explanation=verdicts.explanation[row, at],
                target_count=int(inputs.target_count[row, at]),
                target_batches_with_profile_count=int(inputs.target_profiles[row, at]),
                baseline_count=int(inputs.baseline_count[row, at]),
                baseline_batches_with_profile_count=int(inputs.baseline_profiles[row, at]),
                segment_weight=weights.weight(column, segment) if weights and column else None,
                profile_version=versions.get(int(job.targets[at])),
                details={**details, **given},
            )


def given_details(analyzer: Analyzer) -> dict[str, object]:
    """What a result repeats of its analyzer."""
    profile_id = getattr(analyzer.target_matrix, "profile_id", None)
    return {
        **({"analyzer_tags": list(analyzer.tags)} if analyzer.tags else {}),
        **({"disable_target_rollup": True} if analyzer.disable_target_rollup else {}),
        **({"target_profile_id": profile_id} if profile_id else {}),
    }


_ALGORITHM_FIELDS = frozenset(FIELDS[FIELDS.index("metric_value") : FIELDS.index("details")]) | {
    "algorithm",
    "algorithm_mode",
}
"""Fields of a result that an algorithm may fill; its other columns are details."""

_VERDICT_FIELDS = frozenset(
    {
        "calculated_lower",
        "calculated_upper",
        "drift_value",
        "diff_value",
        "baseline_value",
        "points_used",
        "comparison_expected",
    }
)
"""Columns that mean nothing when there is no verdict."""

_Read = Callable[[int, int], object]


def _column(name: str, value: Column) -> tuple[str, bool, _Read]:
    """A column of the verdicts: its name, whether it is a field of the result, and how to read one value of it."""
    is_field = name in _ALGORITHM_FIELDS
    if isinstance(value, np.ndarray):
        values = value.tolist()
        if value.dtype.kind != "f":
            return name, is_field, lambda row, at: values[row][at]
        finite = np.isfinite(value).tolist()
        return name, is_field, lambda row, at: values[row][at] if finite[row][at] else None
    constant = None if isinstance(value, float) and not np.isfinite(value) else value
    return name, is_field, lambda _row, _at: constant
