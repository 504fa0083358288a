"""Judges what is due: plans the work, reads each slice of the store once, and turns verdicts into results.

The engine knows no algorithm. It gives each the arrays that it asks for, for all series and all due buckets of an
analyzer together, and adds what all results have in common: identity, counts, gates on the baseline. Analyzers about
other analyzers come last (`composites`). What cannot run is said in `Analysis.notes`; nothing is left out in silence.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.assembly import Assembly
from monitoring_pipeline.analysis.baselines import explain_insufficient, insufficient
from monitoring_pipeline.analysis.composites import combine
from monitoring_pipeline.analysis.findings import Block, Findings
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.inputs import (
    Inputs,
    name_inputs,
    needs_sketches,
    numeric_inputs,
    profile_counts,
    runs,
    sketch_inputs,
    unreadable_inputs,
)
from monitoring_pipeline.analysis.jobs import COLUMN_LIST, Job, resolve
from monitoring_pipeline.analysis.planner import children_of, is_column_level, needs_schema, targeted
from monitoring_pipeline.analysis.reach import baseline_of
from monitoring_pipeline.analysis.reading import Reader
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.analysis.schema_inference import SCALARS as SCHEMA_SCALARS
from monitoring_pipeline.analysis.schema_inference import infer_schema
from monitoring_pipeline.analysis.sketched import SERIES, component_of, is_batched, sketched_inputs
from monitoring_pipeline.analysis.verdicts import (
    Algorithm,
    Context,
    Verdicts,
    fail,
    fail_all,
    judge,
    no_numbers,
    remembers,
)
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.errors import AnalysisError, ProfileError
from monitoring_pipeline.metrics import NO_METRICS, Metric, stated_metrics
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import datasets, profiles
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import BatchRow
from monitoring_pipeline.store.responses import bad_buckets
from monitoring_pipeline.timegrid import TimeRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Analysis:
    """The results of a run, by analyzer, bucket, segment and column, and notes on what could not run and why."""

    results: Findings
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
    metrics: Mapping[str, Metric] = NO_METRICS,
    backfill: bool = False,
) -> Analysis:
    """Judge everything that is due.

    `schema` says which columns are discrete, outputs and so on; without one, and where an analyzer asks, it is inferred
    from the buckets that are due. `metrics` are the dataset's own, by folded name, beside those that the document
    states. `backfill` marks the results as asked for by a person. Reads the store, writes nothing.
    """
    notes: list[str] = []
    asked = _asked(document, due, notes)
    metrics = stated_metrics(document.entity_schema, metrics)
    jobs = _jobs(document, asked, notes, metrics, bad=_bad_buckets(store, ref, document, now=now))
    schema = schema or _inferred(store, ref, document, jobs)
    reader = Reader(store, ref, document.granularity, now, schema, metrics=metrics)
    reader.plan(jobs)
    run = _Run(
        reader=reader,
        schema=schema,
        document=document,
        assembly=Assembly(ref, document, now, run_id, backfill, metrics),
        batches=_batches(reader, jobs),
    )
    blocks: list[Block] = []
    for job in jobs:
        notes += _ineffective(job)
        try:
            of_job = run.results(job)
        except (AnalysisError, ProfileError) as error:
            notes.append(_note(job.analyzer.id, job.targets.size, str(error)))
            continue
        if of_job is None:
            notes.append(_note(job.analyzer.id, job.targets.size, _why_nothing(job), done="without a result"))
        else:
            blocks.append(of_job)
    for analyzer in document.analyzers:
        if children_of(analyzer) and analyzer.id in asked:
            buckets = asked[analyzer.id]
            of_others = run.combined(analyzer, buckets, Findings(blocks).of_analyzers(children_of(analyzer)))
            if of_others:
                blocks.append(Block.made_of(of_others))
            else:
                why = "none of its analyzers has a result that its targetMatrix selects"
                notes.append(_note(analyzer.id, len(buckets), why, done="without a result"))
    return Analysis(Findings(blocks), tuple(notes))


def unable(document: MonitorDocument, *, metrics: Mapping[str, Metric] = NO_METRICS) -> dict[str, str]:
    """The analyzers of a document that cannot run at all, by id, and why. `metrics` are the dataset's own."""
    reasons: dict[str, str] = {}
    metrics = stated_metrics(document.entity_schema, metrics)
    for analyzer in document.analyzers:
        if children_of(analyzer):
            continue
        try:
            resolve(analyzer, [], granularity=document.granularity, algorithms=registry(), metrics=metrics)
        except AnalysisError as error:
            reasons[analyzer.id] = str(error)
    return reasons


def _asked(document: MonitorDocument, due: Sequence[Due], notes: list[str]) -> dict[str, list[datetime]]:
    """The buckets that are due, by analyzer."""
    known = {analyzer.id for analyzer in document.analyzers}
    buckets: dict[str, list[datetime]] = defaultdict(list)
    for one in due:
        buckets[one.analyzer_id].append(one.bucket)
    lost = sorted(buckets.keys() - known)
    notes += [_note(name, len(buckets[name]), "the document has no such analyzer") for name in lost]
    return {name: asked for name, asked in buckets.items() if name in known}


