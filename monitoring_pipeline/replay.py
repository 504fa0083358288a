"""Prove it: judge a past bucket again from what was known then, and compare with the verdict that was given then.

Data that came later, verdicts that were made later and the present monitor document play no part. A verdict that comes
out otherwise is a fault of ours, and is named with the field that differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, cast

from monitoring_pipeline import readiness
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import analyzer_versions
from monitoring_pipeline.analysis.reach import baseline_of, buckets_before
from monitoring_pipeline.config.baselines import TimeRangeBaseline
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.metrics import stated_metrics
from monitoring_pipeline.store import documents, results
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.history import as_of
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros
from monitoring_pipeline.workspace import Workspace

_COMPARED = (
    "metric",
    "analyzer_type",
    "algorithm",
    "algorithm_mode",
    "anomaly_count",
    "failure_type",
    "target_count",
    "target_batches_with_profile_count",
    "baseline_count",
    "baseline_batches_with_profile_count",
    "expected_baseline_count",
    "profile_version",
    "metric_value",
    "calculated_upper",
    "calculated_lower",
    "absolute_upper",
    "absolute_lower",
    "threshold_type",
    "drift_value",
    "drift_threshold",
    "diff_value",
    "diff_threshold",
)
"""What a verdict says; not who asked for it, when it was written, or what became of it."""

_Row = Mapping[str, object]


@dataclass(frozen=True)
class Difference:
    """A field of a verdict that came out otherwise than it did then."""

    bucket: datetime
    analyzer_id: str
    segment: str
    column: str
    name: str
    then: object
    now: object


@dataclass(frozen=True)
class Replayed:
    """What came of a replay. `left` are verdicts of analyzers of which no document of then is known, or whose profiles are
    no longer there because somebody wanted them gone."""

    verdicts: int
    runs: int
    differences: tuple[Difference, ...]
    left: int

    @property
    def same(self) -> int:
        """Verdicts that came out as they did."""
        return self.verdicts - len(
            {(one.bucket, one.analyzer_id, one.segment, one.column) for one in self.differences}
        )


def replay(workspace: Workspace, dataset_id: str, window: TimeRange | None = None) -> Replayed:
    """Judge every verdict ever given on the buckets of a window again, superseded ones too, run by run. Stores nothing."""
    ref = workspace.ref(dataset_id)
    rows = results.results(workspace.store, ref, window=window, state=None)
    rows.sort(key=lambda row: (cast("int", row["created"]), str(row["run_id"])))
    gone = readiness.beyond_recall(workspace, dataset_id, {_due(row) for row in rows})
    told = [row for row in rows if _due(row) not in gone]
    differences: list[Difference] = []
    runs, left = 0, len(rows) - len(told)
    for (created, _), group in groupby(told, key=lambda row: (cast("int", row["created"]), row["run_id"])):
        run = list(group)
        found = _replay_run(workspace, dataset_id, run, from_micros(created))
        runs += 1
        left += found[1]
        differences += found[0]
    return Replayed(len(rows), runs, tuple(differences), left)


def _replay_run(
    workspace: Workspace, dataset_id: str, run: Sequence[dict[str, object]], moment: datetime
) -> tuple[list[Difference], int]:
    dataset, ref = workspace.dataset(dataset_id), workspace.ref(dataset_id)
    given = {(row["analyzer_id"], row["analyzer_version"]) for row in run}
    document, known = _document_of(workspace, dataset_id, given, moment)
    due = sorted({_due(row) for row in run if (row["analyzer_id"], row["analyzer_version"]) in known})
    if not due:
        return [], len(run)
    with as_of(workspace.store, _parts(workspace, ref, document, due), moment) as then:
        analysis = analyze(
            then,
            ref,
            document,
            due,
            now=moment,
            run_id=str(run[0]["run_id"]),
            schema=workspace.entity_schema(dataset_id),
            metrics=dataset.metrics,
            backfill=bool(run[0]["user_initiated_backfill"]),
        )
    again = {_identity(row): row for result in analysis.results for row in [result.to_row()]}
    compared = [row for row in run if (row["analyzer_id"], row["analyzer_version"]) in known]
    differences = [one for row in compared for one in _differences(row, again.get(_identity(row)))]
    return differences, len(run) - len(compared)


def _due(row: _Row) -> Due:
    return Due(from_micros(cast("int", row["bucket"])), str(row["analyzer_id"]), str(row["analyzer_version"]))


def _document_of(
    workspace: Workspace, dataset_id: str, given: Iterable[tuple[object, object]], moment: datetime
) -> tuple[MonitorDocument, set[tuple[object, object]]]:
    """The document that knows most of the analyzers in the versions of then: the present one, or one of the past."""
    wanted, dataset = {*given}, workspace.dataset(dataset_id)

    def knows(document: MonitorDocument) -> set[tuple[object, object]]:
        metrics = stated_metrics(document.entity_schema, dataset.metrics)
        return wanted & {*analyzer_versions(document, metrics=metrics).items()}

    best, known = dataset.document, knows(dataset.document)
    for version in _past(workspace, dataset_id, moment):
        if known == wanted:
            break
        found = knows(version)
        if len(found) > len(known):
            best, known = version, found
    return best, known


def _past(workspace: Workspace, dataset_id: str, moment: datetime) -> Iterator[MonitorDocument]:
    """Stored versions of the document, those of then first, newest first."""
    stored = documents.history(workspace.store, workspace.ref(dataset_id), "monitors")
    for one in sorted(stored, key=lambda one: (one.created > moment, -one.version)):
        yield parse_document(cast("Mapping[str, Any]", one.content), source=f"version {one.version}").document


def _parts(
    workspace: Workspace, ref: DatasetRef, document: MonitorDocument, due: Sequence[Due]
) -> dict[DatasetRef, TimeRange]:
    """The datasets that the verdicts rest on, each with the buckets that matter."""
    granularity = document.granularity
    asked = [analyzer for analyzer in document.analyzers if analyzer.id in {one.analyzer_id for one in due}]
    back = max((buckets_before(analyzer) for analyzer in document.analyzers), default=0)
    first, last = due[0].bucket, due[-1].bucket
    span = TimeRange(granularity.shift(first, -2 * back - 1), granularity.shift(last, 1))
    ranges = [
        baseline.range
        for analyzer in asked
        if isinstance(baseline := baseline_of(analyzer), TimeRangeBaseline)
    ]
    span = TimeRange(
        min([span.start, *(one.start for one in ranges)]), max([span.end, *(one.end for one in ranges)])
    )
    others = {
        baseline.dataset_id
        for analyzer in asked
        if (baseline := baseline_of(analyzer)) is not None and baseline.dataset_id is not None
    }
    known = {name for name in others if name in workspace.catalog.datasets}
    return {ref: _whole(span, granularity)} | {
        workspace.ref(name): _whole(span, granularity) for name in known
    }


def _whole(span: TimeRange, granularity: Granularity) -> TimeRange:
    return TimeRange(granularity.floor(span.start), span.end)


def _identity(row: _Row) -> tuple[object, ...]:
    return tuple(row[name] for name in ("analyzer_id", "analyzer_version", "segment", "column", "bucket"))


def _differences(then: _Row, now: _Row | None) -> Iterator[Difference]:
    bucket = from_micros(cast("int", then["bucket"]))
    place = (bucket, str(then["analyzer_id"]), str(then["segment"]), str(then["column"]))
    if now is None:
        yield Difference(*place, "verdict", "there", "missing")
        return
    for name in _COMPARED:
        if not _same(then[name], now[name]):
            yield Difference(*place, name, then[name], now[name])


def _same(then: object, now: object) -> bool:
    if isinstance(then, float) or isinstance(now, float):
        numbers = [math.nan if value is None else float(cast("float", value)) for value in (then, now)]
        return numbers[0] == numbers[1] or all(math.isnan(number) for number in numbers)
    return then == now
