"""What presets are made of: each method of `PresetMaker` turns what is known of a dataset into monitors for one purpose.

Thresholds follow from what is known before any baseline exists: how many rows a bucket has bounds how much a share or a
distribution moves by chance. Names and descriptions of the presets are in `presets`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.config.descriptions import (
    MANY_VALUES,
    ColumnDescription,
    DatasetDescription,
    JsonObject,
)
from monitoring_pipeline.timegrid import Granularity


@dataclass(frozen=True)
class PresetPart:
    """One monitor and its analyzers."""

    id: str
    name: str
    severity: int
    analyzers: tuple[JsonObject, ...]

    def monitor(self, actions: Sequence[JsonObject]) -> JsonObject:
        return {
            "id": f"{self.id}-monitor",
            "displayName": self.name,
            "severity": self.severity,
            "analyzerIds": [analyzer["id"] for analyzer in self.analyzers],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": list(actions),
        }


_WINDOW = {
    Granularity.QUARTER_HOURLY: 672,
    Granularity.HOURLY: 168,
    Granularity.DAILY: 28,
    Granularity.WEEKLY: 12,
    Granularity.MONTHLY: 12,
}
"""Buckets of the trailing baseline: whole weeks, so that every weekday is in it equally often."""

_CADENCE = {
    Granularity.QUARTER_HOURLY: "hourly",
    Granularity.HOURLY: "hourly",
    Granularity.DAILY: "daily",
    Granularity.WEEKLY: "weekly",
    Granularity.MONTHLY: "monthly",
}
_READY = {
    Granularity.QUARTER_HOURLY: "PT45M",
    Granularity.HOURLY: "PT3H",
    Granularity.DAILY: "P1DT12H",
    Granularity.WEEKLY: "P8D",
    Granularity.MONTHLY: "P1M2D",
}
"""When a bucket that has not arrived counts as missing, from its start."""

_SECONDS = {
    Granularity.QUARTER_HOURLY: 900,
    Granularity.HOURLY: 3_600,
    Granularity.DAILY: 86_400,
    Granularity.WEEKLY: 604_800,
    Granularity.MONTHLY: 2_678_400,
}
"""Length of the longest bucket."""

_ENDED_AFTER = 7
"""Buckets without data after which a dataset has ended."""

BINS = 30
"""Cells of the histogram that drift compares."""

_NORMAL_HELLINGER = 0.3
"""Weekly rhythm and slow change stay well below this on business data; a changed unit or category is above it."""

_MIN_BATCHES = 7

_LEAST_CHANGE = 0.05
"""Of an average: a smaller change is not worth a message, however steady the average was."""

_ODD_NULLS = 3
"""Nulls in one bucket that may be chance in a column that has none: of 4, all in one of 29 buckets, the chance is 1 in
700,000 (29⁻⁴)."""

_FEW = 0.005
"""Share of nulls that does not matter yet in a column that has none."""

_RARE = 0.05
"""Share of nulls up to which nulls are rare in a column: how many there are is then no matter of how many rows."""


class PresetMaker:
    """Makes monitors to the measure of one dataset, as of one moment."""

    def __init__(self, description: DatasetDescription, now: datetime) -> None:
        self._described = description
        self._now = now
        self._rows = max(description.rows_per_bucket, 1.0)
        size = _WINDOW[description.granularity]
        self._baseline: JsonObject = {"type": "TrailingWindow", "size": size}
        self._batches = min(_MIN_BATCHES, size)

    def missing_data(self) -> list[PresetPart]:
        """Buckets that did not arrive."""
        granularity, end = self._described.granularity, self._described.end
        if end is not None and granularity.index(self._now) - granularity.index(end) > _ENDED_AFTER:
            return []
        config: JsonObject = {"type": "fixed", "metric": "missingDatapoint", "upper": 0}
        ready = _READY[granularity]
        return [
            self._part(
                "missing-data", "Data has not arrived", 1, self._dataset(config, "missing-data", ready)
            )
        ]

    def row_count(self) -> list[PresetPart]:
        """Far more or fewer rows: outside both the usual spread and half to double the usual number.

        Where the usual spread is wide, as after a surge, what lasts is told all the same: half the rows twice in a row.
        """
        config = self._stddev(
            "shape_row_count",
            factor=4,
            limits={
                "maxUpperThreshold": round(self._rows * 1.8),
                "minLowerThreshold": round(self._rows * 0.5),
            },
        )
        lasting: JsonObject = {
            "type": "fixed",
            "metric": "shape_row_count",
            "lower": round(self._rows * 0.5),
            "nConsecutive": 2,
        }
        analyzers = self._dataset(config, "row-count"), self._dataset(lasting, "few-rows-again")
        return [self._part("row-count", "Far more or fewer rows than usual", 2, *analyzers)]

    def missing_values(self) -> list[PresetPart]:
        """Nulls: a jump of the share in either direction, a rare null that became common, the first in a column."""
        chance = 5 * 0.5 / math.sqrt(self._rows)
        jump: JsonObject = {
            "type": "diff",
            "metric": "count_null_ratio",
            "mode": "abs",
            "threshold": round(max(0.10, chance), 3),
            "baseline": self._baseline,
        }
        rise = self._stddev(
            "count_null_ratio",
            factor=5,
            limits={"maxUpperThreshold": round(max(0.05, 20 / self._rows), 3)},
            threshold_type="upper",
        )
        analyzers = [
            self._columns(jump, "null-ratio-jump", ["*"]),
            self._columns(rise, "null-ratio-rise", ["*"]),
        ]
        full = [column.name for column in self._described.profiled if column.null_share < _RARE]
        if full:
            # A number and not a share: what is odd about the first nulls does not depend on the rows beside them.
            first = self._stddev(
                "count_null",
                factor=5,
                limits={"maxUpperThreshold": max(_ODD_NULLS, round(_FEW * self._rows))},
                threshold_type="upper",
            )
            analyzers.append(self._columns(first, "first-nulls", full))
        return [
            self._part("missing-values", "The share of missing values has changed", 2, *analyzers),
        ]

    def schema_change(self) -> list[PresetPart]:
        """Columns that vanish, appear, or change between text and anything else."""

        def differs(metric: str, threshold: float) -> JsonObject:
            return {
                "type": "diff",
                "metric": metric,
                "mode": "abs",
                "threshold": threshold,
                "baseline": {"type": "TrailingWindow", "size": 7},
            }

        # A column of nulls only is neither text nor number, so that half of the values may come and go.
        types = self._columns(differs("count_string_ratio", 0.6), "column-types", ["*"])
        columns = self._dataset(differs("shape_column_count", 0.5), "column-count")
        name = "Columns vanished or appeared or changed their type"
        return [self._part("schema-change", name, 1, types, columns)]

    def number_drift(self) -> list[PresetPart]:
        """Numbers that are distributed differently."""
        # Amounts with fewer values than cells are tariffs: they follow the weekday, and are judged by their average.
        names = [column.name for column in self._numbers() if column.distinct > BINS]
        if not names:
            return []
        # Expected Hellinger distance of n values from their own distribution on b cells: √((b − 1) / 8n).
        config = self._drift("histogram", 3 * math.sqrt((BINS - 1) / (8 * self._rows)))
        analyzer = self._columns(config, "number-drift", names)
        return [self._part("number-drift", "Numbers are distributed differently", 2, analyzer)]

    def category_drift(self) -> list[PresetPart]:
        """Categories whose mix is different: renamed, new, or vanished values among them."""
        columns = self._categories()
        if not columns:
            return []
        cells = max(column.distinct for column in columns)
        config = self._drift("frequent_items", 3 * math.sqrt((cells - 1) / (8 * self._rows)))
        analyzer = self._columns(config, "category-drift", [column.name for column in columns])
        return [self._part("category-drift", "The mix of categories is different", 2, analyzer)]

    def values(self) -> list[PresetPart]:
        """Averages far off, which one absurd value is enough for, and signs that have never been seen, twice in a row."""
        numbers = self._numbers()
        if not numbers:
            return []
        average = self._stddev("mean", factor=6, limits={}) | {"params": {"leastChange": str(_LEAST_CHANGE)}}
        analyzers = [self._columns(average, "average-value", [column.name for column in numbers])]
        positive = [column.name for column in numbers if column.minimum is not None and column.minimum >= 0]
        if positive:
            # One negative number is weak evidence: a slip of one row, and small, or the average had told of it.
            config: JsonObject = {"type": "fixed", "metric": "min", "lower": 0, "nConsecutive": 2}
            analyzers.append(self._columns(config, "never-negative", positive))
        return [self._part("value-range", "Values are far from where they have ever been", 2, *analyzers)]

    def late_upload(self) -> list[PresetPart]:
        """Nothing has been uploaded for longer than two buckets take."""
        seconds = 2 * _SECONDS[self._described.granularity]
        config: JsonObject = {"type": "fixed", "metric": "secondsSinceLastUpload", "upper": seconds}
        return [self._part("late-upload", "Uploads are late", 2, self._dataset(config, "late-upload"))]

    def seasonal_volume(self) -> list[PresetPart]:
        """Rows against the forecast of their own season."""
        config: JsonObject = {
            "type": "seasonal",
            "metric": "shape_row_count",
            "alpha": 0.05,
            "stddevFactor": 3,
            "minBatchSize": 30,
            "baseline": {"type": "TrailingWindow", "size": 90},
        }
        name = "Rows do not follow their season"
        return [self._part("seasonal-volume", name, 2, self._dataset(config, "seasonal-volume"))]

    def column_names(self) -> list[PresetPart]:
        """Columns by name."""
        config: JsonObject = {
            "type": "column_list",
            "metric": "column_list",
            "mode": "ON_ADD_AND_REMOVE",
            "baseline": {"type": "TrailingWindow", "size": 7},
        }
        return [self._part("column-names", "Columns came or went", 2, self._dataset(config, "column-names"))]

    def new_categories(self) -> list[PresetPart]:
        """Values of categories that the baseline never had."""
        columns = self._categories()
        if not columns:
            return []
        config: JsonObject = {
            "type": "frequent_string_comparison",
            "metric": "frequent_items",
            "operator": "baseline_includes_all_target",
            "minBatchSize": self._batches,
            "baseline": self._baseline,
        }
        analyzer = self._columns(config, "new-categories", [column.name for column in columns])
        return [self._part("new-categories", "Categories have values never seen before", 3, analyzer)]

    def unique_values(self) -> list[PresetPart]:
        """Distinct values: a key that repeats, a constant that varies."""
        analyzer = self._columns(self._stddev("unique_est", factor=5, limits={}), "unique-values", ["*"])
        return [self._part("unique-values", "Far more or fewer distinct values than usual", 3, analyzer)]

    def psi_drift(self) -> list[PresetPart]:
        """Drift in the unit of credit scoring: 0.25 is significant, 0.5 is severe."""
        numbers, categories = self._numbers(), self._categories()
        most = max((column.distinct for column in categories), default=1)
        made: list[PresetPart] = []
        for level, threshold, severity in (("significant", 0.25, 2), ("severe", 0.5, 1)):
            analyzers = [
                self._columns(
                    self._psi(metric, threshold, cells),
                    f"psi-{kind}-{level}",
                    [one.name for one in columns],
                )
                for kind, metric, cells, columns in (
                    ("numbers", "histogram", BINS, numbers),
                    ("categories", "frequent_items", most, categories),
                )
                if columns
            ]
            if analyzers:
                name = f"The change of the population is {level} (PSI)"
                made.append(self._part(f"psi-{level}", name, severity, *analyzers))
        return made

    def classification(self) -> list[PresetPart]:
        """How well classes are predicted, against the same model of late."""
        return self._performance("classification", ("classification.f1", "classification.accuracy"), "lower")

    def regression(self) -> list[PresetPart]:
        """How far numbers are off, against the same model of late."""
        return self._performance("regression", ("regression.rmse", "regression.mae"), "upper")

    def latency(self) -> list[PresetPart]:
        """Requests that take long."""
        names = [column.name for column in self._numbers() if {"latency", "duration"} & {*_words(column)}]
        if not names:
            return []
        config: JsonObject = {"type": "fixed", "metric": "latency.p95", "upper": 500}
        return [
            self._part(
                "latency", "Every twentieth request is slow", 2, self._columns(config, "latency", names)
            )
        ]

    def errors(self) -> list[PresetPart]:
        """Requests that fail."""
        names = [
            column.name
            for column in self._described.profiled
            if column.kind in ("boolean", "integer")
            and {"error", "errors", "failed", "failure"} & {*_words(column)}
        ]
        if not names:
            return []
        config: JsonObject = {"type": "fixed", "metric": "error_rate", "upper": 0.01}
        return [self._part("errors", "Requests fail", 1, self._columns(config, "errors", names))]

    def _performance(self, kind: str, metrics: Sequence[str], side: str) -> list[PresetPart]:
        roles = self._described.roles
        if "target" not in roles or not {"prediction", "score"} & roles.keys():
            return []
        analyzers = [
            self._dataset(
                {
                    "type": "diff",
                    "metric": metric,
                    "mode": "pct",
                    "threshold": 10,
                    "thresholdType": side,
                    "minBatchSize": self._batches,
                    "baseline": self._baseline,
                },
                metric.replace(".", "-"),
            )
            for metric in metrics
        ]
        return [self._part(f"{kind}-performance", "The model has become worse", 1, *analyzers)]

    def _psi(self, metric: str, threshold: float, cells: int) -> JsonObject:
        # By chance alone PSI is about (cells − 1) / rows, and several times as much where cells are empty.
        noise = 5 * (cells - 1) / self._rows
        return {
            "type": "drift",
            "metric": metric,
            "algorithm": "psi",
            "threshold": round(threshold * max(1.0, noise / 0.25), 2),
            "minBatchSize": self._batches,
            "baseline": self._baseline,
        }

    def _categories(self) -> list[ColumnDescription]:
        return [
            column
            for column in self._described.profiled
            if column.kind == "text" and 2 <= column.distinct <= MANY_VALUES
        ]

    def _numbers(self) -> list[ColumnDescription]:
        return [
            column
            for column in self._described.profiled
            if column.kind in ("number", "integer") and column.distinct > 1 and not _is_code(column)
        ]

    def _part(self, name: str, display: str, severity: int, *analyzers: JsonObject) -> PresetPart:
        return PresetPart(name, display, severity, analyzers)

    def _stddev(
        self, metric: str, *, factor: float, limits: Mapping[str, float], threshold_type: str | None = None
    ) -> JsonObject:
        config: JsonObject = {
            "type": "stddev",
            "metric": metric,
            "factor": factor,
            "minBatchSize": self._batches,
        }
        if threshold_type is not None:
            config["thresholdType"] = threshold_type
        if limits:
            config |= {"limitType": "and", **limits}
        return {**config, "baseline": self._baseline}

    def _drift(self, metric: str, noise: float) -> JsonObject:
        return {
            "type": "drift",
            "metric": metric,
            "algorithm": "hellinger",
            "threshold": round(min(max(_NORMAL_HELLINGER, noise), 0.7), 2),
            "minBatchSize": self._batches,
            "baseline": self._baseline,
        }

    def _dataset(self, config: JsonObject, name: str, ready: str | None = None) -> JsonObject:
        return self._analyzer(name, {"type": "dataset", "segments": []}, config, ready)

    def _columns(self, config: JsonObject, name: str, include: Sequence[str]) -> JsonObject:
        matrix = {"type": "column", "include": list(include), "segments": [{"tags": []}]}
        return self._analyzer(name, matrix, config, None)

    def _analyzer(self, name: str, matrix: JsonObject, config: JsonObject, ready: str | None) -> JsonObject:
        start = self._described.start
        days = 30 + max((self._now - start).days, 0) if start is not None else 0
        return {
            "id": f"{name}-analyzer",
            "displayName": f"{name.replace('-', ' ').capitalize()} analyzer",
            "schedule": {"type": "fixed", "cadence": _CADENCE[self._described.granularity]},
            "targetMatrix": matrix,
            **({"dataReadinessDuration": ready} if ready else {}),
            "backfillGracePeriodDuration": f"P{max(days, 180)}D",
            "config": config,
        }


def _is_code(column: ColumnDescription) -> bool:
    """Whether the numbers of a column are names: averages and distances of them mean nothing."""
    words = _words(column)
    return column.kind == "integer" and bool(
        {"id", "code", "type", "zip", "key", "no", "number"} & {words[-1], words[0]}
    )


def _words(column: ColumnDescription) -> list[str]:
    return column.name.lower().replace("-", "_").split("_")