def _jobs(
    document: MonitorDocument,
    asked: Mapping[str, Sequence[datetime]],
    notes: list[str],
    metrics: Mapping[str, Metric],
    *,
    bad: Mapping[str | None, Collection[datetime]],
) -> list[Job]:
    jobs: list[Job] = []
    for analyzer in document.analyzers:
        buckets = asked.get(analyzer.id)
        if not buckets or children_of(analyzer):
            continue
        try:
            jobs.append(
                resolve(
                    analyzer,
                    buckets,
                    granularity=document.granularity,
                    algorithms=registry(),
                    metrics=metrics,
                    bad=bad.get(_elsewhere(analyzer), ()),
                )
            )
        except AnalysisError as error:
            notes.append(_note(analyzer.id, len(buckets), str(error)))
    return jobs


def _bad_buckets(
    store: Store, ref: DatasetRef, document: MonitorDocument, *, now: datetime
) -> dict[str | None, Collection[datetime]]:
    """The buckets that people have called bad by now: of the dataset (None), and of those that serve as baselines."""
    found: dict[str | None, Collection[datetime]] = {}
    for name in {None, *(_elsewhere(analyzer) for analyzer in document.analyzers)}:
        of = ref if name is None else datasets.find_dataset(store, ref.organisation, name)
        if of is not None:
            found[name] = bad_buckets(store, of, at=now)
    return found


def _elsewhere(analyzer: Analyzer) -> str | None:
    """The other dataset that an analyzer's baseline is of."""
    return baseline.dataset_id if (baseline := baseline_of(analyzer)) is not None else None


def _ineffective(job: Job) -> Iterator[str]:
    unknown = job.analyzer.config.params.keys() - {*getattr(job.algorithm, "parameters", ())}
    if unknown:
        yield f"analyzer {job.analyzer.id}: params {', '.join(sorted(unknown))} have no effect"


def _note(analyzer_id: str, buckets: int, reason: str, *, done: str = "not analysed") -> str:
    return f"analyzer {analyzer_id}: {reason} ({buckets} bucket{'s' if buckets != 1 else ''} {done})"


def _why_nothing(job: Job) -> str:
    what = "columns" if is_column_level(job.analyzer) else "segments"
    where = f" in the reference profile {job.target_profile!r}" if job.target_profile else ""
    return f"no {what} that its targetMatrix selects have the metric {job.metric.name}{where}"


def _batches(reader: Reader, jobs: Sequence[Job]) -> Mapping[int, BatchRow]:
    if not jobs:
        return {}
    spans = [job.target_span for job in jobs]
    return reader.batches(TimeRange(min(span.start for span in spans), max(span.end for span in spans)))


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


