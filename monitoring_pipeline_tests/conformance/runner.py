"""Runs cases: finds the adapter for a case's kind or shape, compares all that is expected, heeds the exceptions.

An adapter translates a case into calls of the public code and tells what came out; it computes nothing itself. There
is one for every `kind`. Cases without a kind are told apart by what they are given (`_SHAPES`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline_tests.conformance import (
    alerts,
    buckets,
    calculations,
    clients,
    formulas,
    metrics,
    runs,
    scheduling,
    schemas,
    targeting,
    validation,
)
from monitoring_pipeline_tests.conformance.cases import Case
from monitoring_pipeline_tests.conformance.comparing import Check, compare
from monitoring_pipeline_tests.conformance.exceptions import EXCEPTIONS, Reason

Adapter = Callable[[Case], Iterable[Check]]

KINDS: Mapping[str, Adapter] = {
    "adhoc": runs.adhoc,
    "adhoc_counts_only": runs.adhoc,
    "analyzer_selection": targeting.analyzers,
    "applicable_segments": targeting.applicable,
    "arima": formulas.arima,
    "backfill_grace": scheduling.gate,
    "baseline_exclusion": buckets.exclusion,
    "baseline_membership": buckets.membership,
    "calculate": calculations.calculate,
    "calculation_type": formulas.calculation_type,
    "collector": runs.collector,
    "column_targeting": targeting.column,
    "composite_validation": validation.composite,
    "config": formulas.calculation_type,
    "config_validation": validation.document,
    "cooldown": scheduling.gate,
    "data_readiness": scheduling.gate,
    "distance": formulas.distance,
    "distance_sketch": formulas.distance_sketch,
    "expected_baseline_count": buckets.expected_baseline,
    "formula": metrics.formula,
    "frequent_items_summary": metrics.frequent_items_summary,
    "grubb": formulas.grubb,
    "interval_merge": buckets.interval_merge,
    "largest_backfill_grace": scheduling.largest_grace,
    "metric": metrics.of_metric,
    "metric_alias": metrics.alias,
    "metric_nullness": metrics.nullness,
    "min_max": formulas.min_max,
    "missing_datapoint": runs.operational,
    "query_interval": buckets.query_interval,
    "replay": formulas.replay,
    "run": runs.run,
    "schedule_initial": scheduling.initial,
    "schedule_match": scheduling.matches,
    "schedule_next_fire": scheduling.next_fire,
    "schedule_parse": scheduling.parse,
    "schedule_rows": scheduling.rows,
    "schedule_simulation": scheduling.simulation,
    "seconds_since_last_upload": runs.operational,
    "seconds_since_last_upload_cadence": scheduling.since_last_upload_cadence,
    "segment_match": targeting.match,
    "segment_targeting": targeting.segment,
    "segment_weight": targeting.weight,
    "time_range": buckets.time_range,
    "truncate": buckets.truncate,
}

_DRAFTED = ("targetMatrix", "include", "exclude", "monitorId", "dataReadinessDuration")
_SAVED = ("eager", "actions", "monitor", "config")
_STEPS = ("overwrite", "append", "upsertColumn", "upsertColumnAgainUnchanged", "hideColumn")

_SHAPES: tuple[tuple[str, Callable[[Case], bool], Adapter], ...] = (
    ("a filter", lambda case: _given(case, "analyzerResult", "digest"), alerts.filters),
    ("a monitor and a result", lambda case: _given(case, "result"), alerts.membership),
    ("the lag of uploads", lambda case: _given(case, "observedLagMinutes"), alerts.lag),
    ("a digest message", lambda case: _given(case, "message"), alerts.contents),
    ("sizes of a digest", lambda case: _given(case, "anomalySample", "columnStatistics"), alerts.size),
    ("existing actions", lambda case: _given(case, "existingActions"), alerts.actions),
    ("a preset's token", lambda case: "token" in case.config, alerts.preset),
    ("weights of columns", lambda case: _given(case, "weights"), alerts.ranks),
    ("two statements about a column", lambda case: _given(case, "updated"), schemas.unchanged),
    ("a step on a stored schema", lambda case: _given(case, *_STEPS), schemas.persistence),
    ("a schema or weights", lambda case: _said(case, "entitySchema", "weightConfig"), schemas.stated),
    ("counts of a column", lambda case: _given(case, "counts"), schemas.inference),
    ("uploads", lambda case: "activeColumns" in case.expected, schemas.active_columns),
    ("a range of time", lambda case: _given(case, "interval"), schemas.timeseries),
    ("a moment", lambda case: _given(case, "timestamp_ms", "timestamp"), schemas.moment),
    ("a segment as text", lambda case: _given(case, "tags", "tag", "json"), schemas.segment_text),
    ("names of columns", lambda case: _given(case, "columns"), schemas.inferred_kind),
    ("a severity", lambda case: _given(case, "severity") and "severityWord" in case.expected, alerts.words),
    ("a draft of a monitor", lambda case: not case.inputs and _is_draft(case), clients.built),
    ("a saved monitor", lambda case: not case.inputs and _said(case, *_SAVED), clients.saved),
)
"""Cases without a kind: what they are about, how that is seen, and their adapter. The first that fits counts."""


class Verdict(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """A case that was run: its verdict, what failed, and why it is an exception if it is one."""

    case: Case
    verdict: Verdict
    failures: tuple[str, ...] = ()
    reason: Reason | None = None


def run(case: Case, *, exceptions: Mapping[str, Reason] = EXCEPTIONS) -> Outcome:
    """Run a case. An exception that passes is a failure of the list of exceptions."""
    failures = tuple(_failures(case))
    reason = exceptions.get(case.name)
    if reason is None:
        return Outcome(case, Verdict.FAILED if failures else Verdict.PASSED, failures)
    if failures:
        return Outcome(case, Verdict.SKIPPED, failures, reason)
    listed = f"the case passes: take {case.name} off the list of exceptions (DECISION {reason.decision})"
    return Outcome(case, Verdict.FAILED, (listed,), reason)


def adapter_of(case: Case) -> Adapter | None:
    """The adapter of a case's kind, or of its shape when it has none."""
    if case.kind is not None:
        return KINDS.get(case.kind)
    return next((adapter for _, fits, adapter in _SHAPES if fits(case)), None)


