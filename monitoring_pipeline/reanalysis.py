"""Judge again what late or repaired data has made stale; the old verdicts stay, as superseded.

A result is written once. Data that comes later marks the results as stale that it could change and changes none of
them: only a person who asks, here, has them judged again. What was an anomaly before and is one still is not told again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline import readiness
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.passes import passes
from monitoring_pipeline.analysis.planner import analyzer_versions, children_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.metrics import stated_metrics
from monitoring_pipeline.store import results
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace

_ALWAYS = TimeRange.always()


@dataclass(frozen=True)
class Reanalyzed:
    """What came of it: buckets judged again, results retired, verdicts that turned, and stale ones that stay.

    `turned_bad` are anomalies that were none before, `turned_good` the other way round. `left` are stale results of
    analyzers that the document does not have any more, or has changed, or that rest on profiles which were removed on
    purpose: there is nobody to judge them again, or nothing to judge them by.
    """

    run_id: str
    buckets: tuple[datetime, ...]
    retired: int
    turned_bad: tuple[AnalyzerResult, ...]
    turned_good: tuple[AnalyzerResult, ...]
    left: int
    notes: tuple[str, ...]
    seconds: float


def reanalyze(
    workspace: Workspace,
    dataset_id: str,
    window: TimeRange | None = None,
    *,
    everything: bool = False,
    run_id: str | None = None,
) -> Reanalyzed:
    """Judge the stale results of a window again, all of its results with `everything`; oldest first.

    A verdict stays as it is, and stale, when profiles that it rests on were removed on purpose.

    Each pass is one transaction: stopping in between leaves the rest stale, and the next call goes on. The verdicts wait
    for `pipeline.notify` as those of any run do, and of a run that goes quietly (`pipeline.new_run`) nobody is told; an
    anomaly that was one before is not told again.
    """
    began = time.perf_counter()
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    if everything:
        results.mark_stale(workspace.store, ref, window or _ALWAYS)
    versions = analyzer_versions(
        dataset.document, metrics=stated_metrics(dataset.document.entity_schema, dataset.metrics)
    )
    stale = _stale(workspace, dataset_id, window)
    found = [Due(bucket, name, version) for name, version, bucket in stale if versions.get(name) == version]
    gone = readiness.beyond_recall(workspace, dataset_id, found)
    due = [one for one in found if one not in gone]
    run_id = run_id or str(uuid.uuid4())
    retired = 0
    bad: list[AnalyzerResult] = []
    good: list[AnalyzerResult] = []
    notes: dict[str, None] = {}
    for part in passes(workspace.store, ref, dataset.document, due) if due else ():
        before = {result.analysis_id for result in _stale_anomalies(workspace, dataset_id, part)}
        analysis = analyze(
            workspace.store,
            ref,
            dataset.document,
            part,
            now=now,
            run_id=run_id,
            schema=workspace.entity_schema(dataset_id),
            metrics=dataset.metrics,
            backfill=True,
        )
        retired += results.supersede(
            workspace.store,
            ref,
            evaluated=[(one.analyzer_id, one.analyzer_version, one.bucket) for one in part],
            replacements=[block.to_table() for block in analysis.results.blocks],
            only_stale=True,
            now=now,
        )
        for result in _written(workspace, dataset_id, run_id, part):
            if result.is_anomaly and result.analysis_id not in before:
                bad.append(result)
            elif not result.is_anomaly and result.analysis_id in before:
                good.append(result)
        notes |= dict.fromkeys(analysis.notes)
    return Reanalyzed(
        run_id=run_id,
        buckets=tuple(sorted({one.bucket for one in due})),
        retired=retired,
        turned_bad=tuple(bad),
        turned_good=tuple(good),
        left=len(stale) - len(due),
        notes=tuple(dict.fromkeys([*notes, *gone.values()])),
        seconds=time.perf_counter() - began,
    )


def _stale(
    workspace: Workspace, dataset_id: str, window: TimeRange | None
) -> list[tuple[str, str, datetime]]:
    """Stale evaluations, those of analyzers that are about a stale one among them."""
    store, ref, dataset = workspace.store, workspace.ref(dataset_id), workspace.dataset(dataset_id)
    stale = results.stale_evaluations(store, ref, window)
    for analyzer in dataset.document.analyzers:
        about = children_of(analyzer)
        buckets = [bucket for name, _, bucket in stale if name in about]
        if buckets:
            span = TimeRange(min(buckets), dataset.spec.granularity.shift(max(buckets), 1))
            results.mark_stale(store, ref, span, analyzer_ids=[analyzer.id])
    return results.stale_evaluations(store, ref, window)


def _stale_anomalies(workspace: Workspace, dataset_id: str, part: Sequence[Due]) -> list[AnalyzerResult]:
    rows = results.results(
        workspace.store,
        workspace.ref(dataset_id),
        window=_window(workspace, dataset_id, part),
        anomalies_only=True,
        stale_only=True,
    )
    return [AnalyzerResult.from_row(row) for row in rows]


def _written(workspace: Workspace, dataset_id: str, run_id: str, part: Sequence[Due]) -> list[AnalyzerResult]:
    rows = results.results(
        workspace.store,
        workspace.ref(dataset_id),
        window=_window(workspace, dataset_id, part),
        run_id=run_id,
    )
    return [AnalyzerResult.from_row(row) for row in rows]


def _window(workspace: Workspace, dataset_id: str, part: Sequence[Due]) -> TimeRange:
    granularity = workspace.dataset(dataset_id).spec.granularity
    buckets = [one.bucket for one in part]
    return TimeRange(min(buckets), granularity.shift(max(buckets), 1))
