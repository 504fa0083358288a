"""Reads what jobs need from the store: series with as few queries as there are distinct slices, sketches on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np

from monitoring_pipeline.analysis.inputs import MOMENTS, History, Values
from monitoring_pipeline.analysis.jobs import Job
from monitoring_pipeline.analysis.operational import is_missing_datapoint, missing_datapoint, seconds_since
from monitoring_pipeline.analysis.planner import Key, Slice, candidate_columns, combine, targeted_segments
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.baselines import ReferenceBaseline
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.metrics import Metric
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import datasets, profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import BatchRow, Series
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

_SOME: Key = ("some=segment", "some column")

_PROFILES = 20_000
"""Profiles with sketches that are held in memory at a time."""


@dataclass
class Reader:
    """Reads one dataset, and other datasets of its organisation that serve as baselines.

    `slices` is everything that will be asked for; neighbouring ones are read together, once.
    """

    store: Store
    ref: DatasetRef
    granularity: Granularity
    now: datetime
    slices: Sequence[Slice] = ()
    _series: dict[Slice, Series] = field(default_factory=dict)

    def plan(self, jobs: Iterable[Job]) -> None:
        """Learn what the jobs will ask for."""
        wanted: list[Slice] = []
        for job in jobs:
            with suppress(AnalysisError):  # it comes up again, with the job's name, when the job is run
                wanted += [one for one in (self._target_slice(job), self._baseline_slice(job)) if one]
        self.slices = combine(wanted, self.granularity)

    def targets(self, job: Job) -> Values:
        """The job's metric on its targets, for all series that may be meant."""
        return self._values(job, self._target_slice(job))

    def baselines(self, job: Job, keys: Sequence[Key]) -> Values:
        """The job's metric on what these series are compared with, in their order."""
        if isinstance(job.baseline, ReferenceBaseline):
            return self._reference_values(job, keys)
        wanted = self._baseline_slice(job)
        if wanted is None:
            return _nothing(keys)
        others = [self._compared_key(job, key) for key in keys]
        found = self._values(job, wanted).of(others)
        return Values(tuple(keys), found.base, found.metric, found.scalars)

    def histories(
        self, job: Job, keys: Sequence[Key], *, of_target: bool, of_baseline: bool
    ) -> Iterator[tuple[Sequence[Key], Mapping[Key, History], Mapping[Key, History]]]:
        """Profiles with sketches of the keys' targets and baselines, in runs of columns that fit in memory.

        Both are one object where the baseline's buckets are the target's neighbours.
        """
        columns, segments = sorted({column for _, column in keys}), sorted({segment for segment, _ in keys})
        spans = [job.target_span] if of_target else []
        shared = self._shared_span(job) if of_target and of_baseline else None
        if shared is not None:
            spans = [shared]
        elif of_baseline and job.compared_span is not None:
            spans.append(job.compared_span)
        buckets = sum(self.granularity.index(span.end) - self.granularity.index(span.start) for span in spans)
        size = max(1, _PROFILES // max(len(segments) * buckets, 1))
        for start in range(0, len(columns), size):
            run = set(columns[start : start + size])
            chosen = [key for key in keys if key[1] in run]
            if shared is not None:
                both = self._profiles(self.ref, shared, run, segments)
                yield chosen, both, both
            else:
                target = self._profiles(self.ref, job.target_span, run, segments) if of_target else {}
                yield chosen, target, self._compared_profiles(job, chosen) if of_baseline else {}

    def versions(self, window: TimeRange) -> dict[int, int]:
        """Profile version of every bucket in the window, by bucket index."""
        rows = profiles.batches(self.store, self.ref, window)
        return {self.granularity.index(row.bucket): row.version for row in rows}

    def _target_slice(self, job: Job) -> Slice:
        return self._slice(job, self.ref, job.target_span, targeted_segments(job.analyzer, self._segments))

    def _baseline_slice(self, job: Job) -> Slice | None:
        span = job.compared_span
        if span is None:
            return None
        ref = self._compared_ref(job)
        segments = targeted_segments(job.analyzer, self._segments)
        others = sorted({self._compared_key(job, (segment, ""))[0] for segment in segments})
        return self._slice(job, ref, span, segments if ref == self.ref else others)

    def _slice(self, job: Job, ref: DatasetRef, span: TimeRange, segments: Sequence[str]) -> Slice:
        if job.about_arrival and self._batches:
            # These metrics are about what is not there, so the series that could be there must be known.
            span = TimeRange(min(self._batches[0].bucket, span.start), span.end)
        return Slice(
            dataset=ref.dataset_id,
            segments=tuple(segments),
            columns=candidate_columns(job.analyzer),
            scalars=frozenset({"n", *_scalars(job.metric)}),
            window=span,
        )

    def _values(self, job: Job, wanted: Slice) -> Values:
        found = self._read(wanted)
        buckets = self.granularity.index_array(found.buckets)
        base = int(buckets[0]) if len(buckets) else 0
        scalars = {name: found.values[name] for name in wanted.scalars}
        if not job.about_arrival:
            metric = _formula(job.metric, scalars)
        elif is_missing_datapoint(job.analyzer):
            metric = missing_datapoint(scalars["n"])
        else:
            newest = max((row.last_upload for row in self._batches), default=None)
            metric = np.full(scalars["n"].shape, seconds_since(newest, self.now))
        return Values(found.keys, base, metric, scalars)

    def _read(self, wanted: Slice) -> Series:
        planned = next((one for one in self.slices if one.covers(wanted)), wanted)
        if planned not in self._series:
            ref = self.ref if planned.dataset == self.ref.dataset_id else self._dataset(planned.dataset)
            self._series[planned] = profiles.series(
                self.store,
                ref,
                sorted(planned.scalars),
                planned.window,
                granularity=self.granularity,
                columns=planned.columns,
                segments=planned.segments,
            )
        return _narrowed(self._series[planned], wanted)

    def _profiles(
        self, ref: DatasetRef, window: TimeRange, columns: Iterable[str], segments: Iterable[str]
    ) -> dict[Key, History]:
        found = profiles.bucket_profiles(
            self.store, ref, window, columns=sorted(columns), segments=sorted(segments)
        )
        return {
            key: {self.granularity.index(from_micros(bucket)): profile for bucket, profile in history.items()}
            for key, history in found.items()
        }

    def _shared_span(self, job: Job) -> TimeRange | None:
        """One range for target and baseline, when they are neighbours in the same dataset and segment."""
        target, compared = job.target_span, job.compared_span
        if compared is None or self._compared_ref(job) != self.ref or self._compared_key(job, _SOME) != _SOME:
            return None
        if compared.end < target.start or target.end < compared.start:
            return None
        return TimeRange(min(target.start, compared.start), max(target.end, compared.end))

    def _compared_profiles(self, job: Job, keys: Sequence[Key]) -> dict[Key, History]:
        others = {key: self._compared_key(job, key) for key in keys}
        columns = {column for _, column in others.values()}
        segments = {segment for segment, _ in others.values()}
        if isinstance(job.baseline, ReferenceBaseline):
            found = {key: {0: profile} for key, profile in self._reference(job, columns, segments).items()}
        elif job.compared_span is None:
            return {}
        else:
            found = self._profiles(self._compared_ref(job), job.compared_span, columns, segments)
        return {key: found.get(other, {}) for key, other in others.items()}

    def _reference_values(self, job: Job, keys: Sequence[Key]) -> Values:
        others = [self._compared_key(job, key) for key in keys]
        found = self._reference(job, {column for _, column in others}, {segment for segment, _ in others})
        scalars = {name: np.full((len(keys), 1), np.nan) for name in ("n", *_scalars(job.metric))}
        for row, other in enumerate(others):
            if other in found:
                known = found[other].scalars()
                for name, values in scalars.items():
                    value = known.get(name)
                    values[row, 0] = np.nan if value is None else value
        return Values(tuple(keys), 0, _formula(job.metric, scalars), scalars)

    def _reference(
        self, job: Job, columns: Iterable[str], segments: Iterable[str]
    ) -> dict[Key, ColumnProfile]:
        assert isinstance(job.baseline, ReferenceBaseline)  # noqa: S101  told apart by the callers
        return profiles.reference_profile(
            self.store,
            self._compared_ref(job),
            job.baseline.profile_id,
            columns=sorted(columns),
            segments=sorted(segments),
        )

    def _compared_key(self, job: Job, key: Key) -> Key:
        """The series that a series is compared with: itself, or what stands for it in another dataset."""
        baseline = job.baseline
        if baseline is None or not baseline.dataset_id or baseline.inherit_segment:
            return key
        return OVERALL, key[1]

    def _compared_ref(self, job: Job) -> DatasetRef:
        other = job.baseline.dataset_id if job.baseline else None
        return self._dataset(other) if other else self.ref

    def _dataset(self, dataset_id: str) -> DatasetRef:
        if dataset_id == self.ref.dataset_id:
            return self.ref
        found = datasets.find_dataset(self.store, self.ref.organisation, dataset_id)
        if found is None:
            raise AnalysisError(f"the baseline's dataset {dataset_id!r} does not exist in the store")
        return found

    @cached_property
    def _segments(self) -> list[str]:
        return datasets.segments(self.store, self.ref)

    @cached_property
    def _batches(self) -> list[BatchRow]:
        return profiles.batches(self.store, self.ref)


def _scalars(metric: Metric) -> frozenset[str]:
    """The scalars that a metric is made of, and those that they merge together with."""
    needs = frozenset(metric.needs)
    return needs | frozenset(MOMENTS) if needs & frozenset(MOMENTS) else needs


def _formula(metric: Metric, scalars: Mapping[str, Floats]) -> Floats:
    if metric.kind == "distribution":
        return scalars["n"]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(metric.formula(scalars), dtype=np.float64)


def _nothing(keys: Sequence[Key]) -> Values:
    empty = np.empty((len(keys), 0))
    return Values(tuple(keys), 0, empty, {"n": empty})


def _narrowed(series: Series, wanted: Slice) -> Series:
    """The part of a series that a slice asks for; series without any data in it are left out."""
    start, end = np.searchsorted(
        series.buckets, [to_micros(wanted.window.start), to_micros(wanted.window.end)]
    )
    buckets = slice(int(start), int(end))
    counts = series.values["n"][:, buckets]
    rows = np.array(
        [
            (wanted.columns is None or column in wanted.columns) and not np.isnan(counts[row]).all()
            for row, (_, column) in enumerate(series.keys)
        ],
        dtype=np.bool_,
    )
    if rows.all():
        chosen = {name: series.values[name][:, buckets] for name in wanted.scalars}
        return Series(series.keys, series.buckets[buckets], chosen)
    return Series(
        tuple(key for key, keep in zip(series.keys, rows, strict=True) if keep),
        series.buckets[buckets],
        {name: series.values[name][rows, buckets] for name in wanted.scalars},
    )
