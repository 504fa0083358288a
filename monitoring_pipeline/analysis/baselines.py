"""Which buckets a target is made of, and which ones it is compared with.

Windows are integer arithmetic on bucket indices (`Granularity.index`), for all targets of an analyzer at once. An
excluded bucket is dropped and not replaced by an older one, so `expected_count` does not change with exclusions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from monitoring_pipeline.analysis.verdicts import Floats, explained
from monitoring_pipeline.config.baselines import (
    Baseline,
    CurrentBatchBaseline,
    ReferenceBaseline,
    TimeRangeBaseline,
    TrailingWindowBaseline,
)
from monitoring_pipeline.timegrid import Granularity, TimeRange

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """For every target the run of `length` buckets from `starts` (n_targets,) int64 on, save for `excluded` ones."""

    starts: Indices
    length: int
    excluded: frozenset[int] = frozenset()

    @property
    def first(self) -> int:
        """Index of the earliest bucket that any target looks at."""
        return int(self.starts.min())

    @property
    def last(self) -> int:
        """Index of the latest bucket that any target looks at."""
        return int(self.starts.max()) + self.length - 1

    def gather(self, values: Floats, base: int) -> Floats:
        """Values (n_series, n_targets, length) out of `values` (n_series, n_buckets), whose first bucket is `base`.

        NaN where a bucket is excluded or lies outside `values`.
        """
        n_series, n_buckets = values.shape
        if self.length == 0:
            return np.empty((n_series, len(self.starts), 0))
        before = max(0, base - self.first)
        after = max(0, self.last - (base + n_buckets - 1))
        padded = np.pad(values.astype(np.float64), ((0, 0), (before, after)), constant_values=np.nan)
        for index in self.excluded:
            position = index - base + before
            if 0 <= position < padded.shape[1]:
                padded[:, position] = np.nan
        windows = sliding_window_view(padded, self.length, axis=1)
        return np.ascontiguousarray(windows[:, self.starts - base + before])

    def extended(self, back: int) -> Window:
        """The same windows, each beginning `back` buckets earlier."""
        return Window(self.starts - back, self.length + back, self.excluded)

    def members(self, target: int) -> list[int]:
        """Indices of the buckets that the target at this position looks at, ascending."""
        start = int(self.starts[target])
        return [index for index in range(start, start + self.length) if index not in self.excluded]


def target_window(targets: Indices, target_size: int) -> Window:
    """The buckets that each target is merged from: the target and the `target_size` − 1 before it."""
    return Window(targets - (target_size - 1), target_size)


def baseline_window(
    baseline: Baseline,
    targets: Indices,
    *,
    target_size: int,
    granularity: Granularity,
    bad: Collection[datetime] = (),
) -> Window | None:
    """The buckets that each target is compared with; None for a reference profile, which is in no bucket.

    A trailing window leaves out what its exclusions name, and `bad` buckets in the same way.
    """
    if isinstance(baseline, TrailingWindowBaseline):
        starts = targets - (target_size - 1) - baseline.offset - baseline.size
        window = Window(starts, baseline.size)
        excluded = _exclusions(baseline, window, granularity) | {granularity.index(one) for one in bad}
        return Window(starts, baseline.size, excluded)
    if isinstance(baseline, TimeRangeBaseline):
        first, length = _whole_buckets(baseline.range, granularity)
        return Window(np.full(targets.shape, first), length)
    if isinstance(baseline, CurrentBatchBaseline):
        return Window(targets - baseline.offset, 1)
    return None


def contains(
    baseline: Baseline, target: datetime, bucket: datetime, *, target_size: int = 1, granularity: Granularity
) -> bool:
    """Whether a bucket belongs to the baseline of a target."""
    index = np.array([granularity.index(target)])
    window = baseline_window(baseline, index, target_size=target_size, granularity=granularity)
    return window is not None and granularity.index(bucket) in window.members(0)


def expected_count(baseline: Baseline | None, granularity: Granularity) -> int:
    """How many buckets the baseline has when nothing is missing; 0 without a baseline."""
    if baseline is None:
        return 0
    if isinstance(baseline, TrailingWindowBaseline):
        return baseline.size
    if isinstance(baseline, TimeRangeBaseline):
        return _whole_granules(baseline.range, granularity)
    return 1


def insufficient(counts: NDArray[np.int64], *, expected: int, minimum: int) -> NDArray[np.bool_]:
    """Where a baseline has fewer buckets with the metric than `minBatchSize`, or than it can have at all."""
    return counts < min(expected, minimum)


def explain_insufficient(counts: NDArray[np.int64], needed: int, baseline: Baseline) -> NDArray[np.object_]:
    """What a person is told about each insufficient baseline."""
    if isinstance(baseline, ReferenceBaseline):
        reason = f"the reference profile {baseline.profile_id!r} does not exist or does not hold this metric"
        return np.full(counts.shape, reason, dtype=object)
    of = f"of the {needed} bucket{'s' if needed != 1 else ''} it needs"
    return explained(counts, lambda count: f"baseline has {count} {of}")


def span(windows: Sequence[Window], granularity: Granularity) -> TimeRange | None:
    """The range of time that all the windows lie in, None when they are empty."""
    filled = [window for window in windows if window.length]
    if not filled:
        return None
    first, last = min(window.first for window in filled), max(window.last for window in filled)
    return TimeRange(granularity.start(first), granularity.start(last + 1))


def _exclusions(baseline: TrailingWindowBaseline, window: Window, granularity: Granularity) -> frozenset[int]:
    ranges, schedule = baseline.exclusion_ranges, baseline.exclusion_schedule
    if (not ranges and schedule is None) or not len(window.starts):
        return frozenset()
    excluded: set[int] = set()
    for index in range(window.first, window.last + 1):
        bucket = granularity.start(index)
        in_range = any(bucket in one for one in ranges)
        if in_range or (schedule is not None and schedule.matches(bucket, granularity)):
            excluded.add(index)
    return frozenset(excluded)


def _whole_buckets(period: TimeRange, granularity: Granularity) -> tuple[int, int]:
    """First index and number of the buckets that start inside the range."""
    first, last = granularity.index(period.start), granularity.index(period.end)
    first += granularity.start(first) < period.start
    last += granularity.start(last) < period.end
    return first, max(last - first, 0)


def _whole_granules(period: TimeRange, granularity: Granularity) -> int:
    """Granules between the ends: calendar months, else whole lengths that fit in."""
    if granularity is Granularity.MONTHLY:
        return granularity.index(period.end) - granularity.index(period.start)
    length = granularity.shift(period.start, 1) - granularity.floor(period.start)
    return (period.end - period.start) // length
