"""Conjunctions and disjunctions: verdicts on the verdicts of other analyzers about the same bucket and segment.

A conjunction is an anomaly when all of its analyzers found one, a disjunction when any did. Without a target matrix, or
with one about the dataset, an analyzer counts as anomalous when any of its columns is: "income and age drifted". With
a column matrix columns are judged one by one: "the same column drifted and lost values"; what an analyzer found about
the dataset then counts for every column.

An analyzer without a verdict may leave open what holds; then there is none here either. A conjunction of which an
analyzer has no result at all fails with `CompositeCalculationMissingColumns`; a disjunction judges those that it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.analysis.assembly import Assembly, given_details
from monitoring_pipeline.analysis.planner import children_of, is_column_level, targeted_columns
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.config.analyzers import Analyzer, ConjunctionConfig
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.config.targets import selects_segment


def needs_all(analyzer: Analyzer) -> bool:
    """Whether it is a conjunction."""
    return isinstance(analyzer.config, ConjunctionConfig)


@dataclass(frozen=True)
class Children:
    """What the analyzers of one composite analyzer found about one bucket and segment, and perhaps one column."""

    found: Mapping[str, Sequence[AnalyzerResult]]
    """Results by analyzer id, of all that there are."""

    @property
    def missing(self) -> list[str]:
        """Analyzers without a result."""
        return [name for name, results in self.found.items() if not results]

    @property
    def anomalous(self) -> list[str]:
        """Analyzers that found an anomaly."""
        return [name for name, results in self.found.items() if any(result.is_anomaly for result in results)]

    @property
    def open(self) -> list[AnalyzerResult]:
        """A result without a verdict of each analyzer that could yet have found an anomaly."""
        anomalous = set(self.anomalous)
        failed = (next((one for one in results if one.failed), None) for results in self.found.values())
        return [one for one in failed if one is not None and one.analyzer_id not in anomalous]


def combine(
    analyzer: Analyzer,
    buckets: Collection[datetime],
    results: Iterable[AnalyzerResult],
    *,
    assembly: Assembly,
    schema: EntitySchema | None,
) -> Iterator[AnalyzerResult]:
    """Results of a composite analyzer, by bucket, segment and column, out of those of its analyzers."""
    names = children_of(analyzer)
    by_segment: dict[tuple[datetime, str], dict[str, list[AnalyzerResult]]] = defaultdict(
        lambda: {name: [] for name in names}
    )
    for result in sorted(results, key=lambda one: (one.column, one.analyzer_id)):
        matrix = analyzer.target_matrix
        covered = matrix is None or selects_segment(matrix, result.segment)
        if result.analyzer_id in names and result.bucket in buckets and covered:
            by_segment[result.bucket, result.segment][result.analyzer_id].append(result)
    for (bucket, segment), found in sorted(by_segment.items()):
        if not is_column_level(analyzer):
            yield _judged(analyzer, Children(found), bucket, segment, "", assembly=assembly)
            continue
        columns = sorted({one.column for results in found.values() for one in results if one.column})
        for column in targeted_columns(
            analyzer, segment, columns, schema=schema, weights=assembly.document.weight_config
        ):
            of_column = {
                name: [one for one in results if one.column in ("", column)]
                for name, results in found.items()
            }
            yield _judged(analyzer, Children(of_column), bucket, segment, column, assembly=assembly)


def _judged(
    analyzer: Analyzer,
    children: Children,
    bucket: datetime,
    segment: str,
    column: str,
    *,
    assembly: Assembly,
) -> AnalyzerResult:
    anomaly, failure, explanation = _verdict(children, all_of_them=needs_all(analyzer))
    seen = [one for results in children.found.values() for one in results]
    versions = [one.profile_version for one in seen if one.profile_version is not None]
    weights = assembly.document.weight_config
    return AnalyzerResult(
        **assembly.shared(analyzer),
        **assembly.identity(analyzer, bucket, segment, column),
        target_level="column" if column else "dataset",
        metric=str(analyzer.config.type),
        anomaly_count=int(anomaly),
        failure_type=failure,
        failure_explanation=explanation,
        target_count=len(children.found) - len(children.missing),
        target_batches_with_profile_count=max(
            (one.target_batches_with_profile_count for one in seen), default=0
        ),
        segment_weight=weights.weight(column, segment) if weights and column else None,
        profile_version=max(versions, default=None),
        details={
            **given_details(analyzer, assembly.document),
            "child_analyzer_ids": list(children.found),
            "child_analysis_ids": [one.analysis_id for one in seen],
            "anomalous_analyzer_ids": children.anomalous,
        },
    )


def _verdict(children: Children, *, all_of_them: bool) -> tuple[bool, FailureType | None, str | None]:
    if all_of_them and children.missing:
        names = ", ".join(children.missing)
        return False, FailureType.COMPOSITE_MISSING_COLUMNS, f"no result of {names} to go with the others"
    anomalous, unsure = children.anomalous, children.open
    settled = len(anomalous) + len(unsure) < len(children.found) if all_of_them else bool(anomalous)
    if settled or not unsure:
        return bool(anomalous) and (not all_of_them or len(anomalous) == len(children.found)), None, None
    first = unsure[0]
    why = (
        f"{first.failure_type}: {first.failure_explanation}"
        if first.failure_explanation
        else first.failure_type
    )
    return False, first.failure_type, f"{first.analyzer_id} has no verdict ({why})"