def _failures(case: Case) -> Iterable[str]:
    adapter = adapter_of(case)
    if adapter is None:
        yield _unknown(case)
        return
    try:
        checks = list(adapter(case))
    except MonitoringError as error:
        if not case.expected.get("raises"):
            yield f"refused: {error}"
            return
        checks = list(compare(case, calculations.refused(str(error))))
    except Exception as error:  # noqa: BLE001  a case that cannot be run is reported, and the others go on
        yield f"the {case.kind or 'case'} cannot be read: {type(error).__name__}: {error}"
        return
    if not checks:
        yield "nothing is expected of the case"
    for check in checks:
        if not check.passed:
            yield f"{check.name}: expected {_shown(check.expected)}, found {_shown(check.found)}"


def _unknown(case: Case) -> str:
    if case.kind is not None:
        return f"unknown kind {case.kind!r}; known are {', '.join(KINDS)}"
    given = ", ".join(sorted({*case.config, *case.inputs})) or "nothing"
    known = ", ".join(name for name, _, _ in _SHAPES)
    return f"unknown shape: no kind, and given {given}; known are {known}"


def _is_draft(case: Case) -> bool:
    """Whether there is something to complete; a block of a whole monitor has a mode or a schedule."""
    return _said(case, *_DRAFTED) or "metric" in (case.config.get("config") or {})


def _given(case: Case, *names: str) -> bool:
    return any(name in case.inputs for name in names)


def _said(case: Case, *names: str) -> bool:
    return any(name in case.config for name in names)


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) and type(value) is str else str(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
