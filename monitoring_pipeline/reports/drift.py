"""How far each column has moved: the period against the one before, and against the baseline that analyzers use.

The score is the Hellinger distance of the distributions of all data, whatever analyzers measure by, so that columns
can be ranked; beside it stands the score that chance alone would give. Where an analyzer watches a column for drift,
its own distance is held against its own threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitoring_pipeline.analysis.baselines import baseline_window
from monitoring_pipeline.analysis.comparing import Pair, pair_of
from monitoring_pipeline.analysis.distances import DISTANCES, hellinger, psi
from monitoring_pipeline.analysis.planner import targeted
from monitoring_pipeline.config.analyzer_types import DriftConfig
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import (
    CurrentBatchBaseline,
    ReferenceBaseline,
    TimeRangeBaseline,
    TrailingWindowBaseline,
)
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef

MOST_BASELINE_BUCKETS = 1_000
"""Of a longer baseline the newest so many are compared with; it is said."""

NOISE_FACTOR = 2.0
"""A score up to so many times what chance gives says nothing."""

NOTICEABLE = 0.05
"""With many rows any difference is more than chance; a smaller one moves fewer than one row in ten."""

_PROFILES = 6_000
"""Profiles with sketches that are held at a time."""


@dataclass(frozen=True)
class Watch:
    """The drift analyzer that watches a column: what it measures by, and what it tolerates."""

    analyzer_id: str
    algorithm: str
    threshold: float


@dataclass(frozen=True)
class Drift:
    """How far one column moved. NaN where there is nothing to compare; `note` then says why.

    `score` and `noise` are Hellinger distances, `watched` is the distance that `watch` holds against its threshold.
    `reference_score` and `reference_noise` are against the baseline that the report names. `pair` and `against` are what
    those distances are of.
    """

    column: str
    score: float
    noise: float
    psi: float
    watch: Watch | None
    watched: float
    reference_score: float
    reference_noise: float
    pair: Pair | None
    against: Pair | None
    note: str = ""

    @property
    def beyond(self) -> bool:
        """Whether the analyzer's threshold is exceeded."""
        return self.watch is not None and self.watched > self.watch.threshold

    @property
    def by_reference(self) -> bool:
        """Whether it has moved further from the baseline than from the period before."""
        return self.against is not None and not self._excess(self.score, self.noise) >= self._excess(
            self.reference_score, self.reference_noise
        )

    @property
    def telling(self) -> tuple[float, float, Pair | None]:
        """The comparison that says more: its score, its noise, and both sides."""
        if self.by_reference:
            return self.reference_score, self.reference_noise, self.against
        return self.score, self.noise, self.pair

    @property
    def is_noise(self) -> bool:
        """Whether chance alone explains it."""
        score, noise, _ = self.telling
        return not score > NOISE_FACTOR * noise

    @property
    def moved(self) -> bool:
        """Whether people should look: over the threshold, or further than chance and far enough to be seen."""
        return self.beyond or (not self.is_noise and self.telling[0] >= NOTICEABLE)

    @property
    def rank(self) -> tuple[object, ...]:
        """Sort key, furthest first: over the threshold, then by how far beyond chance."""
        score, noise, _ = self.telling
        return not self.beyond, -self._excess(score, noise), self.column

    @staticmethod
    def _excess(score: float, noise: float) -> float:
        return -math.inf if math.isnan(score) else score - noise


@dataclass(frozen=True)
class Drifts:
    """All columns, the furthest first. `reference`: what else they were compared with, in words; "" if nothing."""

    columns: tuple[Drift, ...]
    reference: str

    @property
    def moved(self) -> tuple[Drift, ...]:
        """Those that people should look at."""
        return tuple(one for one in self.columns if one.moved)


_NOTHING = Drifts((), "")


def drifts_of(
    store: Store,
    ref: DatasetRef,
    columns: Sequence[str],
    buckets: Buckets,
    *,
    document: MonitorDocument,
    schema: EntitySchema | None,
) -> Drifts:
    """Every column of the period held against the one before, and against the document's baseline for drift.

    A damaged sketch makes its column's note, and no other's.
    """
    if not len(buckets) or not columns:
        return _NOTHING
    watches = _watches(document, columns, schema)
    baseline = _Baseline.of(store, ref, document, buckets)
    found = [
        _drift(column, sides, theirs, watches.get(column), len(buckets))
        for column, sides, theirs in _sides(store, ref, columns, buckets, baseline)
    ]
    return Drifts(tuple(sorted(found, key=lambda one: one.rank)), baseline.words)


_Sides = Mapping[int, ColumnProfile]
"""Profiles of both periods, by place from the first bucket of the one before."""


