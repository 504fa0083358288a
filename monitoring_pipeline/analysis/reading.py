"""Reads what jobs need from the store: series with as few queries as there are distinct slices, sketches on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np

from monitoring_pipeline.analysis.additions import Additions, stored
from monitoring_pipeline.analysis.images import Images
from monitoring_pipeline.analysis.inputs import History, Names, Values
from monitoring_pipeline.analysis.jobs import COLUMN_LIST, Job
from monitoring_pipeline.analysis.operational import is_missing_datapoint, missing_datapoint, seconds_since
from monitoring_pipeline.analysis.planner import (
    Key,
    Slice,
    analyzer_version,
    candidate_columns,
    combine,
    targeted_segments,
)
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.analysis.shapes import (
    BucketIndices,
    columns_of,
    formula_of,
    items_of,
    names_in,
    narrowed,
    nothing,
    placed,
    placed_at_once,
    said,
    scalars_of,
    split,
    stored_key,
    values_of,
)
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import ReferenceBaseline
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.metrics import NO_METRICS, Metric
from monitoring_pipeline.profiling.profile import DATASET_COLUMN, FREQUENT_ITEMS, KLL, ColumnProfile
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import components, datasets, profiles, results
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import BatchRow, Series
from monitoring_pipeline.timegrid import Granularity, TimeRange

_SOME: Key = ("some=segment", "some column")

_PROFILES = 20_000
"""Profiles with sketches that are held in memory at a time."""

_IMAGES = {KLL: 40_000, FREQUENT_ITEMS: 160_000}
"""Sketches that are held in memory at a time; those of numbers are seven times as large."""

_ImageSource = Callable[[Mapping[Key, Sequence[int]]], Images]


@dataclass
class Reader:
    """Reads one dataset, and other datasets of its organisation that serve as baselines.

    `slices` is everything that will be asked for; neighbouring ones are read together, once.
    """

    store: Store
    ref: DatasetRef
    granularity: Granularity
    now: datetime
    schema: EntitySchema | None = None
    slices: Sequence[Slice] = ()
    metrics: Mapping[str, Metric] = field(default_factory=lambda: NO_METRICS)
    """All of the dataset's own, by folded name."""
    _series: dict[Slice, Series] = field(default_factory=dict)
    _details: dict[str, dict[tuple[Key, int], Mapping[str, object]]] = field(default_factory=dict)
    """Of the one analyzer that asked last."""

    def plan(self, jobs: Iterable[Job]) -> None:
        """Learn what the jobs will ask for."""
        wanted: list[Slice] = []
        for job in jobs:
            with suppress(AnalysisError):  # it comes up again, with the job's name, when the job is run
                wanted += [one for one in (self._target_slice(job), self._baseline_slice(job)) if one]
        self.slices = combine(wanted, self.granularity)

    def targets(self, job: Job) -> Values:
        """The job's metric on its targets, for all series that may be meant."""
        if job.target_profile is None:
            return self._values(job, self._target_slice(job))
        found = self._reference(self.ref, job.target_profile, candidate_columns(job.analyzer), None)
        meant = set(targeted_segments(job.analyzer, sorted({segment for segment, _ in found})))
        keys = sorted(key for key in found if key[0] in meant and key[1] != DATASET_COLUMN)
        return values_of(job.metric, keys, [found[key] for key in keys])

    def baselines(self, job: Job, keys: Sequence[Key]) -> Values:
        """The job's metric on what these series are compared with, in their order."""
        others = [self._compared_key(job, key) for key in keys]
        if isinstance(job.baseline, ReferenceBaseline):
            stored = [stored_key(job, other) for other in others]
            columns, segments = split(stored)
            found = self._reference(self._compared_ref(job), job.baseline.profile_id, columns, segments)
            widths = {}
            if "n_columns" in job.metric.needs:
                named = self._reference(self._compared_ref(job), job.baseline.profile_id, None, segments)
                widths = {segment: names.n for segment, names in names_in(named).items()}
            known = [found.get(other) for other in stored]
            return values_of(job.metric, keys, known, [widths.get(segment) for segment, _ in others])
        wanted = self._baseline_slice(job)
        if wanted is None:
            return nothing(keys)
        values = self._values(job, wanted).of(others)
        return Values(tuple(keys), values.base, values.metric, values.scalars)

    def columns(self, job: Job) -> tuple[dict[str, Names], dict[str, Names]]:
        """The columns that each targeted segment has, bucket by bucket: of the target and of what it is compared with."""
        target = self._names(self._target_slice(job))
        wanted = self._baseline_slice(job)
        if wanted is not None:
            found = self._names(wanted)
        elif isinstance(job.baseline, ReferenceBaseline):
            profile = self._reference(self._compared_ref(job), job.baseline.profile_id, None, None)
            found = {segment: {0: names} for segment, names in names_in(profile).items()}
        else:
            found = {}
        others = {segment: self._compared_key(job, (segment, DATASET_COLUMN))[0] for segment in target}
        return target, {segment: found.get(other, {}) for segment, other in others.items()}

    def histories(
        self, job: Job, keys: Sequence[Key], *, of_target: bool, of_baseline: bool
    ) -> Iterator[tuple[Sequence[Key], Mapping[Key, History], Mapping[Key, History]]]:
        """Profiles with sketches of the keys' targets and baselines, in runs of columns that fit in memory.

        Both are one object where the baseline's buckets are the target's neighbours.
        """
        _, segments = split(keys)
        shared = self._shared_span(job) if of_target and of_baseline else None
        for run in self._column_runs(job, keys, _PROFILES, of_target=of_target, of_baseline=of_baseline):
            chosen = [key for key in keys if stored_key(job, key)[1] in run]
            if shared is not None:
                both = said(job, self._profiles(self.ref, shared, run, segments))
                yield chosen, both, both
            else:
                target = said(job, self._target_profiles(job, run, segments)) if of_target else {}
                yield chosen, target, self._compared_profiles(job, chosen) if of_baseline else {}

    def images(
        self, job: Job, keys: Sequence[Key], name: str
    ) -> Iterator[tuple[Sequence[Key], Images, Images]]:
        """One component of the profiles of the keys' targets and baselines, in runs of columns that fit in memory.

        Both are one object where the baseline's buckets are the target's neighbours.
        """
        shared = self._shared_span(job)
        target = self._image_source(self.ref, shared or job.target_span, job.target_profile, keys, name)
        baseline = target if shared else self._compared_source(job, keys, name)
        for columns in self._column_runs(job, keys, _IMAGES[name], of_target=True, of_baseline=True):
            chosen = [key for key in keys if key[1] in columns]
            ours = target({key: [row] for row, key in enumerate(chosen)})
            others: dict[Key, list[int]] = {}
            for row, key in enumerate(chosen):
                others.setdefault(self._compared_key(job, key), []).append(row)
            yield chosen, ours, ours if shared else baseline(others)

    def batches(self, window: TimeRange) -> dict[int, BatchRow]:
        """What is known of every bucket in the window, by bucket index."""
        rows = profiles.batches(self.store, self.ref, window)
        return {self.granularity.index(row.bucket): row for row in rows}

    def results(
        self, analyzers: Sequence[Analyzer], buckets: Sequence[datetime], *, anomalies_only: bool = False
    ) -> list[AnalyzerResult]:
        """What the store has of these analyzers, as they are now, from the first to the last of these buckets."""
        window = TimeRange(min(buckets), self.granularity.shift(max(buckets), 1))
        current = {(one.id, analyzer_version(one, metrics=self.metrics)) for one in analyzers}
        rows = results.results(
            self.store,
            self.ref,
            window=window,
            analyzer_ids=[one.id for one in analyzers],
            anomalies_only=anomalies_only,
        )
        found = [AnalyzerResult.from_row(row) for row in rows]
        return [one for one in found if (one.analyzer_id, one.analyzer_version) in current]

    def details(self, job: Job, keys: Collection[Key]) -> dict[tuple[Key, int], Mapping[str, object]]:
        """Details of the anomalies that the store has of the job's analyzer, by series and bucket index."""
        if job.compared is None:
            return {}
        if job.analyzer.id not in self._details:
            first, last = job.seen.first, max(job.seen.last, int(job.targets.max()))
            buckets = [self.granularity.start(first), self.granularity.start(last)]
            self._details = {
                job.analyzer.id: {
                    ((one.segment, one.column), self.granularity.index(one.bucket)): one.details
                    for one in self.results([job.analyzer], buckets, anomalies_only=True)
                }
            }
        wanted = set(keys)
        return {at: found for at, found in self._details[job.analyzer.id].items() if at[0] in wanted}

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
            columns=None if job.metric is COLUMN_LIST else columns_of(job),
            scalars=frozenset({"n", *scalars_of(job.metric)}),
            window=span,
        )

    def _values(self, job: Job, wanted: Slice) -> Values:
        found = self._read(wanted)
        buckets = self.granularity.index_array(found.buckets)
        base = int(buckets[0]) if len(buckets) else 0
        scalars = {name: found.values[name] for name in wanted.scalars}
        if not job.about_arrival:
            metric = formula_of(job.metric, scalars)
        elif is_missing_datapoint(job.analyzer):
            metric = missing_datapoint(scalars["n"])
        else:
            newest = max((row.last_upload for row in self._batches), default=None)
            metric = np.full(scalars["n"].shape, seconds_since(newest, self.now))
        keys = (
            found.keys if job.metric.column is None else tuple((one, DATASET_COLUMN) for one, _ in found.keys)
        )
        return Values(keys, base, metric, scalars)

    def _read(self, wanted: Slice) -> Series:
        planned = next((one for one in self.slices if one.covers(wanted)), wanted)
        if planned not in self._series:
            ref = self.ref if planned.dataset == self.ref.dataset_id else self._dataset(planned.dataset)
            series = profiles.series(
                self.store,
                ref,
                stored(planned.scalars),
                planned.window,
                granularity=self.granularity,
                columns=planned.columns,
                segments=planned.segments,
            )
            self._series[planned] = self._additions.to(series, ref, planned)
        return narrowed(self._series[planned], wanted)

    def _profiles(
        self, ref: DatasetRef, window: TimeRange, columns: Iterable[str], segments: Iterable[str]
    ) -> Mapping[Key, History]:
        return self._additions.profiles(ref, window, sorted(columns), sorted(segments))

    def _column_runs(
        self, job: Job, keys: Sequence[Key], most: int, *, of_target: bool, of_baseline: bool
    ) -> Iterator[set[str]]:
        """Columns of the keys in runs that have no more than so many profiles in the job's buckets."""
        columns, segments = split(stored_key(job, key) for key in keys)
        spans = [job.target_span] if of_target and job.target_profile is None else []
        shared = self._shared_span(job) if of_target and of_baseline else None
        if shared is not None:
            spans = [shared]
        elif of_baseline and job.compared_span is not None:
            spans.append(job.compared_span)
        buckets = sum(self.granularity.index(span.end) - self.granularity.index(span.start) for span in spans)
        size = max(1, most // max(len(segments) * buckets, 1))
        for start in range(0, len(columns), size):
            yield set(columns[start : start + size])

    def _compared_source(self, job: Job, keys: Sequence[Key], name: str) -> _ImageSource:
        others = [self._compared_key(job, key) for key in keys]
        if isinstance(job.baseline, ReferenceBaseline):
            profile_id = job.baseline.profile_id
            return self._image_source(self._compared_ref(job), None, profile_id, others, name)
        return self._image_source(self._compared_ref(job), job.compared_span, None, others, name)

    def _image_source(
        self,
        ref: DatasetRef,
        window: TimeRange | None,
        profile_id: str | None,
        keys: Sequence[Key],
        name: str,
    ) -> _ImageSource:
        """Where components are read from: a reference profile, else the buckets of a window, else nothing.

        The source is given the place or places of each key that is wanted.
        """
        columns, segments = split(keys)

        def of_profile(places: Mapping[Key, Sequence[int]]) -> Images:
            found = self._reference(ref, profile_id or "", {column for _, column in places}, segments)
            images = {key: profile.components().get(name) for key, profile in found.items()}
            return placed_at_once({key: image for key, image in images.items() if image is not None}, places)

        if profile_id is not None:
            return of_profile
        if window is None:
            return lambda _places: Images.none()
        source = components.components(self.store, ref, name, window, columns=columns, segments=segments)
        indices = BucketIndices(self.granularity)

        def of_buckets(places: Mapping[Key, Sequence[int]]) -> Images:
            return placed(source.of({column for _, column in places}), places, indices)

        return of_buckets

    def _shared_span(self, job: Job) -> TimeRange | None:
        """One range for target and baseline, when they are neighbours in the same dataset and segment."""
        target, compared = job.target_span, job.compared_span
        if (
            compared is None
            or job.target_profile is not None
            or self._compared_ref(job) != self.ref
            or self._compared_key(job, _SOME) != _SOME
        ):
            return None
        if compared.end < target.start or target.end < compared.start:
            return None
        return TimeRange(min(target.start, compared.start), max(target.end, compared.end))

    def _target_profiles(
        self, job: Job, columns: Iterable[str], segments: Iterable[str]
    ) -> Mapping[Key, History]:
        if job.target_profile is None:
            return self._profiles(self.ref, job.target_span, columns, segments)
        found = self._reference(self.ref, job.target_profile, columns, segments)
        return {key: {0: profile} for key, profile in found.items()}

    def _compared_profiles(self, job: Job, keys: Sequence[Key]) -> dict[Key, History]:
        others = {key: stored_key(job, self._compared_key(job, key)) for key in keys}
        columns, segments = split(others.values())
        if isinstance(job.baseline, ReferenceBaseline):
            profile = self._reference(self._compared_ref(job), job.baseline.profile_id, columns, segments)
            found = {key: {0: column} for key, column in profile.items()}
        elif job.compared_span is None:
            return {}
        else:
            found = self._profiles(self._compared_ref(job), job.compared_span, columns, segments)
        return {key: found.get(other, {}) for key, other in others.items()}

    def _reference(
        self,
        ref: DatasetRef,
        profile_id: str,
        columns: Iterable[str] | None,
        segments: Iterable[str] | None,
    ) -> dict[Key, ColumnProfile]:
        return profiles.reference_profile(
            self.store,
            ref,
            profile_id,
            columns=None if columns is None else sorted(columns),
            segments=None if segments is None else sorted(segments),
        )

    def _names(self, wanted: Slice) -> dict[str, Names]:
        series = self._read(wanted)
        indices = self.granularity.index_array(series.buckets).tolist()
        names: dict[str, dict[int, set[str]]] = {}
        # A column that came with outcomes only counts none: it says nothing about the schema of the rows.
        there = ~np.isnan(series.values["n"]) & (series.values["n_columns"] != 0)
        for (segment, column), present in zip(series.keys, there, strict=True):
            for at in np.flatnonzero(present).tolist():
                names.setdefault(segment, {}).setdefault(indices[at], set()).add(column)
        return {
            segment: {index: items_of(columns) for index, columns in by_bucket.items()}
            for segment, by_bucket in names.items()
        }

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
    def _additions(self) -> Additions:
        return Additions(self.store, self.granularity, self.schema)

    @cached_property
    def _segments(self) -> list[str]:
        return datasets.segments(self.store, self.ref)

    @cached_property
    def _batches(self) -> list[BatchRow]:
        return profiles.batches(self.store, self.ref)
