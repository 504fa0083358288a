"""Which verdicts rest on a bucket: those on the bucket itself, and those on others that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.analysis.planner import children_of
from monitoring_pipeline.config.analyzer_types import FixedConfig
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import (
    Baseline,
    CurrentBatchBaseline,
    ReferenceBaseline,
    TimeRangeBaseline,
    TrailingWindowBaseline,
)
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.timegrid import Granularity, TimeRange


@dataclass(frozen=True)
class Reach:
    """The buckets on which an analyzer's verdict rests on a certain other bucket.

    `any_segment`: the verdict of a segment rests on other segments as well.
    """

    analyzer_id: str
    window: TimeRange
    any_segment: bool = False


def reach_of(
    document: MonitorDocument, bucket: datetime, *, dataset_id: str | None = None
) -> Iterator[Reach]:
    """What of a document's verdicts rests on a bucket of its own dataset, or of another one by its id.

    The bucket's own verdicts are not among them unless another dataset is asked for.
    """
    for analyzer in document.analyzers:
        found = _reach(analyzer, document, bucket, dataset_id)
        if found is not None:
            yield found


def buckets_before(analyzer: Analyzer) -> int:
    """How many buckets before a target its own dataset's trailing baseline and wide targets look at."""
    baseline = baseline_of(analyzer)
    back = analyzer.target_size - 1
    if isinstance(analyzer.config, FixedConfig):
        back += (analyzer.config.n_consecutive or 1) - 1
    if isinstance(baseline, TrailingWindowBaseline):
        back += baseline.size + baseline.offset
    elif isinstance(baseline, CurrentBatchBaseline):
        back += baseline.offset
    return back


def baseline_of(analyzer: Analyzer) -> Baseline | None:
    """The analyzer's baseline; None where its type has none."""
    return getattr(analyzer.config, "baseline", None)


def _reach(
    analyzer: Analyzer, document: MonitorDocument, bucket: datetime, dataset_id: str | None
) -> Reach | None:
    if children_of(analyzer):
        known = {one.id: one for one in document.analyzers}
        found = [
            reach
            for name in children_of(analyzer)
            if name in known and (reach := _reach(known[name], document, bucket, dataset_id)) is not None
        ]
        if not found:
            return None
        window = TimeRange(min(one.window.start for one in found), max(one.window.end for one in found))
        return Reach(analyzer.id, window, any(one.any_segment for one in found))
    window = _window(analyzer, bucket, document.granularity, dataset_id)
    if window is None or window.start == window.end:
        return None
    baseline = baseline_of(analyzer)
    return Reach(analyzer.id, window, baseline is not None and baseline.inherit_segment)


def _window(
    analyzer: Analyzer, bucket: datetime, granularity: Granularity, dataset_id: str | None
) -> TimeRange | None:
    baseline = baseline_of(analyzer)
    elsewhere = baseline.dataset_id if baseline is not None else None
    if dataset_id is not None and elsewhere != dataset_id:
        return None
    first = bucket if dataset_id is not None else granularity.shift(bucket, 1)
    if dataset_id is None and elsewhere is not None:  # only its targets are of this dataset
        return TimeRange(first, granularity.shift(bucket, analyzer.target_size))
    if isinstance(baseline, TimeRangeBaseline) and bucket in baseline.range:
        return TimeRange.always()
    if isinstance(baseline, ReferenceBaseline):
        return TimeRange(first, granularity.shift(bucket, analyzer.target_size))
    return TimeRange(first, granularity.shift(bucket, buckets_before(analyzer) + 1))
