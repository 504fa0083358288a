"""Between what the store holds and what jobs ask for: keys, values of single profiles, parts of series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from monitoring_pipeline.analysis.additions import of_profile
from monitoring_pipeline.analysis.baselines import Indices
from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.images import Images
from monitoring_pipeline.analysis.inputs import MOMENTS, History, Values
from monitoring_pipeline.analysis.jobs import Job
from monitoring_pipeline.analysis.planner import Key, Slice, candidate_columns
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.metrics import Metric
from monitoring_pipeline.profiling.extracting import Blobs
from monitoring_pipeline.profiling.profile import DATASET_COLUMN, ColumnProfile
from monitoring_pipeline.store.components import Found
from monitoring_pipeline.store.profiles import Series
from monitoring_pipeline.timegrid import Granularity, from_micros, to_micros


def columns_of(job: Job) -> frozenset[str] | None:
    """The columns that are read for a job; None for any."""
    return candidate_columns(job.analyzer) if job.metric.column is None else frozenset({job.metric.column})


def stored_key(job: Job, key: Key) -> Key:
    """Where the store has what is said of a series: a dataset's metric may be that of one of its columns."""
    return key if job.metric.column is None else (key[0], job.metric.column)


def said(job: Job, found: Mapping[Key, History]) -> Mapping[Key, History]:
    """Inverse of `stored_key`."""
    if job.metric.column is None:
        return found
    return {(segment, DATASET_COLUMN): history for (segment, _), history in found.items()}


class BucketIndices(dict[int, int]):
    """Bucket indices by start in microseconds, worked out when they are asked for."""

    def __init__(self, granularity: Granularity) -> None:
        super().__init__()
        self._granularity = granularity

    def __missing__(self, start: int) -> int:
        self[start] = self._granularity.index(from_micros(start))
        return self[start]


def placed(found: Iterable[Found], places: Mapping[Key, Sequence[int]], indices: BucketIndices) -> Images:
    """Sketches by series and bucket, each at the place or places of its series."""
    rows: list[Indices] = []
    buckets: list[Indices] = []
    images: list[Blobs] = []
    keys: Sequence[Key] | None = None
    listed = counts = np.zeros(0, np.int64)
    for part in found:
        if part.keys is not keys:
            keys = part.keys
            rooms = [places.get(key, ()) for key in keys]
            counts = np.fromiter(map(len, rooms), np.int64, len(rooms))
            listed = np.fromiter(chain.from_iterable(rooms), np.int64, counts.sum())
        first, many = (np.cumsum(counts) - counts)[part.of], counts[part.of]
        which = np.repeat(np.arange(len(part.of)), many)
        within = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        rows.append(listed[first[which] + within])
        starts, at = np.unique(part.buckets, return_inverse=True)
        buckets.append(np.array([indices[start] for start in starts.tolist()], np.int64)[at][which])
        images.append(part.images.take(which))
    if not images:
        return Images.none()
    return Images.of(np.concatenate(rows), np.concatenate(buckets), Blobs.joined(images))


def placed_at_once(found: Mapping[Key, bytes], places: Mapping[Key, Sequence[int]]) -> Images:
    """Sketches of a single profile by series, which stand in bucket 0."""
    rows = [(row, image) for key, image in found.items() for row in places.get(key, ())]
    return Images.of([row for row, _ in rows], [0] * len(rows), Blobs.of([image for _, image in rows]))


def scalars_of(metric: Metric) -> frozenset[str]:
    """The scalars that a metric is made of, and those that they merge together with."""
    needs = frozenset(metric.needs)
    return needs | frozenset(MOMENTS) if needs & frozenset(MOMENTS) else needs


def formula_of(metric: Metric, scalars: Mapping[str, Floats]) -> Floats:
    """The metric of single buckets out of its scalars, same shape; of one that is no number, whether there is one."""
    if metric.kind == "distribution":
        return scalars["n"]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = metric.formula(scalars)
    if metric.kind == "text":
        return np.where(found == "", np.nan, 1.0)
    return np.asarray(found, dtype=np.float64)


def values_of(
    metric: Metric,
    keys: Sequence[Key],
    found: Sequence[ColumnProfile | None],
    widths: Sequence[float | None] = (),
) -> Values:
    """A metric of single profiles, one bucket with index 0. `widths` are the columns that a dataset's row stands for."""
    scalars = {name: np.full((len(keys), 1), np.nan) for name in ("n", *scalars_of(metric))}
    for row, profile in enumerate(found):
        known = profile.scalars() if profile is not None else {}
        if profile is not None and widths:
            known["n_columns"] = widths[row]
        known |= of_profile(scalars, profile)
        for name, values in scalars.items():
            value = known.get(name)
            values[row, 0] = np.nan if value is None else value
    return Values(tuple(keys), 0, formula_of(metric, scalars), scalars)


def items_of(names: Iterable[str]) -> Items:
    """Names as items, each of which occurs once."""
    counts = dict.fromkeys(sorted(names), 1.0)
    return Items(counts, 0.0, float(len(counts)))


def names_in(profiles: Mapping[Key, ColumnProfile]) -> dict[str, Items]:
    """The columns of every segment of a profile, save for those that came with outcomes only."""
    names: dict[str, set[str]] = {}
    for (segment, column), profile in profiles.items():
        names.setdefault(segment, set()).update(() if profile.late else (column,))
    return {segment: items_of(columns - {DATASET_COLUMN}) for segment, columns in names.items()}


def split(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    """Columns and segments of keys, sorted."""
    listed = list(keys)
    return sorted({column for _, column in listed}), sorted({segment for segment, _ in listed})


def nothing(keys: Sequence[Key]) -> Values:
    """These series without any bucket."""
    empty = np.empty((len(keys), 0))
    return Values(tuple(keys), 0, empty, {"n": empty})


def narrowed(series: Series, wanted: Slice) -> Series:
    """The part of a series that a slice asks for; series without any data in it are left out."""
    start, end = np.searchsorted(
        series.buckets, [to_micros(wanted.window.start), to_micros(wanted.window.end)]
    )
    buckets = slice(int(start), int(end))
    counts = series.values["n"][:, buckets]
    rows = np.asarray(~np.isnan(counts).all(axis=1), np.bool_)
    if wanted.columns is not None:
        rows &= np.array([column in wanted.columns for _, column in series.keys], dtype=np.bool_)
    if rows.all():
        chosen = {name: series.values[name][:, buckets] for name in wanted.scalars}
        return Series(series.keys, series.buckets[buckets], chosen)
    return Series(
        tuple(key for key, keep in zip(series.keys, rows, strict=True) if keep),
        series.buckets[buckets],
        {name: series.values[name][rows, buckets] for name in wanted.scalars},
    )
