"""A backfill in passes: as many buckets at a time as have results that fit in memory, oldest first.

What a pass has found is written before the next begins, so analyzers that go on from earlier results find them, and a
backfill that dies goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import candidate_columns, targeted_segments
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.store import datasets
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef

VERDICTS = 400_000
"""Verdicts of a pass, if every column is in every segment; about a gigabyte while they are written."""


def passes(
    store: Store, ref: DatasetRef, document: MonitorDocument, due: Sequence[Due], *, most: int = VERDICTS
) -> Iterator[Sequence[Due]]:
    """What is due in runs of whole buckets, each with at most so many verdicts or of a single bucket.

    Yields everything at once, also nothing, where that is few enough.
    """
    ordered = sorted(due, key=lambda one: one.bucket)
    if not ordered or ordered[0].bucket == ordered[-1].bucket:
        yield due
        return
    segments, columns = datasets.segments(store, ref), len(datasets.columns(store, ref))
    weights = {one.id: _series(one, segments, columns) for one in document.analyzers}
    if sum(weights.get(one.analyzer_id, 0) for one in ordered) <= most:
        yield due
        return
    part: list[Due] = []
    size = 0
    for _, group in groupby(ordered, key=lambda one: one.bucket):
        of_bucket = list(group)
        added = sum(weights.get(one.analyzer_id, 0) for one in of_bucket)
        if part and size + added > most:
            yield part
            part, size = [], 0
        part += of_bucket
        size += added
    yield part


def _series(analyzer: Analyzer, segments: Sequence[str], columns: int) -> int:
    """How many series an analyzer judges at most."""
    named = candidate_columns(analyzer)
    return max(len(targeted_segments(analyzer, segments)), 1) * (columns if named is None else len(named))
