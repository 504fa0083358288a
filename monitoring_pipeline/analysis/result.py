"""What an analyzer found for one segment, column and bucket: the record that is stored, notified and explained.

An `AnalyzerResult` is immutable. Its fields are the columns of the store's table `analyzer_result`; what only one
analyzer type knows is in `details`. `to_reference_record` writes the same record with the names that the reference
platform uses. The identity of a verdict, `analysis_id`, does not change when a bucket is analysed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Self, cast

from monitoring_pipeline.segments import reference_text
from monitoring_pipeline.timegrid import Granularity, from_micros, to_micros


class FailureType(StrEnum):
    """Why a result holds no verdict."""

    INSUFFICIENT_BASELINE = "InsufficientBaseline"
    ROLLUP_BASELINE_REQUIRED = "RollupBaselineRequired"
    METRIC_EXCEPTION = "MetricException"
    CALCULATION_EXCEPTION = "CalculationException"
    NO_RESULTS = "NoResults"
    COMPOSITE_MISSING_COLUMNS = "CompositeCalculationMissingColumns"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerResult:
    """One verdict. `anomaly_count` is 1 for an anomaly and 0 otherwise, also when there is a failure.

    `column` is "" for results about the dataset; `segment` is the canonical key, "" for all data. Bounds are strict:
    a value on a bound is no anomaly. A bound that does not exist is None.
    """

    analysis_id: str
    result_id: str
    run_id: str
    analyzer_id: str
    analyzer_version: str
    monitor_ids: tuple[str, ...]
    segment: str
    column: str
    bucket: datetime
    created: datetime
    granularity: Granularity
    target_level: str
    metric: str
    analyzer_type: str
    anomaly_count: int
    algorithm: str | None = None
    algorithm_mode: str | None = None
    failure_type: FailureType | None = None
    failure_explanation: str | None = None
    target_count: int = 0
    target_batches_with_profile_count: int = 0
    baseline_count: int = 0
    baseline_batches_with_profile_count: int = 0
    expected_baseline_count: int = 0
    minimum_batch_size: int | None = None
    is_rollup: bool = False
    segment_weight: float | None = None
    reference_profile_id: str | None = None
    profile_version: int | None = None
    state: str = "current"
    stale: bool = False
    user_initiated_backfill: bool = False
    metric_value: float | None = None
    calculated_upper: float | None = None
    calculated_lower: float | None = None
    absolute_upper: float | None = None
    absolute_lower: float | None = None
    factor: float | None = None
    threshold_type: str | None = None
    drift_value: float | None = None
    drift_threshold: float | None = None
    diff_value: float | None = None
    diff_threshold: float | None = None
    diff_mode: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_anomaly(self) -> bool:
        """Whether the target is an anomaly."""
        return self.anomaly_count > 0

    @property
    def failed(self) -> bool:
        """Whether the analyzer could give no verdict."""
        return self.failure_type is not None

    def to_row(self) -> dict[str, object]:
        """The record as a row of the store: times in `int64` microseconds, everything else as it is."""
        row: dict[str, object] = {name: getattr(self, name) for name in FIELDS}
        row["bucket"] = to_micros(self.bucket)
        row["created"] = to_micros(self.created)
        row["granularity"] = self.granularity.value
        row["failure_type"] = self.failure_type.value if self.failure_type else None
        row["monitor_ids"] = list(self.monitor_ids)
        row["details"] = dict(self.details)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> Self:
        """Inverse of `to_row`. Columns that a result does not have, such as the dataset's key, are ignored."""
        values = {name: row[name] for name in FIELDS if name in row}
        values["bucket"] = _moment(values["bucket"])
        values["created"] = _moment(values["created"])
        values["granularity"] = Granularity.parse(str(values["granularity"]))
        values["failure_type"] = (
            FailureType(str(values["failure_type"])) if values.get("failure_type") else None
        )
        values["monitor_ids"] = tuple(cast("list[str]", values["monitor_ids"] or ()))
        values["details"] = dict(cast("Mapping[str, object]", values.get("details") or {}))
        for name in _FLAGS:
            values[name] = bool(values.get(name))
        return cls(**values)  # pyright: ignore[reportArgumentType]

    def to_reference_record(self, *, organisation: str, dataset: str) -> dict[str, object]:
        """The record with the reference platform's names; times in milliseconds, absent fields left out.

        `analyzerVersion` is the number that the document gives, as there; what ours is told by, a digest of everything
        that decides the verdict, is `analyzerContentVersion`.
        """
        record: dict[str, object] = {
            "id": self.result_id,
            "orgId": organisation,
            "datasetId": dataset,
            "column": self.column or None,
            "granularity": _REFERENCE_GRANULARITY[self.granularity],
            "datasetTimestamp": to_micros(self.bucket) // 1000,
            "creationTimestamp": to_micros(self.created) // 1000,
            "monitorIds": list(self.monitor_ids),
            "analyzerResultType": _REFERENCE_RESULT_TYPE.get(self.analyzer_type),
            "latest": True,
            "parent": self.analyzer_type in _COMPOSITE,
            "userInitiatedBackfill": int(self.user_initiated_backfill),
            "segmentWeightProvided": self.segment_weight is not None,
            "disableTargetRollup": False,
            **dict.fromkeys(_VERSIONS, 0),
            "failureType": self.failure_type.value if self.failure_type else None,
        }
        for name, reference_name in _REFERENCE_NAMES.items():
            record[reference_name] = getattr(self, name)
        record["segment"] = reference_text(self.segment)
        if self.analyzer_type in _COMPOSITE:
            record["metric"] = None
        record.update(_reference_details(self.details))
        return {name: value for name, value in record.items() if value is not None}


