"""Evidence for digests, read from the store: verdicts of the last buckets, and both sides of what has drifted.

Bounded: of a digest the worst few anomalies get it, of a telling no more than `MOST`. What cannot be read is left out, as
nobody should sleep through an alarm because a picture was missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from monitoring_pipeline.alerting.digests import Digest, illustrated
from monitoring_pipeline.alerting.evidence import (
    ILLUSTRATED,
    POINTS,
    Evidence,
    evidence_of,
    moved_categories,
    moved_quantiles,
)
from monitoring_pipeline.alerting.figures import name
from monitoring_pipeline.alerting.wording import MISSING_DATA, canonical
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.profiling.profile import DATASET_COLUMN, ColumnProfile
from monitoring_pipeline.store import profiles, results
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline.workspace import Workspace

MOST = 40
"""Anomalies that get evidence at one telling."""

MOST_BUCKETS = 120
"""Buckets of a baseline that are opened to say what moved; of a longer one the newest."""

_BEFORE = 7
_NAMED = 6
_FRACTIONS = (0.05, 0.5, 0.95)
_log = logging.getLogger(__name__)


Finish = Callable[[Digest], Digest]


def finishing(
    workspace: Workspace,
    dataset_id: str,
    digests: Sequence[Digest],
    found: Sequence[AnalyzerResult],
    normal: Collection[tuple[str, str, str]] = (),
) -> Finish:
    """What is added to digests of these verdicts before they are recorded; all reading of the store is done here.

    `digests` say roughly what will be told. `normal` are the series (analyzer, column, segment) that were judged at the
    same time and found normal; nothing is said of them when there are none.
    """
    known = evidence_for(workspace, dataset_id, digests, found)
    unusual = {one.column for one in found}
    watched = {one.id: frozenset(one.analyzer_ids) for one in workspace.dataset(dataset_id).document.monitors}

    def finish(digest: Digest) -> Digest:
        analyzers = watched.get(digest.monitor_id, frozenset())
        calm = {column for analyzer, column, _ in normal if analyzer in analyzers} - unusual - {""}
        return illustrated(replace(digest, normal_columns=len(calm) or None), known)

    return finish


def evidence_for(
    workspace: Workspace, dataset_id: str, digests: Sequence[Digest], found: Iterable[AnalyzerResult]
) -> dict[str, Evidence]:
    """The evidence of the anomalies that these digests show first, by analysis id. `found` holds their verdicts."""
    by_id = {one.analysis_id: one for one in found}
    wanted: dict[str, None] = {}
    for digest in digests:
        shown = [*(incident.worst for incident in digest.incidents), *digest.sample[:ILLUSTRATED]]
        wanted |= dict.fromkeys(one.analysis_id for one in shown if one.analysis_id in by_id)
    # Of data that is not there the sentence says all.
    chosen = [by_id[one] for one in wanted if canonical(by_id[one].metric) != MISSING_DATA][:MOST]
    if not chosen:
        return {}
    dataset, ref = workspace.dataset(dataset_id), workspace.ref(dataset_id)
    analyzers = {one.id: one for one in dataset.document.analyzers}
    history = _history(workspace, ref, chosen)
    told: dict[str, Evidence] = {}
    for one in chosen:
        analyzer = analyzers.get(one.analyzer_id)
        try:
            told[one.analysis_id] = evidence_of(
                one,
                history.get((one.analyzer_id, one.column, one.segment), ()),
                analyzer=analyzer,
                moved=_moved(workspace, ref, one, analyzer),
                outcomes=_outcomes(workspace, ref, one),
            )
        except MonitoringError as error:
            _log.warning("%s: no evidence for an anomaly of %s: %s", dataset_id, one.analyzer_id, error)
    return told


def _history(
    workspace: Workspace, ref: DatasetRef, chosen: Sequence[AnalyzerResult]
) -> Mapping[tuple[str, str, str], list[AnalyzerResult]]:
    """Verdicts on the same series in the buckets before each anomaly."""
    series = {(one.analyzer_id, one.column, one.segment) for one in chosen}
    found: dict[tuple[str, str, str], list[AnalyzerResult]] = {}
    for start, end in _windows({one.bucket for one in chosen}, chosen[0].granularity):
        for row in results.results_of(workspace.store, ref, series, window=TimeRange(start, end)):
            one = AnalyzerResult.from_row(row)
            found.setdefault((one.analyzer_id, one.column, one.segment), []).append(one)
    return found


def _windows(buckets: Iterable[datetime], granularity: Granularity) -> list[tuple[datetime, datetime]]:
    """The stretches of buckets before these, those that overlap together, as few as possible."""
    found: list[tuple[datetime, datetime]] = []
    for bucket in sorted(buckets):
        start, end = granularity.shift(bucket, 1 - POINTS), granularity.shift(bucket, 1)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _outcomes(workspace: Workspace, ref: DatasetRef, result: AnalyzerResult) -> float | None:
    """How many known outcomes a metric of performance rests on; None for any other."""
    if not canonical(result.metric).startswith(("classification_", "regression_")) or result.column:
        return None
    from monitoring_pipeline.profiling.performance import PERFORMANCE, TOTALS, Performance

    window = TimeRange.of_bucket(result.bucket, result.granularity)
    found = profiles.bucket_profiles(
        workspace.store, ref, window, columns=[DATASET_COLUMN], segments=[result.segment]
    )
    images = [
        profile.extra[PERFORMANCE]
        for history in found.values()
        for profile in history.values()
        if PERFORMANCE in profile.extra
    ]
    if not images:
        return None
    return float(Performance.from_bytes(images[-1]).totals[TOTALS.index("rows")])


def _moved(
    workspace: Workspace, ref: DatasetRef, result: AnalyzerResult, analyzer: Analyzer | None
) -> list[str]:
    """What changed inside a column that has drifted, or which columns have come and gone."""
    if canonical(result.metric) == "shape_column_count":
        return _columns(workspace, ref, result)
    if result.drift_value is None or analyzer is None or not result.column:
        return []
    from monitoring_pipeline.analysis.comparing import kind_of, pair_of

    before = _baseline(workspace, ref, result, analyzer)
    now = _profiles(workspace, ref, result, TimeRange.of_bucket(result.bucket, result.granularity))
    kind = kind_of(*before) if before else None
    if kind is None or kind != kind_of(*now):
        return []
    if kind == "number":
        return moved_quantiles(_quantiles(before), _quantiles(now))
    pair = pair_of(before, now)
    return [] if pair is None else moved_categories(pair)


def _columns(workspace: Workspace, ref: DatasetRef, result: AnalyzerResult) -> list[str]:
    """Columns that any of the buckets before has and this one has not, and the other way round."""
    import numpy as np

    granularity = result.granularity
    window = TimeRange(granularity.shift(result.bucket, -_BEFORE), granularity.shift(result.bucket, 1))
    found = profiles.series(
        workspace.store, ref, ("n",), window, granularity=granularity, segments=[result.segment]
    )
    there = ~np.isnan(found.values["n"])
    before, now = there[:, :-1].any(axis=1), there[:, -1]
    names = [column for _, column in found.keys]
    return [
        f"{words}: {_listed([one for one, chosen in zip(names, which, strict=True) if chosen])}"
        for words, which in (("gone", before & ~now), ("new", now & ~before))
        if which.any() and before.any()
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name(one)}`" for one in sorted(names)[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def _baseline(
    workspace: Workspace, ref: DatasetRef, result: AnalyzerResult, analyzer: Analyzer
) -> list[ColumnProfile]:
    """The profiles that the target was compared with, where they are the dataset's own."""
    import numpy as np

    from monitoring_pipeline.analysis.baselines import baseline_window
    from monitoring_pipeline.config.baselines import ReferenceBaseline

    baseline = getattr(analyzer.config, "baseline", None)
    if baseline is None or baseline.dataset_id not in (None, ref.dataset_id):
        return []
    if isinstance(baseline, ReferenceBaseline):
        kept = profiles.reference_profile(
            workspace.store, ref, baseline.profile_id, columns=[result.column], segments=[result.segment]
        )
        return list(kept.values())
    granularity = result.granularity
    target = np.array([granularity.index(result.bucket)], dtype=np.int64)
    window = baseline_window(baseline, target, target_size=analyzer.target_size, granularity=granularity)
    members = window.members(0)[-MOST_BUCKETS:] if window is not None else []
    if not members:
        return []
    span = TimeRange(granularity.start(members[0]), granularity.start(members[-1] + 1))
    inside = {*members}
    return _profiles(workspace, ref, result, span, inside=inside)


def _profiles(
    workspace: Workspace,
    ref: DatasetRef,
    result: AnalyzerResult,
    window: TimeRange,
    *,
    inside: set[int] | None = None,
) -> list[ColumnProfile]:
    from monitoring_pipeline.timegrid import from_micros

    found = profiles.bucket_profiles(
        workspace.store, ref, window, columns=[result.column], segments=[result.segment]
    )
    return [
        profile
        for history in found.values()
        for bucket, profile in history.items()
        if inside is None or result.granularity.index(from_micros(bucket)) in inside
    ]


def _quantiles(side: Sequence[ColumnProfile]) -> tuple[float, ...]:
    """The percentiles of all buckets of a side together."""
    import numpy as np

    from monitoring_pipeline.analysis.baselines import Window
    from monitoring_pipeline.analysis.distributions import Quantiles, merged_quantiles

    opened = {at: Quantiles.open(one.kll) for at, one in enumerate(side) if one.kll is not None and one.m_n}
    window = Window(np.zeros(1, np.int64), len(side))
    return tuple(merged_quantiles(opened, window, _FRACTIONS)[:, 0].tolist())
