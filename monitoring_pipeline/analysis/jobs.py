"""One analyzer on the buckets it is due on, resolved: its algorithm, its metric, its windows.

What cannot run here says why, as an `AnalysisError` whose text is shown to people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from monitoring_pipeline.analysis.algorithms import Registry
from monitoring_pipeline.analysis.baselines import (
    Indices,
    Window,
    baseline_window,
    expected_count,
    span,
    target_window,
)
from monitoring_pipeline.analysis.planner import is_column_level
from monitoring_pipeline.analysis.verdicts import (
    Algorithm,
    Binning,
    binning_of,
    kinds_of,
    merges_targets,
    reach_of,
)
from monitoring_pipeline.config.analyzers import (
    Analyzer,
    ColumnListConfig,
    ComparisonConfig,
    ExperimentalConfig,
    ListComparisonConfig,
)
from monitoring_pipeline.config.baselines import Baseline, ReferenceBaseline
from monitoring_pipeline.config.targets import ColumnMatrix, DatasetMatrix
from monitoring_pipeline.errors import AnalysisError, UnknownMetricError
from monitoring_pipeline.metrics import NO_METRICS, Metric, metric
from monitoring_pipeline.metrics.metric import Floats
from monitoring_pipeline.timegrid import Granularity, TimeRange


@dataclass(frozen=True)
class Job:
    """An analyzer, ready to judge `targets` (n_targets,) int64 bucket indices, ascending.

    `target` is the window of buckets that each target is made of, and `compared` the one of its baseline. Both are in
    no bucket where they are reference profiles: `target` is then a window on bucket 0, `compared` None.
    """

    analyzer: Analyzer
    algorithm: Algorithm
    metric: Metric
    targets: Indices
    target: Window
    compared: Window | None
    baseline: Baseline | None
    granularity: Granularity
    reach: int = 0
    """Buckets before the baseline's window, or before the target where there is none, that the algorithm sees too."""
    binning: Binning = "equal"

    @property
    def target_profile(self) -> str | None:
        """The reference profile that is judged instead of the buckets."""
        return _target_profile(self.analyzer)

    @property
    def seen(self) -> Window:
        """The buckets that the algorithm is given beside the target: its baseline's, and those within its reach.

        For a reference profile a window on bucket 0.
        """
        if self.compared is not None:
            return self.compared.extended(self.reach)
        if self.baseline is not None:
            return reference_window(self.targets)
        return Window(self.target.starts - self.reach, self.reach)

    @property
    def counted(self) -> Window:
        """The buckets that `targetSize` means."""
        return self.target if merges_targets(self.algorithm) else self.target.extended(self.reach)

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
        """The range of time that the targets are read from, and with them the chain before where there is no baseline."""
        windows = [self.target] if self.target_profile is None else [Window(self.targets, 1)]
        found = span([*windows, *([self.seen] if self.baseline is None else [])], self.granularity)
        assert found is not None  # noqa: S101  a target has at least one bucket
        return found

    @property
    def compared_span(self) -> TimeRange | None:
        """The range of time that the baselines are read from; None without one."""
        return span([self.seen], self.granularity) if self.compared is not None else None


def reference_window(targets: Indices) -> Window:
    """The window of every target on a reference profile: its one bucket."""
    return Window(np.zeros(targets.shape, dtype=np.int64), 1)


def resolve(
    analyzer: Analyzer,
    buckets: Collection[datetime],
    *,
    granularity: Granularity,
    algorithms: Registry,
    metrics: Mapping[str, Metric] = NO_METRICS,
    bad: Collection[datetime] = (),
) -> Job:
    """Make a job of an analyzer and the buckets it is due on. Raises AnalysisError when it cannot run.

    `metrics` are the dataset's own, by folded name. `bad` buckets are in no trailing baseline.
    """
    algorithm = find_algorithm(analyzer, algorithms)
    _refuse_what_is_missing(analyzer)
    reach, binning = reach_of(algorithm, analyzer), binning_of(algorithm, analyzer.config)
    baseline = _baseline(analyzer)
    targets = np.array(sorted({granularity.index(bucket) for bucket in buckets}), dtype=np.int64)
    size = analyzer.target_size if merges_targets(algorithm) else 1
    judged = target_window(targets, size)
    if _target_profile(analyzer) is not None:
        judged = reference_window(targets)
        if baseline is None and reach:
            raise AnalysisError(
                f"{algorithm.name} looks at the buckets before its target, which a profile has not"
            )
    return Job(
        analyzer=analyzer,
        algorithm=algorithm,
        metric=_metric(analyzer, algorithm, metrics),
        targets=targets,
        target=judged,
        compared=baseline
        and baseline_window(
            baseline, targets, target_size=analyzer.target_size, granularity=granularity, bad=bad
        ),
        baseline=baseline,
        granularity=granularity,
        reach=reach,
        binning=binning,
    )


def find_algorithm(analyzer: Analyzer, algorithms: Registry) -> Algorithm:
    """The algorithm that serves the analyzer. Raises AnalysisError when there is none, or its plug-in is broken."""
    config = analyzer.config
    name = str(config.type)
    if isinstance(config, ExperimentalConfig):
        name = config.implementation or name
    algorithm = algorithms.find(name)
    if algorithm is None:
        known = ", ".join(sorted(algorithms.algorithms))
        raise AnalysisError(f"the analyzer type {name} is not available in this release; available: {known}")
    if isinstance(config, ExperimentalConfig) and hasattr(algorithm, "Config"):
        raise AnalysisError(
            f"{name} has a config of its own; write its name as the type, not as implementation"
        )
    return algorithm


def _baseline(analyzer: Analyzer) -> Baseline | None:
    """What targets are compared with: nothing in the data where the document says what is expected."""
    config = analyzer.config
    if isinstance(config, ComparisonConfig | ListComparisonConfig) and config.expected:
        return None
    return analyzer.baseline


def _target_profile(analyzer: Analyzer) -> str | None:
    matrix = analyzer.target_matrix
    return (matrix.profile_id or None) if isinstance(matrix, ColumnMatrix) else None


def _refuse_what_is_missing(analyzer: Analyzer) -> None:
    if analyzer.target_matrix is None:
        raise AnalysisError("it has no targetMatrix")
    if analyzer.disable_target_rollup and analyzer.target_size > 1:
        raise AnalysisError(
            "disableTargetRollup judges uploads one by one, and targetSize puts buckets together; choose one of them"
        )
    if _target_profile(analyzer) is not None and analyzer.target_size > 1:
        raise AnalysisError(
            "targetMatrix.profileId names the one profile to judge; it cannot have a targetSize"
        )
    if isinstance(analyzer.config, ColumnListConfig) and not isinstance(
        analyzer.target_matrix, DatasetMatrix
    ):
        raise AnalysisError('column_list is about the dataset; its targetMatrix must have the type "dataset"')


def _metric(analyzer: Analyzer, algorithm: Algorithm, metrics: Mapping[str, Metric]) -> Metric:
    if analyzer.metric is None:
        raise AnalysisError("it names no metric")
    if isinstance(analyzer.config, ColumnListConfig):
        return COLUMN_LIST
    try:
        found = metric(analyzer.metric, metrics)
    except UnknownMetricError as error:
        raise AnalysisError(str(error)) from error
    kinds = kinds_of(algorithm)
    if found.kind not in kinds:
        raise AnalysisError(
            f"{algorithm.name} needs a metric that is a {' or a '.join(kinds)}; {found.name} is a {found.kind}"
        )
    if algorithm.needs == "items" and found.name != "frequent_items":
        raise AnalysisError(f"{algorithm.name} needs the metric frequent_items; found {found.name}")
    if found.level == "dataset" and found.source == "profile" and is_column_level(analyzer):
        raise AnalysisError(
            f'{found.name} is about the dataset; its targetMatrix must have the type "dataset"'
        )
    if found.source == "batch":
        _refuse_merging(analyzer, algorithm, found.name)
    return found


def _refuse_merging(analyzer: Analyzer, algorithm: Algorithm, name: str) -> None:
    """The metrics about arrival are facts about single buckets of this dataset."""
    baseline = _baseline(analyzer)
    if analyzer.target_size > 1 or (algorithm.needs != "series" and baseline is not None):
        raise AnalysisError(
            f"{name} is judged bucket by bucket; use a fixed or stddev analyzer with targetSize 1"
        )
    if isinstance(baseline, ReferenceBaseline) or (baseline is not None and baseline.dataset_id):
        raise AnalysisError(f"{name} can only be compared with buckets of its own dataset")
    if _target_profile(analyzer) is not None:
        raise AnalysisError(f"{name} is about the arrival of buckets, which a reference profile is not")


def _no_formula(_scalars: object) -> Floats:
    raise AnalysisError("column_list is a list of names, not a number")


COLUMN_LIST = Metric(
    name="column_list",
    level="dataset",
    unit="columns",
    kind="distribution",
    additive=False,
    needs=("n_columns",),
    formula=_no_formula,
    description="The columns that a batch has",
)
"""Not in the catalog: no profile holds it, it follows from which profiles there are."""
