"""How much data came in the period, and how long after its bucket was over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """Rows and arrivals, bucket by bucket: (2 · n_buckets,) float64 with the period before first, NaN without data.

    `lags`: seconds from the end of a bucket until its last upload. `missing`: which buckets of the period have no data,
    counted from its first. `reloaded`: buckets of the period that were loaded more than once. `problems`: rows of the
    period that could not be taken as they were, by kind.
    """

    buckets: Buckets
    rows: Floats
    lags: Floats
    missing: list[int]
    reloaded: int
    problems: Mapping[str, int]
    last_upload: datetime | None

    @property
    def now(self) -> float:
        """Rows of the period."""
        return float(np.nansum(self.rows[len(self.buckets) :]))

    @property
    def before(self) -> float:
        """Rows of the period before; NaN when it has no data at all."""
        rows = self.rows[: len(self.buckets)]
        return math.nan if np.isnan(rows).all() else float(np.nansum(rows))

    @property
    def change(self) -> float:
        """How much more came than before, as a share of that; NaN where there is nothing to compare with."""
        return self.now / self.before - 1 if self.before > 0 else math.nan

    @property
    def lag(self) -> tuple[float, float]:
        """Median and longest lag of the period in seconds, NaN without data."""
        return _middle(self.lags[len(self.buckets) :])

    @property
    def lag_before(self) -> tuple[float, float]:
        """The same of the period before."""
        return _middle(self.lags[: len(self.buckets)])


def volume_of(store: Store, ref: DatasetRef, buckets: Buckets, *, first: datetime | None) -> Volume:
    """What the store knows of the batches of the period and the one before. `first`: the dataset's first bucket, before
    which nothing is missing; None while it has none.
    """
    both = buckets.with_before
    rows, lags = np.full(len(both), np.nan), np.full(len(both), np.nan)
    problems: Counter[str] = Counter()
    found = profiles.batches(store, ref, both.window) if len(both) else []
    for batch in found:
        place = both.place(batch.bucket)
        rows[place] = batch.rows
        lags[place] = (batch.last_upload - both.granularity.shift(batch.bucket, 1)).total_seconds()
        if place >= len(buckets):
            problems.update(batch.quality)
    of_period = [batch for batch in found if both.place(batch.bucket) >= len(buckets)]
    return Volume(
        buckets=buckets,
        rows=rows,
        lags=lags,
        missing=[
            place
            for place, start in enumerate(buckets.starts)
            if np.isnan(rows[place + len(buckets)]) and (first is None or start >= first)
        ],
        reloaded=sum(batch.version > 1 for batch in of_period),
        problems=dict(problems),
        last_upload=max((batch.last_upload for batch in of_period), default=None),
    )


def _middle(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return (float(np.median(known)), float(known.max())) if len(known) else (math.nan, math.nan)
