"""From verdicts in arrays to results: identity, counts, and what all analyzers' results have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.findings import Block
from monitoring_pipeline.analysis.inputs import Inputs
from monitoring_pipeline.analysis.jobs import Job
from monitoring_pipeline.analysis.planner import analyzer_version, children_of, is_column_level
from monitoring_pipeline.analysis.result import FIELDS, analysis_id, analysis_name, name_uuid
from monitoring_pipeline.analysis.verdicts import Column, Verdicts
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import ReferenceBaseline
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.metrics import NO_METRICS, Metric
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
    metrics: Mapping[str, Metric] = field(default_factory=lambda: NO_METRICS)
    """All of the dataset's own, by folded name."""

    def shared(self, analyzer: Analyzer) -> dict[str, Any]:
        """The fields that all results of an analyzer share, save for its details."""
        children = [self.document.analyzer(name) for name in children_of(analyzer)]
        return {
            "run_id": self.run_id,
            "analyzer_id": analyzer.id,
            "analyzer_version": analyzer_version(analyzer, children, metrics=self.metrics),
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

    def block(self, job: Job, inputs: Inputs, verdicts: Verdicts, *, versions: Mapping[int, int]) -> Block:
        """The results of some series. `versions` are the profile versions by bucket index."""
        analyzer, weights = job.analyzer, self.document.weight_config
        shared = {
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
        there = np.nonzero(inputs.present)
        rows, ats = (places.tolist() for places in there)
        keys = [inputs.keys[row] for row in rows]
        starts = [from_micros(int(start)) for start in job.granularity.start_array(job.targets)]
        seen = [versions.get(at) for at in job.targets.tolist()]
        failure = verdicts.failure[there].tolist()
        columns: dict[str, Sequence[Any]] = {
            **self._identities(analyzer, starts, keys, ats),
            "anomaly_count": verdicts.anomaly[there].astype(np.int64).tolist(),
            "failure_type": failure,
            "failure_explanation": verdicts.explanation[there].tolist(),
            "target_count": inputs.target_count[there].tolist(),
            "target_batches_with_profile_count": inputs.target_profiles[there].tolist(),
            "baseline_count": inputs.baseline_count[there].tolist(),
            "baseline_batches_with_profile_count": inputs.baseline_profiles[there].tolist(),
            "segment_weight": [
                weights.weight(column, segment) if weights and column else None for segment, column in keys
            ],
            "profile_version": [seen[at] for at in ats],
        }
        given, details = given_details(analyzer, self.document), dict[str, Sequence[object]]()
        failed = [place for place, kind in enumerate(failure) if kind is not None]
        for name, value in verdicts.columns.items():
            values = _values(value, there)
            for place in failed if name in _VERDICT_FIELDS else ():
                values[place] = None
            if name not in given:
                (columns if name in _ALGORITHM_FIELDS else details)[name] = values
        return Block(shared, columns, details, given)

    def _identities(
        self,
        analyzer: Analyzer,
        starts: Sequence[datetime],
        keys: Sequence[tuple[str, str]],
        ats: Sequence[int],
    ) -> dict[str, Sequence[Any]]:
        """`identity` for many verdicts."""
        names = [
            analysis_name(self.ref.organisation, self.ref.dataset_id, analyzer.id, start) for start in starts
        ]
        ids = [
            name_uuid(f"{names[at]}{segment}{column}")
            for at, (segment, column) in zip(ats, keys, strict=True)
        ]
        run_id = self.run_id
        return {
            "analysis_id": ids,
            "result_id": [name_uuid(name + run_id) for name in ids],
            "segment": [segment for segment, _ in keys],
            "column": [column for _, column in keys],
            "bucket": [starts[at] for at in ats],
        }


def given_details(analyzer: Analyzer, document: MonitorDocument) -> dict[str, object]:
    """What a result repeats of its analyzer, and the numbers of the parts of the document that were saved with one."""
    profile_id = getattr(analyzer.target_matrix, "profile_id", None)
    parts = {
        "analyzer_config": analyzer,
        "monitor_config": document,
        "entity_schema": document.entity_schema,
        "weight_config": document.weight_config,
    }
    saved = {name: part.metadata.version for name, part in parts.items() if part and part.metadata}
    numbers = {"analyzer": analyzer.config.version, **saved}
    return {
        **{f"{name}_version": number for name, number in numbers.items() if number},
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


def _values(value: Column, there: tuple[NDArray[np.intp], ...]) -> list[Any]:
    """A column of the verdicts at these places; None for numbers that are not finite."""
    if isinstance(value, np.ndarray):
        chosen = value[there]
        values = chosen.tolist()
        for place in np.flatnonzero(~np.isfinite(chosen)).tolist() if chosen.dtype.kind == "f" else ():
            values[place] = None
        return values
    constant = None if isinstance(value, float) and not np.isfinite(value) else value
    return [constant] * len(there[0])