FIELDS: tuple[str, ...] = tuple(one.name for one in fields(AnalyzerResult))
"""Names of the fields, in order; also the columns of the store."""

_FLAGS = ("is_rollup", "stale", "user_initiated_backfill")

_REFERENCE_NAMES = {
    "analysis_id": "analysisId",
    "run_id": "runId",
    "analyzer_id": "analyzerId",
    "analyzer_version": "analyzerContentVersion",
    "segment": "segment",
    "target_level": "targetLevel",
    "metric": "metric",
    "analyzer_type": "analyzerType",
    "algorithm": "algorithm",
    "algorithm_mode": "algorithmMode",
    "anomaly_count": "anomalyCount",
    "failure_explanation": "failureExplanation",
    "target_count": "targetCount",
    "target_batches_with_profile_count": "targetBatchesWithProfileCount",
    "baseline_count": "baselineCount",
    "baseline_batches_with_profile_count": "baselineBatchesWithProfileCount",
    "expected_baseline_count": "expectedBaselineCount",
    "minimum_batch_size": "expectedBaselineSuppressionThreshold",
    "is_rollup": "isRollup",
    "segment_weight": "segmentWeight",
    "reference_profile_id": "referenceProfileId",
    "metric_value": "threshold_metricValue",
    "calculated_upper": "threshold_calculatedUpper",
    "calculated_lower": "threshold_calculatedLower",
    "absolute_upper": "threshold_absoluteUpper",
    "absolute_lower": "threshold_absoluteLower",
    "factor": "threshold_factor",
    "threshold_type": "threshold_type",
    "drift_value": "drift_metricValue",
    "drift_threshold": "drift_threshold",
    "diff_value": "diff_metricValue",
    "diff_threshold": "diff_threshold",
    "diff_mode": "diff_mode",
}
_VERSIONS = ("analyzerConfigVersion", "monitorConfigVersion", "entitySchemaVersion")
"""Numbers of the parts of the document, 0 where it has none."""

_REFERENCE_RESULT_TYPE = {
    "fixed": "FixedCalculationResult",
    "stddev": "StddevCalculationResult",
    "diff": "DiffCalculationResult",
    "drift": "DriftCalculationResult",
    "comparison": "EqualityCalculationResult",
    "list_comparison": "ListComparisonResult",
    "frequent_string_comparison": "FrequentStringComparisonResult",
    "column_list": "SchemaChangeResult",
    "monotonic": "FixedCalculationResult",
    "seasonal": "SeasonalResult",
    "conjunction": "ConjunctionCalculationResult",
    "disjunction": "DisjunctionCalculationResult",
}
_COMPOSITE = ("conjunction", "disjunction")
_REFERENCE_DETAILS = {
    "points_used": "threshold_minBatchSize",
    "seasonal_adjusted_prediction": "seasonal_adjusted_prediction",
    "seasonal_replacement": "seasonal_replacement",
}
"""Details whose names follow no rule."""

_GROUPS = ("comparison", "frequent_string_comparison", "column_list", "seasonal")
"""Beginnings of details that the reference sets off with an underscore."""
_REFERENCE_GRANULARITY = {
    Granularity.QUARTER_HOURLY: "PT15M",
    Granularity.HOURLY: "HOURS",
    Granularity.DAILY: "DAYS",
    Granularity.WEEKLY: "WEEKS",
    Granularity.MONTHLY: "MONTHS",
}


def analysis_id(
    organisation: str, dataset: str, *, analyzer: str, bucket: datetime, segment: str = "", column: str = ""
) -> str:
    """Name of a verdict, the same however often it is computed: the MD5 name UUID of the reference platform.

    >>> analysis_id("org-0", "model-1", analyzer="drift", bucket=datetime(2026, 1, 1), column="score")
    'f1bda538-62b8-3328-ac65-04e459037c0a'
    """
    return name_uuid(f"{analysis_name(organisation, dataset, analyzer, bucket)}{segment}{column}")


def analysis_name(organisation: str, dataset: str, analyzer: str, bucket: datetime) -> str:
    """What the names of all verdicts of an analyzer on a bucket begin with, before segment and column."""
    return f"{organisation}{dataset}{analyzer}{to_micros(bucket) // 1000}"


def name_uuid(name: str) -> str:
    """The version-3 UUID of a text without a name space, as Java's `UUID.nameUUIDFromBytes` makes it.

    >>> name_uuid("")
    'd41d8cd9-8f00-3204-a980-0998ecf8427e'
    """
    text = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-3{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The two bits that mark the variant of a UUID, set in a hexadecimal digit."""


def _moment(value: object) -> datetime:
    return value if isinstance(value, datetime) else from_micros(cast("int", value))


def _reference_details(details: Mapping[str, object]) -> dict[str, object]:
    """Details with the reference's names; compared values are text there, `9.0` for the number 9."""
    record: dict[str, object] = {}
    for name, value in details.items():
        compared = name in ("comparison_expected", "comparison_observed") and value is not None
        record[_reference_name(name)] = str(value) if compared else value
    return record


def _reference_name(name: str) -> str:
    if name in _REFERENCE_DETAILS:
        return _REFERENCE_DETAILS[name]
    for group in _GROUPS:
        if name.startswith(f"{group}_"):
            return f"{_camel(group)}_{_camel(name.removeprefix(f'{group}_'))}"
    return _camel(name)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