@dataclass(frozen=True, kw_only=True)
class _Run:
    reader: Reader
    schema: EntitySchema | None
    document: MonitorDocument
    assembly: Assembly
    batches: Mapping[int, BatchRow]
    """By bucket index."""

    def results(self, job: Job) -> Block | None:
        """Results of one analyzer, by bucket, segment and column; None when there are none."""
        versions = {index: batch.version for index, batch in self.batches.items()}
        blocks = [
            self.assembly.block(job, inputs, self._judged(job, inputs), versions=versions)
            for inputs in self._inputs(job)
        ]
        filled = [block for block in blocks if len(block)]
        return Block.joined(filled) if filled else None

    def combined(
        self, analyzer: Analyzer, buckets: Sequence[datetime], found: Sequence[AnalyzerResult]
    ) -> list[AnalyzerResult]:
        """Results of an analyzer about others, out of what they found now or earlier."""
        children = [self.document.analyzer(name) for name in children_of(analyzer)]
        earlier = self.reader.results(children, buckets)
        known = {one.analysis_id: one for one in (*found, *earlier)}
        return list(combine(analyzer, {*buckets}, known.values(), assembly=self.assembly, schema=self.schema))

    def _inputs(self, job: Job) -> Iterator[Inputs]:
        if job.metric is COLUMN_LIST:
            target, baseline = self.reader.columns(job)
            for key in self._meant(job, sorted((segment, DATASET_COLUMN) for segment in target)):
                yield name_inputs(job, key, target[key[0]], baseline[key[0]])
            return
        values = self.reader.targets(job)
        values = values.of(self._meant(job, values.keys))
        if not values.keys:
            return
        if job.metric.kind == "distribution":
            yield from (self._batched if is_batched(job) else self._sketched)(job, values.keys)
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

    def _batched(self, job: Job, keys: Sequence[tuple[str, str]]) -> Iterator[Inputs]:
        target, baseline = self.reader.targets(job), self.reader.baselines(job, keys)
        for run, ours, theirs in self.reader.images(job, keys, component_of(job)):
            profiled = profile_counts(job, target.of(run), baseline.of(run))
            for first in range(0, len(run), SERIES):
                rows = slice(first, min(first + SERIES, len(run)))
                sides = [side.of_rows(rows.start, rows.stop) for side in (ours, theirs)]
                counts = (profiled[0][rows], profiled[1][rows])
                try:
                    yield from sketched_inputs(job, run[rows], sides[0], sides[1], profiled=counts)
                except ProfileError:
                    yield from self._sketched(
                        job, run[rows]
                    )  # which says of each series whether it is damaged

    def _sketched(self, job: Job, keys: Sequence[tuple[str, str]]) -> Iterator[Inputs]:
        for run, target, baseline in self.reader.histories(job, keys, of_target=True, of_baseline=True):
            for key in run:
                ours = target.get(key, {})
                theirs = ours if target is baseline else baseline.get(key, {})
                try:
                    yield sketch_inputs(job, key, ours, theirs)
                except ProfileError as error:
                    yield unreadable_inputs(job, key, ours, str(error))

    def _meant(self, job: Job, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The series that the analyzer's target matrix selects."""
        chosen = targeted(job.analyzer, keys, schema=self.schema, weights=self.document.weight_config)
        return [key for key, keep in zip(keys, chosen, strict=True) if keep]

    def _judged(self, job: Job, inputs: Inputs) -> Verdicts:
        shape = inputs.present.shape
        nothing = no_numbers(np.zeros(shape, dtype=np.bool_), {})
        if inputs.unreadable is not None:
            reason = f"the profile cannot be read ({inputs.unreadable}); profile the bucket again"
            return fail_all(nothing, FailureType.METRIC_EXCEPTION, reason)
        try:
            verdicts: object = judge(
                job.algorithm, job.analyzer.config, inputs.target, inputs.baseline, self._context(job, inputs)
            )
            if isinstance(verdicts, Verdicts):
                _check_shapes(job.algorithm, verdicts, shape)
            else:
                given = type(verdicts).__name__
                reason = f"{job.algorithm.name} gave {given} instead of Verdicts"
                verdicts = fail_all(nothing, FailureType.NO_RESULTS, reason)
        except AnalysisError as error:
            verdicts = fail_all(nothing, FailureType.CALCULATION_EXCEPTION, str(error))
        except Exception as error:  # noqa: BLE001  an algorithm, a user's own perhaps, must not take the others down
            _log.warning("analyzer %s failed", job.analyzer.id, exc_info=True)
            reason = f"{job.algorithm.name} failed: {type(error).__name__}: {error}"
            verdicts = fail_all(nothing, FailureType.CALCULATION_EXCEPTION, reason)
        return self._gated(job, inputs, verdicts)

    def _gated(self, job: Job, inputs: Inputs, verdicts: Verdicts) -> Verdicts:
        """The same verdicts, save where data that they need is missing or not as it was asked for."""
        if job.baseline is not None:
            if job.algorithm.needs != "series":
                reason = "the baseline covers no whole bucket, so there is nothing to compare with"
                nothing = inputs.baseline_profiles == 0
                verdicts = fail(verdicts, nothing, FailureType.ROLLUP_BASELINE_REQUIRED, reason)
            few = insufficient(
                inputs.baseline_count, expected=job.expected_baseline, minimum=job.minimum or 0
            )
            explanation = explain_insufficient(inputs.baseline_count, job.needed_baseline, job.baseline)
            verdicts = fail(verdicts, few, FailureType.INSUFFICIENT_BASELINE, explanation, instead=True)
        if job.analyzer.disable_target_rollup:
            files = [self.batches[at].files if at in self.batches else 0 for at in job.targets.tolist()]
            several = np.broadcast_to(np.array(files, dtype=np.int64) > 1, verdicts.anomaly.shape)
            reason = (
                "the bucket came in several files, which are profiled together; disableTargetRollup can judge "
                "a bucket of one file only"
            )
            verdicts = fail(verdicts, several, FailureType.CALCULATION_EXCEPTION, reason, instead=True)
        return verdicts

    def _context(self, job: Job, inputs: Inputs) -> Context:
        return Context(
            analyzer_id=job.analyzer.id,
            granularity=job.granularity,
            keys=inputs.keys,
            targets=job.targets,
            baseline_starts=job.seen.starts if job.compared is not None else None,
            positions=inputs.positions,
            earlier=self.reader.details(job, inputs.keys) if remembers(job.algorithm) else {},
        )


def _check_shapes(algorithm: Algorithm, verdicts: Verdicts, shape: tuple[int, ...]) -> None:
    arrays = {name: getattr(verdicts, name) for name in ("anomaly", "failure", "explanation")}
    arrays |= {name: value for name, value in verdicts.columns.items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        if np.shape(array) != shape:
            raise AnalysisError(
                f"{algorithm.name} failed: {name} has the shape {np.shape(array)}; accepted: {shape}"
            )
