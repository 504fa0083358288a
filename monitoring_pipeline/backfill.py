"""Fill the store over a range of buckets at the engine's own speed, in chunks that are safe to stop between.

The steps are those of every day: profile what is new or changed, roll it up, judge what is not judged. What a chunk has written
stays; stopping in the middle, or starting again, repeats nothing. People are not told of the past unless asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline import pipeline, readiness
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline.workspace import Workspace

BUCKETS_PER_CHUNK = {
    Granularity.QUARTER_HOURLY: 2_976,
    Granularity.HOURLY: 744,
    Granularity.DAILY: 92,
    Granularity.WEEKLY: 53,
    Granularity.MONTHLY: 36,
}
"""About a month of quarter hours or hours, a quarter of days, a year of weeks: what is held in memory at once."""


@dataclass(frozen=True)
class Chunk:
    """One part of a backfill that is done: how many of all buckets, and what came of its own."""

    window: TimeRange
    done: int
    total: int
    profiled: int
    unchanged: int
    missing: int
    rows: int
    verdicts: int
    anomalies: int
    problems: tuple[str, ...]
    seconds: float


def backfill(
    workspace: Workspace, dataset_id: str, window: TimeRange, *, again: bool = False, tell: bool = False
) -> Iterator[Chunk]:
    """Profile and judge the buckets of a window, oldest first, chunk by chunk; nothing happens before the first `next`.

    Buckets whose data has not changed keep their profile unless `again`; what has been judged is not judged again.
    Incidents are opened and closed as ever, digests are recorded only with `tell`. The grace period does not hold,
    because somebody asked; readiness, cool-down and schedules do.
    """
    buckets = readiness.buckets_in(workspace, dataset_id, window)
    granularity = workspace.dataset(dataset_id).spec.granularity
    size = BUCKETS_PER_CHUNK[granularity]
    for first in range(0, len(buckets), size):
        part = buckets[first : first + size]
        yield _fill(workspace, dataset_id, part, first + len(part), len(buckets), again=again, tell=tell)


def _fill(
    workspace: Workspace,
    dataset_id: str,
    buckets: list[datetime],
    done: int,
    total: int,
    *,
    again: bool,
    tell: bool,
) -> Chunk:
    began = time.perf_counter()
    profiled = pipeline.profile_batch(workspace, dataset_id, buckets, again=again)
    pipeline.roll_up(workspace, dataset_id)
    run_id = pipeline.new_run(quietly=not tell)
    analyzed = pipeline.analyze_batch(workspace, dataset_id, buckets, backfill=True, run_id=run_id)
    pipeline.notify(workspace, dataset_id)
    granularity = workspace.dataset(dataset_id).spec.granularity
    problems = [f"{one.path}: {one.detail}" for one in profiled.problems if {*one.buckets} & {*buckets}]
    return Chunk(
        window=TimeRange(buckets[0], granularity.shift(buckets[-1], 1)),
        done=done,
        total=total,
        profiled=len(profiled.buckets),
        unchanged=len(profiled.unchanged),
        missing=len(profiled.missing),
        rows=profiled.rows,
        verdicts=analyzed.count,
        anomalies=len(analyzed.anomalies),
        problems=tuple(dict.fromkeys([*problems, *analyzed.notes])),
        seconds=time.perf_counter() - began,
    )
