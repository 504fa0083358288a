"""Scalars of a series that the store has no column for: told by components, by batches, or by adding columns up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import COMPONENT_SCALARS, component_scalars
from monitoring_pipeline.analysis.planner import Key, Slice
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.metrics.operational import BATCH_SCALARS, COLUMN_SUMS
from monitoring_pipeline.profiling.profile import DATASET_COLUMN, ColumnProfile
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import Series
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

_PROFILES = 20_000
"""Profiles with sketches that are held in memory at a time."""

_SECOND = 1_000_000

Histories = dict[Key, dict[int, ColumnProfile]]


def stored(scalars: Collection[str]) -> list[str]:
    """Those that are columns of the store, sorted."""
    return sorted(set(scalars) & set(PROFILE_SCALARS))


@dataclass
class Additions:
    """Adds scalars to series of one store. `schema` tells inputs from outputs, beside their names."""

    store: Store
    granularity: Granularity
    schema: EntitySchema | None = None
    _rows: dict[tuple[int, TimeRange, frozenset[str]], Histories] = field(default_factory=dict)
    """Profiles of segments themselves, which several metrics and baselines are read off."""

    def to(self, series: Series, ref: DatasetRef, wanted: Slice) -> Series:
        """The series with those scalars of the slice that are not stored."""
        values: dict[str, Floats] = {}
        there = ~np.isnan(series.values["n"])
        for names, read in (
            (COMPONENT_SCALARS, self._components),
            (BATCH_SCALARS, self._batches),
            (COLUMN_SUMS, self._sums),
        ):
            asked = sorted(wanted.scalars & set(names))
            if asked:
                found = read(asked, series, ref, wanted)
                values |= {name: np.where(there, found[name], np.nan) for name in asked}
        return Series(series.keys, series.buckets, {**series.values, **values}) if values else series

    def profiles(
        self, ref: DatasetRef, window: TimeRange, columns: Collection[str], segments: Collection[str]
    ) -> Histories:
        """Profiles with sketches by key and bucket index; those of segments themselves are read once."""
        if set(columns) != {DATASET_COLUMN}:
            return self._read(ref, window, columns, segments)
        first, last = self.granularity.index(window.start), self.granularity.index(window.end)
        for (pk, span, known), histories in self._rows.items():
            within = span.start <= window.start and window.end <= span.end
            if pk == ref.pk and within and known.issuperset(segments):
                return {
                    key: {at: profile for at, profile in history.items() if first <= at < last}
                    for key, history in histories.items()
                    if key[0] in segments
                }
        found = self._read(ref, window, columns, segments)
        if len(segments) * (last - first) <= _PROFILES:
            self._rows[ref.pk, window, frozenset(segments)] = found
        return found

    def _components(
        self, names: Sequence[str], series: Series, ref: DatasetRef, wanted: Slice
    ) -> Mapping[str, Floats]:
        found = {name: np.full(series.values["n"].shape, np.nan) for name in names}
        buckets = Window(self.granularity.index_array(series.buckets), 1)
        rows = {key: row for row, key in enumerate(series.keys)}
        for columns, segments in _runs(series, wanted):
            for key, history in self.profiles(ref, wanted.window, columns, segments).items():
                told = component_scalars(names, history, buckets)
                for name in names:
                    found[name][rows[key]] = told[name]
        return found

    def _batches(
        self, names: Sequence[str], series: Series, ref: DatasetRef, wanted: Slice
    ) -> Mapping[str, Floats]:
        at = {int(bucket): place for place, bucket in enumerate(series.buckets.tolist())}
        found = {name: np.full(len(series.buckets), np.nan) for name in BATCH_SCALARS}
        for batch in profiles.batches(self.store, ref, wanted.window):
            place = at[to_micros(batch.bucket)]
            found["files"][place] = batch.files
            found["first_upload"][place] = to_micros(batch.first_upload) / _SECOND
            found["last_upload"][place] = to_micros(batch.last_upload) / _SECOND
        indices = self.granularity.index_array(series.buckets)
        found["seconds"] = (self.granularity.start_array(indices + 1) - series.buckets) / _SECOND
        return {name: found[name][None, :] for name in names}

    def _sums(
        self, names: Sequence[str], series: Series, ref: DatasetRef, wanted: Slice
    ) -> Mapping[str, Floats]:
        counted = profiles.series(
            self.store,
            ref,
            ["n", "n_columns"],
            wanted.window,
            granularity=self.granularity,
            segments=wanted.segments,
        )
        of_rows = np.where(counted.values["n_columns"] == 0, np.nan, counted.values["n"])
        found = {name: np.zeros(series.values["n"].shape) for name in names}
        rows = {segment: row for row, (segment, column) in enumerate(series.keys) if column == DATASET_COLUMN}
        for (segment, column), counts in zip(counted.keys, of_rows, strict=True):
            name = "n_output" if self._is_output(column) else "n_input"
            if name in found and segment in rows:
                found[name][rows[segment]] += np.nan_to_num(counts)
        return found

    def _is_output(self, column: str) -> bool:
        known = self.schema.column(column) if self.schema else None
        stated = known.classifier if known else None
        return "output" in column.lower() or (stated or "").lower() == "output"

    def _read(
        self, ref: DatasetRef, window: TimeRange, columns: Collection[str], segments: Collection[str]
    ) -> Histories:
        found = profiles.bucket_profiles(
            self.store, ref, window, columns=sorted(columns), segments=sorted(segments)
        )
        return {
            key: {self.granularity.index(from_micros(bucket)): profile for bucket, profile in history.items()}
            for key, history in found.items()
        }


def _runs(series: Series, wanted: Slice) -> Iterator[tuple[list[str], Sequence[str]]]:
    """Columns and segments of a series in runs whose profiles fit in memory."""
    columns = sorted({column for _, column in series.keys})
    size = max(1, _PROFILES // max(len(series.buckets), 1))
    for start in range(0, len(wanted.segments), size):
        segments = wanted.segments[start : start + size]
        width = max(1, size // len(segments))
        for first in range(0, len(columns), width):
            yield columns[first : first + width], segments


def of_profile(names: Collection[str], profile: ColumnProfile | None) -> dict[str, float]:
    """Those scalars of a single profile that its components tell."""
    asked = sorted(set(names) & COMPONENT_SCALARS)
    if profile is None or not asked:
        return {}
    told = component_scalars(asked, {0: profile}, Window(np.zeros(1, dtype=np.int64), 1))
    return {name: float(values[0]) for name, values in told.items()}