def _sides(
    store: Store, ref: DatasetRef, columns: Sequence[str], buckets: Buckets, baseline: _Baseline
) -> Iterator[tuple[str, _Sides, Sequence[ColumnProfile]]]:
    both = buckets.with_before
    longest = len(both) + (len(baseline.buckets) if baseline.buckets else 1)
    at_once = max(1, _PROFILES // longest)
    for start in range(0, len(columns), at_once):
        chosen = columns[start : start + at_once]
        found = profiles.bucket_profiles(store, ref, both.window, columns=chosen, segments=[OVERALL])
        theirs = baseline.profiles(store, ref, chosen)
        for column in chosen:
            history = found.get((OVERALL, column), {})
            yield (
                column,
                {both.place(bucket): profile for bucket, profile in history.items()},
                theirs.get(column, ()),
            )


def _drift(
    column: str, sides: _Sides, reference: Sequence[ColumnProfile], watch: Watch | None, length: int
) -> Drift:
    before = [sides[place] for place in sorted(sides) if place < length]
    now = [sides[place] for place in sorted(sides) if place >= length]
    try:
        pair = pair_of(before, now)
        against = pair_of(reference, now) if reference else None
    except ProfileError as error:
        return _unknown(column, watch, f"its profiles cannot be read: {error}")
    if pair is None and against is None:
        return _unknown(column, watch, _why(before, now))
    scored = [(math.nan, math.nan) if one is None else (_score(one), one.noise) for one in (pair, against)]
    # An analyzer's threshold is about its baseline, so that comes first where there is one.
    held = against or pair
    return Drift(
        column=column,
        score=scored[0][0],
        noise=scored[0][1],
        psi=math.nan if pair is None else float(psi(pair.baseline.shares, pair.target.shares)),
        watch=watch,
        watched=_watched(held, watch),
        reference_score=scored[1][0],
        reference_noise=scored[1][1],
        pair=pair,
        against=against,
        note="" if pair is not None else _why(before, now),
    )


def _score(pair: Pair) -> float:
    return float(hellinger(pair.baseline.shares, pair.target.shares))


def _watched(pair: Pair | None, watch: Watch | None) -> float:
    if pair is None or watch is None or watch.algorithm not in DISTANCES:
        return math.nan
    return float(DISTANCES[watch.algorithm](pair.baseline.shares, pair.target.shares))


def _why(before: Sequence[ColumnProfile], now: Sequence[ColumnProfile]) -> str:
    if not before or not now:
        return "not in the period before" if now else "not in this period"
    return "no distribution to compare"


def _unknown(column: str, watch: Watch | None, note: str) -> Drift:
    nan = math.nan
    return Drift(column, nan, nan, nan, watch, nan, nan, nan, None, None, note)


def _watches(
    document: MonitorDocument, columns: Sequence[str], schema: EntitySchema | None
) -> dict[str, Watch]:
    """The first enabled drift analyzer that looks at each column's data as a whole."""
    keys = [(OVERALL, column) for column in columns]
    found: dict[str, Watch] = {}
    for analyzer, config in _drift_analyzers(document):
        watch = Watch(analyzer.id, str(config.algorithm), float(config.threshold))
        chosen = targeted(analyzer, keys, schema=schema, weights=document.weight_config)
        for place in chosen.nonzero()[0].tolist():
            found.setdefault(columns[place], watch)
    return found


def _drift_analyzers(document: MonitorDocument) -> Iterator[tuple[Analyzer, DriftConfig]]:
    for analyzer in document.analyzers:
        if not analyzer.disabled and isinstance(analyzer.config, DriftConfig):
            yield analyzer, analyzer.config


@dataclass(frozen=True)
class _Baseline:
    """What drift analyzers compare with: a kept profile, or buckets; neither where that is the period before itself."""

    words: str = ""
    profile_id: str | None = None
    buckets: Buckets | None = None
    excluded: frozenset[int] = frozenset()

    @classmethod
    def of(cls, store: Store, ref: DatasetRef, document: MonitorDocument, buckets: Buckets) -> _Baseline:
        """That of the first drift analyzer whose baseline lies in this dataset; a reference before the others."""
        known = [config.baseline for _, config in _drift_analyzers(document)]
        own = [one for one in known if one.dataset_id in (None, document.dataset_id)]
        for one in own:
            if isinstance(one, ReferenceBaseline) and profiles.reference_profile(
                store, ref, one.profile_id, columns=[profiles.DATASET_COLUMN], segments=[OVERALL]
            ):
                return cls(f"the reference `{one.profile_id}`", profile_id=one.profile_id)
        for one in own:
            if isinstance(one, TrailingWindowBaseline | TimeRangeBaseline):
                return cls._of_window(one, buckets)
        return cls()

    @classmethod
    def _of_window(
        cls, baseline: TrailingWindowBaseline | TimeRangeBaseline | CurrentBatchBaseline, buckets: Buckets
    ) -> _Baseline:
        import numpy as np

        first = np.array([buckets.first], dtype=np.int64)
        window = baseline_window(baseline, first, target_size=1, granularity=buckets.granularity)
        if window is None or not window.length:
            return cls()
        there = Buckets(buckets.granularity, window.first, window.length)
        cut = ""
        if len(there) > MOST_BASELINE_BUCKETS:
            left = len(there) - MOST_BASELINE_BUCKETS
            there = Buckets(there.granularity, there.first + left, MOST_BASELINE_BUCKETS)
            cut = f", the newest {MOST_BASELINE_BUCKETS:,} of its buckets"
        if there == buckets.before and not window.excluded:
            return cls()
        return cls(f"the analyzers' baseline ({there.words}{cut})", buckets=there, excluded=window.excluded)

    def profiles(
        self, store: Store, ref: DatasetRef, columns: Sequence[str]
    ) -> dict[str, list[ColumnProfile]]:
        """The baseline of some columns; a column without one is absent."""
        if self.profile_id is not None:
            kept = profiles.reference_profile(
                store, ref, self.profile_id, columns=columns, segments=[OVERALL]
            )
            return {column: [profile] for (_, column), profile in kept.items()}
        if self.buckets is None:
            return {}
        found = profiles.bucket_profiles(store, ref, self.buckets.window, columns=columns, segments=[OVERALL])
        return {
            column: [
                profile
                for bucket, profile in history.items()
                if self.buckets.place(bucket) + self.buckets.first not in self.excluded
            ]
            for (_, column), history in found.items()
        }
