"""Judges what is due: plans the work, reads each slice of the store once, and turns verdicts into results.

The engine knows no algorithm. It gives each the arrays that it asks for, for all series and all due buckets of an
analyzer together, and adds what all results have in common: identity, counts, gates on the baseline. What cannot run is
said in `Analysis.notes`; nothing is left out in silence.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.baselines import explain_insufficient, insufficient
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.inputs import (
    Inputs,
    distribution_inputs,
    needs_sketches,
    numeric_inputs,
    runs,
)
from monitoring_pipeline.analysis.jobs import Job, resolve
from monitoring_pipeline.analysis.planner import analyzer_version, is_column_level, needs_schema, targeted
from monitoring_pipeline.analysis.reading import Reader
from monitoring_pipeline.analysis.result import FIELDS, AnalyzerResult, FailureType, analysis_id, name_uuid
from monitoring_pipeline.analysis.schema_inference import SCALARS as SCHEMA_SCALARS
from monitoring_pipeline.analysis.schema_inference import infer_schema
from monitoring_pipeline.analysis.verdicts import Column, Verdicts, fail, no_failures
from monitoring_pipeline.config.baselines import ReferenceBaseline
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import TimeRange, from_micros

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Analysis:
    """The results of a run, by analyzer, bucket, segment and column, and notes on what could not run and why."""

    results: tuple[AnalyzerResult, ...]
    notes: tuple[str, ...]


def analyze(
    store: Store,
    ref: DatasetRef,
    document: MonitorDocument,
    due: Sequence[Due],
    *,
    now: datetime,
    run_id: str,
    schema: EntitySchema | None = None,
    backfill: bool = False,
) -> Analysis:
    """Judge everything that is due.

    `schema` says which columns are discrete, outputs and so on; without one, and where an analyzer asks, it is inferred
    from the buckets that are due. `backfill` marks the results as asked for by a person. Reads the store, writes nothing.
    """
    notes: list[str] = []
    jobs = _jobs(document, due, notes)
    if not jobs:
        return Analysis((), tuple(notes))
    reader = Reader(store, ref, document.granularity, now)
    schema = schema or _inferred(store, ref, document, jobs)
    reader.plan(jobs)
    versions = reader.versions(
        TimeRange(min(job.target_span.start for job in jobs), max(job.target_span.end for job in jobs))
    )
    run = _Run(ref, document, reader, schema, versions, now=now, run_id=run_id, backfill=backfill)
    results: list[AnalyzerResult] = []
    for job in jobs:
        try:
            found = list(run.results(job))
        except AnalysisError as error:
            notes.append(_note(job.analyzer.id, job.targets.size, str(error)))
            continue
        if not found:
            notes.append(_note(job.analyzer.id, job.targets.size, _why_nothing(job), done="without a result"))
        results += found
    return Analysis(tuple(results), tuple(notes))


def unable(document: MonitorDocument) -> dict[str, str]:
    """The analyzers of a document that cannot run at all, by id, and why."""
    reasons: dict[str, str] = {}
    for analyzer in document.analyzers:
        try:
            resolve(analyzer, [], granularity=document.granularity, algorithms=registry())
        except AnalysisError as error:
            reasons[analyzer.id] = str(error)
    return reasons


def _jobs(document: MonitorDocument, due: Sequence[Due], notes: list[str]) -> list[Job]:
    buckets: dict[str, list[datetime]] = defaultdict(list)
    for one in due:
        buckets[one.analyzer_id].append(one.bucket)
    jobs: list[Job] = []
    for analyzer in document.analyzers:
        asked = buckets.pop(analyzer.id, None)
        if not asked:
            continue
        try:
            jobs.append(resolve(analyzer, asked, granularity=document.granularity, algorithms=registry()))
        except AnalysisError as error:
            notes.append(_note(analyzer.id, len(asked), str(error)))
            continue
        if analyzer.config.params:
            names = ", ".join(sorted(analyzer.config.params))
            notes.append(f"analyzer {analyzer.id}: params {names} have no effect in this release")
    notes += [
        _note(unknown, len(asked), "the document has no such analyzer") for unknown, asked in buckets.items()
    ]
    return jobs


def _note(analyzer_id: str, buckets: int, reason: str, *, done: str = "not analysed") -> str:
    return f"analyzer {analyzer_id}: {reason} ({buckets} bucket{'s' if buckets != 1 else ''} {done})"


def _why_nothing(job: Job) -> str:
    what = "columns" if is_column_level(job.analyzer) else "segments"
    return f"no {what} that its targetMatrix selects have the metric {job.metric.name}"


def _inferred(
    store: Store, ref: DatasetRef, document: MonitorDocument, jobs: Sequence[Job]
) -> EntitySchema | None:
    """What the document says of the columns, over what the buckets that are due show of them."""
    asking = [job.target_span for job in jobs if needs_schema(job.analyzer)]
    if not asking:
        return document.entity_schema
    inferred = infer_schema(
        profiles.series(
            store,
            ref,
            SCHEMA_SCALARS,
            TimeRange(min(span.start for span in asking), max(span.end for span in asking)),
            granularity=document.granularity,
            segments=[OVERALL],
        )
    )
    return inferred if document.entity_schema is None else inferred.overridden_by(document.entity_schema)


@dataclass(frozen=True)
class _Run:
    ref: DatasetRef
    document: MonitorDocument
    reader: Reader
    schema: EntitySchema | None
    versions: Mapping[int, int]
    """Profile versions by bucket index."""
    now: datetime
    run_id: str
    backfill: bool

    def results(self, job: Job) -> Iterator[AnalyzerResult]:
        """Results of one analyzer, by bucket, segment and column."""
        found = chain.from_iterable(
            self._assembled(job, inputs, self._judged(job, inputs)) for inputs in self._inputs(job)
        )
        yield from sorted(found, key=lambda result: (result.bucket, result.segment, result.column))

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        values = self.reader.targets(job)
        chosen = targeted(job.analyzer, values.keys, schema=self.schema, weights=self.document.weight_config)
        values = values.of([key for key, keep in zip(values.keys, chosen, strict=True) if keep])
        if not values.keys:
            return
        if job.algorithm.needs == "distribution":
            for keys, target, baseline in self.reader.histories(
                job, values.keys, of_target=True, of_baseline=True
            ):
                for key in keys:
                    ours = target.get(key, {})
                    yield distribution_inputs(
                        job, key, ours, ours if target is baseline else baseline.get(key, {})
                    )
            return
        baseline = self.reader.baselines(job, values.keys) if job.baseline else values
        of_target = needs_sketches(job.metric, job.target)
        of_baseline = (
            job.baseline is not None
            and job.algorithm.needs == "merged"
            and needs_sketches(job.metric, job.compared)
        )
        if not of_target and not of_baseline:
            for rows in runs(len(values.keys), job):
                yield numeric_inputs(
                    job, values.cut(rows), baseline.cut(rows), target_history={}, baseline_history={}
                )
            return
        for keys, target, history in self.reader.histories(
            job, values.keys, of_target=of_target, of_baseline=of_baseline
        ):
            yield numeric_inputs(
                job, values.of(keys), baseline.of(keys), target_history=target, baseline_history=history
            )

    def _judged(self, job: Job, inputs: Inputs) -> Verdicts:
        try:
            verdicts = job.algorithm.evaluate(job.analyzer.config, inputs.target, inputs.baseline)
            _check_shapes(verdicts, inputs.present.shape)
        except Exception as error:  # noqa: BLE001  an algorithm, a user's own perhaps, must not take the others down
            _log.warning("analyzer %s failed", job.analyzer.id, exc_info=True)
            verdicts = _broken(inputs, f"{job.algorithm.name} failed: {type(error).__name__}: {error}")
        if job.baseline is None:
            return verdicts
        few = insufficient(inputs.baseline_count, expected=job.expected_baseline, minimum=job.minimum or 0)
        if not few.any():
            return verdicts
        explanation = explain_insufficient(inputs.baseline_count, job.needed_baseline, job.baseline)
        return fail(verdicts, few, FailureType.INSUFFICIENT_BASELINE, explanation, instead=True)

    def _assembled(self, job: Job, inputs: Inputs, verdicts: Verdicts) -> Iterator[AnalyzerResult]:
        analyzer, weights = job.analyzer, self.document.weight_config
        common: dict[str, Any] = {
            "run_id": self.run_id,
            "analyzer_id": analyzer.id,
            "analyzer_version": analyzer_version(analyzer),
            "monitor_ids": tuple(monitor.id for monitor in self.document.monitors_of(analyzer.id)),
            "created": self.now,
            "granularity": job.granularity,
            "target_level": "column" if is_column_level(analyzer) else "dataset",
            "metric": job.metric.name,
            "analyzer_type": str(analyzer.config.type),
            "expected_baseline_count": job.expected_baseline,
            "minimum_batch_size": job.minimum,
            "is_rollup": job.algorithm.needs != "series" or analyzer.target_size > 1,
            "reference_profile_id": (
                job.baseline.profile_id if isinstance(job.baseline, ReferenceBaseline) else None
            ),
            "user_initiated_backfill": self.backfill,
        }
        columns = [_column(name, value) for name, value in verdicts.columns.items()]
        starts = [from_micros(int(start)) for start in job.granularity.start_array(job.targets)]
        for row, at in np.argwhere(inputs.present).tolist():
            segment, column = inputs.keys[row]
            identity = {"analyzer": analyzer.id, "bucket": starts[at], "segment": segment, "column": column}
            fields: dict[str, Any] = {}
            details: dict[str, object] = {}
            failed = verdicts.failure[row, at] is not None
            for field, is_field, read in columns:
                if not failed or field not in _VERDICT_FIELDS:
                    (fields if is_field else details)[field] = read(row, at)
            name = analysis_id(self.ref.organisation, self.ref.dataset_id, **identity)
            yield AnalyzerResult(
                **common,
                **fields,
                analysis_id=name,
                result_id=name_uuid(name + self.run_id),
                segment=segment,
                column=column,
                bucket=starts[at],
                anomaly_count=int(verdicts.anomaly[row, at]),
                failure_type=verdicts.failure[row, at],
                failure_explanation=verdicts.explanation[row, at],
                target_count=int(inputs.target_count[row, at]),
                target_batches_with_profile_count=int(inputs.target_profiles[row, at]),
                baseline_count=int(inputs.baseline_count[row, at]),
                baseline_batches_with_profile_count=int(inputs.baseline_profiles[row, at]),
                segment_weight=weights.weight(column, segment) if weights and column else None,
                profile_version=self.versions.get(int(job.targets[at])),
                details=details,
            )


_ALGORITHM_FIELDS = frozenset(FIELDS[FIELDS.index("metric_value") : FIELDS.index("details")]) | {
    "algorithm",
    "algorithm_mode",
}
"""Fields of a result that an algorithm may fill; its other columns are details."""

_VERDICT_FIELDS = frozenset(
    {"calculated_lower", "calculated_upper", "drift_value", "diff_value", "baseline_value"}
)
"""Columns that mean nothing when there is no verdict."""

_Read = Callable[[int, int], object]


def _column(name: str, value: Column) -> tuple[str, bool, _Read]:
    """A column of the verdicts: its name, whether it is a field of the result, and how to read one value of it."""
    is_field = name in _ALGORITHM_FIELDS
    if isinstance(value, np.ndarray):
        values, finite = value.tolist(), np.isfinite(value).tolist()
        return name, is_field, lambda row, at: values[row][at] if finite[row][at] else None
    constant = None if isinstance(value, float) and not np.isfinite(value) else value
    return name, is_field, lambda _row, _at: constant


def _broken(inputs: Inputs, explanation: str) -> Verdicts:
    """Verdicts of an algorithm that raised an error."""
    shape = inputs.present.shape
    unknown = np.full(shape, np.nan)
    nothing = Verdicts(np.zeros(shape, dtype=np.bool_), unknown, unknown, unknown, *no_failures(shape))
    return fail(nothing, inputs.present, FailureType.CALCULATION_EXCEPTION, explanation)


def _check_shapes(verdicts: Verdicts, shape: tuple[int, ...]) -> None:
    arrays = {name: getattr(verdicts, name) for name in ("anomaly", "failure", "explanation")}
    arrays |= {name: value for name, value in verdicts.columns.items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        if np.shape(array) != shape:
            raise AnalysisError(f"{name} has the shape {np.shape(array)}; accepted: {shape}")
