"""Which buckets analyzers may still look at, so that nothing of them is removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from monitoring_pipeline.analysis.gates import default_grace, grace_of
from monitoring_pipeline.analysis.reach import baseline_of, buckets_before
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import TimeRangeBaseline
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.timegrid import TimeRange


def looked_at(
    document: MonitorDocument, now: datetime, *, dataset_id: str | None = None
) -> Iterator[tuple[str, TimeRange]]:
    """Id of each analyzer that is not disabled, and a time whose buckets it may still look at.

    They are those of its own dataset, or, of analyzers whose baselines are there, of another one by its id. A bucket
    may be judged within the analyzer's backfill grace, which does not count beyond the default one: whoever asks for
    older verdicts is told what is missing.
    """
    for analyzer in document.analyzers:
        baseline = baseline_of(analyzer)
        if analyzer.disabled or (
            dataset_id is not None and (baseline is None or baseline.dataset_id != dataset_id)
        ):
            continue
        yield analyzer.id, TimeRange(_oldest(analyzer, document, now), TimeRange.always().end)
        if isinstance(baseline, TimeRangeBaseline) and baseline.dataset_id in (None, dataset_id):
            yield analyzer.id, baseline.range


def _oldest(analyzer: Analyzer, document: MonitorDocument, now: datetime) -> datetime:
    granularity = document.granularity
    graces = (grace_of(analyzer, granularity), default_grace(granularity))
    return granularity.shift(max(grace.before(now) for grace in graces), -buckets_before(analyzer))
