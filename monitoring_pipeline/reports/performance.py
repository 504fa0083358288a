"""How good predictions were where outcomes are known, and the metrics that analyzers watch by name, over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.alerting.figures import Unit
from monitoring_pipeline.alerting.wording import MISSING_DATA, canonical, metric_words, unit_of
from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.analysis.planner import candidate_columns
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.reports.judged import Judged
from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.tallies import VerdictSeries

Floats = NDArray[np.float64]

MOST_WATCHED: Final = 12
"""Watched metrics that are drawn, in the order of the document."""

SURE: Final = 3.0
"""Standard errors of a period's mean, by how its buckets differ, that a change must exceed."""

_LEAST_BUCKETS = 3

_SAID_ELSEWHERE = frozenset(
    {MISSING_DATA, "shape_row_count", "shape_column_count", "count", "count_null", "count_null_ratio"}
)
_COUNTED_ROWS = ("outcome_count",)
_SMALLER_IS_BETTER = (
    "log_loss",
    "brier",
    "ece",
    "fpr",
    "mse",
    "rmse",
    "mae",
    "false_positive",
    "false_negative",
)
_NEITHER = ("bias", "value_", "outcome_")


@dataclass(frozen=True)
class MetricStory:
    """One metric: of the period and of the one before, and bucket by bucket, (2 · n_buckets,) with those before first.

    `better` is 1 where more is better, −1 where less is, 0 where nobody can say. `judged` holds what was expected, where
    an analyzer said so; `now` and `before` are then the medians of the buckets.
    """

    title: str
    column: str
    unit: Unit
    now: float
    before: float
    values: Floats
    better: int
    judged: Judged | None = None

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the change is more than the buckets of the period before differ by, else ""."""
        earlier = self.values[: len(self.values) // 2]
        earlier = earlier[~np.isnan(earlier)]
        change = self.now - self.before
        if not self.better or math.isnan(change) or len(earlier) < _LEAST_BUCKETS:
            return ""
        error = float(np.std(earlier, ddof=1)) / math.sqrt(len(earlier))
        if abs(change) <= max(SURE * error, 1e-9 * abs(self.before)):
            return ""
        return "better" if (change > 0) == (self.better > 0) else "worse"


@dataclass(frozen=True)
class Performance:
    """`outcomes`: metrics of predictions against outcomes, none where no outcome is known. `known`: share of the
    period's predictions whose outcome is known, NaN where nobody can say. `watched`: metrics that analyzers name.
    """

    outcomes: tuple[MetricStory, ...]
    known: float
    watched: tuple[MetricStory, ...]


def outcome_stories(store: Store, ref: DatasetRef, buckets: Buckets) -> tuple[tuple[MetricStory, ...], float]:
    """Metrics of predictions against outcomes that have a value, and the share of outcomes that are known.

    Those of a whole period are of all its rows together, not the mean of its buckets. Raises ProfileError for a damaged
    component.
    """
    if not len(buckets):
        return (), math.nan
    both = buckets.with_before
    found = profiles.bucket_profiles(
        store, ref, both.window, columns=[profiles.DATASET_COLUMN], segments=[OVERALL]
    )
    history = {
        both.place(bucket): profile
        for bucket, profile in found.get((OVERALL, profiles.DATASET_COLUMN), {}).items()
    }
    places = np.arange(len(both), dtype=np.int64)
    each = component_scalars(PERFORMANCE_SCALARS, history, Window(places, 1))
    whole = component_scalars(PERFORMANCE_SCALARS, history, Window(places[:: len(buckets)], len(buckets)))
    stories = tuple(
        MetricStory(
            title=metric_words(name),
            column="",
            unit=Unit.COUNT if name in _COUNTED_ROWS else unit_of(name),
            now=float(whole[name][1]),
            before=float(whole[name][0]),
            values=each[name],
            better=_better(name),
        )
        for name in PERFORMANCE_SCALARS
        if not np.isnan(whole[name]).all() and not name.startswith("outcome_")
    )
    return stories, float(whole["outcome_ratio"][1])


def watched_series(document: MonitorDocument) -> list[VerdictSeries]:
    """The series of all data that analyzers watch by name: of the dataset, or of the columns that they list."""
    return list(dict.fromkeys(_watched(document)))[:MOST_WATCHED]


def _watched(document: MonitorDocument) -> Iterator[VerdictSeries]:
    for analyzer in document.analyzers:
        columns = candidate_columns(analyzer)
        if analyzer.disabled or not analyzer.metric or columns is None:
            continue
        if canonical(analyzer.metric) in _SAID_ELSEWHERE or analyzer.config.type == "drift":
            continue
        for column in sorted(columns):
            yield analyzer.id, column, OVERALL


def watched_stories(
    series: Sequence[VerdictSeries], judged: Mapping[VerdictSeries, Judged], buckets: Buckets
) -> tuple[MetricStory, ...]:
    """The stories of these series, as far as there are any values; one of each column and metric."""
    stories: dict[tuple[str, str], MetricStory] = {}
    for one in series:
        found = judged.get(one)
        if found is None or not found.known:
            continue
        before, now = found.values[: len(buckets)], found.values[len(buckets) :]
        name = canonical(found.metric)
        stories.setdefault(
            (one[1], name),
            MetricStory(
                title=metric_words(found.metric),
                column=one[1],
                unit=found.unit,
                now=_median(now),
                before=_median(before),
                values=found.values,
                better=_better(name) if name in PERFORMANCE_SCALARS else 0,
                judged=found,
            ),
        )
    return tuple(stories.values())


def _better(name: str) -> int:
    if any(name.startswith(one) or name.endswith(one) for one in _NEITHER):
        return 0
    return -1 if name.endswith(_SMALLER_IS_BETTER) else 1


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan
