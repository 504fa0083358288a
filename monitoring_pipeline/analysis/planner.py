"""What each analyzer looks at: which segments and columns, and which slices of the store serve several analyzers.

Pure: it is given the keys that the store has and says which of them are meant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.config.analyzers import Analyzer, ConjunctionConfig, DisjunctionConfig
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import EntitySchema, WeightConfig
from monitoring_pipeline.config.targets import WILDCARD, ColumnMatrix, selects_column, selects_segment
from monitoring_pipeline.metrics import NO_METRICS, Metric
from monitoring_pipeline.metrics.expressions import folded
from monitoring_pipeline.metrics.operational import OUTLIER_SCALARS
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.timegrid import Granularity, TimeRange

_WASTE = 1.5
"""How many times as much may be read in one query as would be read in two."""

_ROW = 4
"""What reading a row costs besides its scalars, in scalars."""

Key = tuple[str, str]
"""A series: (segment key, column), the column "" for the dataset itself."""

_DECISIVE = ("config", "target_matrix", "target_size", "schedule", "disable_target_rollup")


def analyzer_version(
    analyzer: Analyzer, children: Iterable[Analyzer] = (), *, metrics: Mapping[str, Metric] = NO_METRICS
) -> str:
    """Twelve hexadecimal digits that change when what decides the analyzer's verdicts changes.

    That is its configuration, target matrix, target size and schedule as they were given; not its name, tags, delays.
    What decides the verdicts of `children`, the analyzers that it is about, counts too, and so does the expression of
    its metric where that is one of `metrics`, the dataset's own, by folded name.
    """
    given = analyzer.model_dump(mode="json", by_alias=True, exclude_unset=True, include=set(_DECISIVE))
    own = metrics.get(folded(analyzer.metric)) if metrics and analyzer.metric is not None else None
    if own is not None and own.expression is not None:
        given["expression"] = own.expression
    versions = [analyzer_version(child, metrics=metrics) for child in children]
    if versions:
        given["children"] = versions
    text = json.dumps(given, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def analyzer_versions(
    document: MonitorDocument, *, metrics: Mapping[str, Metric] = NO_METRICS
) -> dict[str, str]:
    """The version of every analyzer of a document, by id. `metrics` are the dataset's own, by folded name."""
    known = {analyzer.id: analyzer for analyzer in document.analyzers}
    return {
        analyzer.id: analyzer_version(
            analyzer, [known[name] for name in children_of(analyzer) if name in known], metrics=metrics
        )
        for analyzer in document.analyzers
    }


def children_of(analyzer: Analyzer) -> tuple[str, ...]:
    """Ids of the analyzers that a composite analyzer is about; of another analyzer none."""
    config = analyzer.config
    return config.analyzer_ids if isinstance(config, ConjunctionConfig | DisjunctionConfig) else ()


def is_column_level(analyzer: Analyzer) -> bool:
    """Whether the analyzer judges columns; otherwise it judges the dataset."""
    return isinstance(analyzer.target_matrix, ColumnMatrix)


def targeted_segments(analyzer: Analyzer, segments: Iterable[str]) -> tuple[str, ...]:
    """The segments that the analyzer's target matrix selects, in the order given."""
    matrix = analyzer.target_matrix
    return tuple(segment for segment in segments if matrix is not None and selects_segment(matrix, segment))


def candidate_columns(analyzer: Analyzer) -> frozenset[str] | None:
    """Columns that can be selected at all, so that the store need not read others; None for any column."""
    matrix = analyzer.target_matrix
    if not isinstance(matrix, ColumnMatrix):
        return frozenset({DATASET_COLUMN})
    if any(entry == WILDCARD or entry.lower().startswith(("group:", "weight")) for entry in matrix.include):
        return None
    return frozenset(matrix.include)


def targeted(
    analyzer: Analyzer, keys: Sequence[Key], *, schema: EntitySchema | None, weights: WeightConfig | None
) -> NDArray[np.bool_]:
    """Which of the series the analyzer's target matrix selects, (n_keys,) bool."""
    matrix = analyzer.target_matrix
    chosen = np.zeros(len(keys), dtype=np.bool_)
    if matrix is None:
        return chosen
    segments = {segment: selects_segment(matrix, segment) for segment in {segment for segment, _ in keys}}
    known = schema.columns if schema else {}
    memo: dict[tuple[str, float | None], bool] = {}
    for position, (segment, column) in enumerate(keys):
        if not segments[segment]:
            continue
        if not isinstance(matrix, ColumnMatrix):
            chosen[position] = column == DATASET_COLUMN
        elif column != DATASET_COLUMN:
            case = (column, weights.weight(column, segment) if weights else None)
            if case not in memo:
                memo[case] = selects_column(matrix, column, schema=known.get(column), weight=case[1])
            chosen[position] = memo[case]
    return chosen


def targeted_columns(
    analyzer: Analyzer,
    segment: str,
    columns: Sequence[str],
    *,
    schema: EntitySchema | None,
    weights: WeightConfig | None,
) -> list[str]:
    """The columns of a segment that the analyzer's target matrix selects, in the order given."""
    keys = [(segment, column) for column in columns]
    chosen = targeted(analyzer, keys, schema=schema, weights=weights)
    return [column for column, keep in zip(columns, chosen, strict=True) if keep]


def needs_schema(analyzer: Analyzer) -> bool:
    """Whether the target matrix names a group of columns, so that the columns' schema decides."""
    matrix = analyzer.target_matrix
    return isinstance(matrix, ColumnMatrix) and any(
        entry.lower().startswith("group:") for entry in (*matrix.include, *matrix.exclude)
    )


@dataclass(frozen=True)
class Slice:
    """A part of the store that is read with one query."""

    dataset: str
    segments: tuple[str, ...]
    columns: frozenset[str] | None
    scalars: frozenset[str]
    window: TimeRange

    @property
    def of_dataset(self) -> bool:
        """Whether it holds the segments' own rows, and no columns."""
        return self.columns == {DATASET_COLUMN}

    @property
    def of_components(self) -> bool:
        """Whether profiles have to be opened for it."""
        return not self.scalars.isdisjoint({*PERFORMANCE_SCALARS, *OUTLIER_SCALARS})

    def covers(self, other: Slice) -> bool:
        """Whether everything in `other` is in this slice."""
        return (
            (self.dataset, self.segments, self.of_dataset)
            == (other.dataset, other.segments, other.of_dataset)
            and (self.columns is None or (other.columns is not None and other.columns <= self.columns))
            and other.scalars <= self.scalars
            and self.window.start <= other.window.start
            and other.window.end <= self.window.end
        )


def combine(slices: Iterable[Slice], granularity: Granularity) -> list[Slice]:
    """As few slices as cover all of the given ones.

    Those of one dataset and set of segments are joined where their windows overlap or touch, unless much would be read
    that nobody asks for. Columns and the segments' own rows stay apart.
    """
    combined: list[Slice] = []
    for one in sorted(slices, key=lambda item: (item.dataset, item.segments, item.of_dataset, item.window)):
        for place, other in enumerate(combined):
            if _belong_together(other, one, granularity):
                combined[place] = _union(other, one)
                break
        else:
            combined.append(one)
    return combined


def _belong_together(left: Slice, right: Slice, granularity: Granularity) -> bool:
    if (left.dataset, left.segments, left.of_dataset) != (right.dataset, right.segments, right.of_dataset):
        return False
    if right.window.start > left.window.end or left.of_components != right.of_components:
        return False
    apart, together = (
        _cells(left, granularity) + _cells(right, granularity),
        _cells(_union(left, right), granularity),
    )
    return together <= _WASTE * apart


def _cells(one: Slice, granularity: Granularity) -> int:
    """Values that are read per series, with what a row costs by itself."""
    return (_ROW + len(one.scalars)) * (
        granularity.index(one.window.end) - granularity.index(one.window.start)
    )


def _union(left: Slice, right: Slice) -> Slice:
    columns = None if left.columns is None or right.columns is None else left.columns | right.columns
    window = TimeRange(left.window.start, max(left.window.end, right.window.end))
    return replace(left, columns=columns, scalars=left.scalars | right.scalars, window=window)
