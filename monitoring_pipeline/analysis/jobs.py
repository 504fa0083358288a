"""One analyzer on the buckets it is due on, resolved: its algorithm, its metric, its windows.

What cannot run here says why, as an `AnalysisError` whose text is shown to people.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from monitoring_pipeline.analysis.algorithms import Registry
from monitoring_pipeline.analysis.baselines import (
    Indices,
    Window,
    baseline_window,
    chain_window,
    expected_count,
    span,
    target_window,
)
from monitoring_pipeline.analysis.verdicts import Algorithm
from monitoring_pipeline.config.analyzers import Analyzer, ExperimentalConfig
from monitoring_pipeline.config.baselines import Baseline, ReferenceBaseline
from monitoring_pipeline.config.targets import ColumnMatrix
from monitoring_pipeline.errors import AnalysisError, UnknownMetricError
from monitoring_pipeline.metrics import Metric, metric
from monitoring_pipeline.timegrid import Granularity, TimeRange


@dataclass(frozen=True)
class Job:
    """An analyzer, ready to judge `targets` (n_targets,) int64 bucket indices, ascending.

    `compared` is the window of buckets that the targets are compared with, None for a reference profile.
    """

    analyzer: Analyzer
    algorithm: Algorithm
    metric: Metric
    targets: Indices
    target: Window
    compared: Window | None
    baseline: Baseline | None
    granularity: Granularity

    @property
    def expected_baseline(self) -> int:
        """Buckets in the baseline when none is missing."""
        return expected_count(self.baseline, self.granularity)

    @property
    def minimum(self) -> int | None:
        """The analyzer's `minBatchSize`, None when it has no baseline."""
        return None if self.baseline is None else self.analyzer.min_batch_size

    @property
    def needed_baseline(self) -> int:
        """Buckets that the baseline must have: `minBatchSize`, but never more than it can have."""
        return min(self.expected_baseline, self.minimum or 0)

    @property
    def about_arrival(self) -> bool:
        """Whether the metric is about the arrival of data, and not about its values."""
        return self.metric.source == "batch"

    @property
    def target_span(self) -> TimeRange:
        """The range of time that the targets are read from, and the chain of targets before them."""
        chain = [self.compared] if self.baseline is None and self.compared is not None else []
        found = span([self.target, *chain], self.granularity)
        assert found is not None  # noqa: S101  a target has at least one bucket
        return found

    @property
    def compared_span(self) -> TimeRange | None:
        """The range of time that the baselines are read from; None without one."""
        return span([self.compared], self.granularity) if self.baseline and self.compared else None


def resolve(
    analyzer: Analyzer, buckets: Collection[datetime], *, granularity: Granularity, algorithms: Registry
) -> Job:
    """Make a job of an analyzer and the buckets it is due on. Raises AnalysisError when it cannot run."""
    config = analyzer.config
    algorithm = _algorithm(analyzer, algorithms)
    _refuse_what_is_missing(analyzer)
    targets = np.array(sorted({granularity.index(bucket) for bucket in buckets}), dtype=np.int64)
    target, baseline = target_window(targets, analyzer.target_size), analyzer.baseline
    if baseline is None:
        compared = chain_window(config, target)
    else:
        compared = baseline_window(
            baseline, targets, target_size=analyzer.target_size, granularity=granularity
        )
    return Job(
        analyzer=analyzer,
        algorithm=algorithm,
        metric=_metric(analyzer, algorithm),
        targets=targets,
        target=target,
        compared=compared,
        baseline=baseline,
        granularity=granularity,
    )


def _algorithm(analyzer: Analyzer, algorithms: Registry) -> Algorithm:
    config = analyzer.config
    name = str(config.type)
    if isinstance(config, ExperimentalConfig):
        name = config.implementation or name
    algorithm = algorithms.find(name)
    if algorithm is None:
        known = ", ".join(sorted(algorithms.algorithms))
        raise AnalysisError(f"the analyzer type {name} is not available in this release; available: {known}")
    return algorithm


def _refuse_what_is_missing(analyzer: Analyzer) -> None:
    if analyzer.disable_target_rollup:
        raise AnalysisError(
            "disableTargetRollup is not available in this release: data is analysed per bucket"
        )
    matrix = analyzer.target_matrix
    if matrix is None:
        raise AnalysisError("it has no targetMatrix")
    if isinstance(matrix, ColumnMatrix) and matrix.profile_id:
        raise AnalysisError("targetMatrix.profileId is not available in this release: targets are buckets")


def _metric(analyzer: Analyzer, algorithm: Algorithm) -> Metric:
    if analyzer.metric is None:
        raise AnalysisError("it names no metric")
    try:
        found = metric(analyzer.metric)
    except UnknownMetricError as error:
        raise AnalysisError(str(error)) from error
    wanted = "distribution" if algorithm.needs == "distribution" else "number"
    if found.kind != wanted:
        raise AnalysisError(
            f"{algorithm.name} needs a metric that is a {wanted}; {found.name} is a {found.kind}"
        )
    if found.source == "batch":
        _refuse_merging(analyzer, algorithm, found.name)
    return found


def _refuse_merging(analyzer: Analyzer, algorithm: Algorithm, name: str) -> None:
    """The metrics about arrival are facts about single buckets of this dataset."""
    baseline = analyzer.baseline
    if analyzer.target_size > 1 or algorithm.needs != "series":
        raise AnalysisError(
            f"{name} is judged bucket by bucket; use a fixed or stddev analyzer with targetSize 1"
        )
    if isinstance(baseline, ReferenceBaseline) or (baseline is not None and baseline.dataset_id):
        raise AnalysisError(f"{name} can only be compared with buckets of its own dataset")
