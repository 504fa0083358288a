from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring_pipeline.analysis.assembly import Assembly
from monitoring_pipeline.analysis.composites import combine
from monitoring_pipeline.analysis.gates import BatchFacts, Decision, Gate, decide
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.analysis.documents import document

DAY = timedelta(days=1)
BUCKET = datetime(2026, 1, 5, tzinfo=UTC)
REF = DatasetRef(1, "org-0", "lead-scoring", BUCKET)
YES, NO, OPEN = "anomaly", "normal", "no verdict"


def monitors(kind: str = "conjunction", **given: Any) -> MonitorDocument:
    both = {"id": "both", "targetMatrix": None, "config": {"type": kind, "analyzerIds": ["drift", "nulls"]}}
    return document({"id": "drift"}, {"id": "nulls"}, {**both, **given})


def result(analyzer_id: str, verdict: str, *, segment: str = "", column: str = "x") -> AnalyzerResult:
    return AnalyzerResult(
        analysis_id=f"{analyzer_id}/{segment}/{column}",
        result_id="r",
        run_id="run",
        analyzer_id=analyzer_id,
        analyzer_version="1",
        monitor_ids=(),
        segment=segment,
        column=column,
        bucket=BUCKET,
        created=BUCKET,
        granularity=Granularity.DAILY,
        target_level="column",
        metric="mean",
        analyzer_type="fixed",
        anomaly_count=int(verdict == YES),
        failure_type=FailureType.INSUFFICIENT_BASELINE if verdict == OPEN else None,
        failure_explanation="baseline has 2 of the 7 buckets it needs" if verdict == OPEN else None,
        profile_version=3,
    )


def combined(found: MonitorDocument, *results: AnalyzerResult) -> list[AnalyzerResult]:
    assembly = Assembly(REF, found, BUCKET + DAY, "run", backfill=False)
    return list(combine(found.analyzer("both"), [BUCKET], results, assembly=assembly, schema=None))


@pytest.mark.parametrize(
    ("verdicts", "conjunction", "disjunction"),
    [
        ((YES, YES), YES, YES),
        ((YES, NO), NO, YES),
        ((NO, NO), NO, NO),
        ((YES, OPEN), OPEN, YES),
        ((NO, OPEN), NO, OPEN),
        ((OPEN, OPEN), OPEN, OPEN),
    ],
)
def test_what_is_known_decides_and_what_is_not_leaves_it_open(
    verdicts: tuple[str, str], conjunction: str, disjunction: str
) -> None:
    children = [result(name, verdict) for name, verdict in zip(("drift", "nulls"), verdicts, strict=True)]
    for kind, expected in (("conjunction", conjunction), ("disjunction", disjunction)):
        [found] = combined(monitors(kind), *children)
        assert found.is_anomaly == (expected == YES)
        assert found.failed == (expected == OPEN)


def test_an_open_verdict_names_the_analyzer_and_its_reason() -> None:
    [found] = combined(monitors(), result("drift", YES), result("nulls", OPEN))
    assert found.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert found.failure_explanation == (
        "nulls has no verdict (InsufficientBaseline: baseline has 2 of the 7 buckets it needs)"
    )


def test_a_conjunction_without_all_of_its_analyzers_fails_and_a_disjunction_judges_what_is_there() -> None:
    [found] = combined(monitors(), result("drift", YES))
    assert found.failure_type is FailureType.COMPOSITE_MISSING_COLUMNS
    assert found.failure_explanation == "no result of nulls to go with the others"
    assert not found.is_anomaly
    [found] = combined(monitors("disjunction"), result("drift", YES))
    assert found.is_anomaly
    assert not found.failed


def test_without_a_column_matrix_columns_are_put_together() -> None:
    [found] = combined(
        monitors(),
        result("drift", YES, column="income"),
        result("drift", NO, column="age"),
        result("nulls", YES, column="age"),
    )
    assert found.is_anomaly
    assert (found.column, found.target_level, found.analyzer_type) == ("", "dataset", "conjunction")
    assert found.details["anomalous_analyzer_ids"] == ["drift", "nulls"]


def test_with_a_column_matrix_columns_are_judged_one_by_one() -> None:
    children = [
        result("drift", YES, column="income"),
        result("drift", NO, column="age"),
        result("nulls", YES, column="age"),
        result("nulls", YES, column="income"),
        result("nulls", YES, column="note"),
    ]
    matrix = {"type": "column", "include": ["*"], "exclude": ["note"]}
    found = combined(monitors(targetMatrix=matrix), *children)
    assert [(one.column, one.is_anomaly) for one in found] == [("age", False), ("income", True)]


def test_what_is_about_the_dataset_counts_for_every_column() -> None:
    matrix = {"type": "column", "include": ["*"]}
    children = [result("drift", YES, column="income"), result("nulls", YES, column="")]
    [found] = combined(monitors(targetMatrix=matrix), *children)
    assert (found.column, found.is_anomaly) == ("income", True)


def test_segments_stay_apart_and_can_be_chosen() -> None:
    children = [
        result(name, verdict, segment=segment)
        for name, verdict, segment in (
            ("drift", YES, ""),
            ("nulls", NO, ""),
            ("drift", YES, "region=EU"),
            ("nulls", YES, "region=EU"),
        )
    ]
    found = {one.segment: one.is_anomaly for one in combined(monitors(), *children)}
    assert found == {"": False, "region=EU": True}
    matrix = {"type": "dataset", "segments": [{"tags": [{"key": "region", "value": "*"}]}]}
    assert [one.segment for one in combined(monitors(targetMatrix=matrix), *children)] == ["region=EU"]


def test_the_record_names_the_children() -> None:
    [found] = combined(monitors(), result("drift", YES), result("nulls", YES))
    record = found.to_reference_record(organisation="org-0", dataset="lead-scoring")
    assert record["parent"] is True
    assert record["childAnalyzerIds"] == ["drift", "nulls"]
    assert record["childAnalysisIds"] == ["drift//x", "nulls//x"]
    assert "metric" not in record
    assert found.profile_version == 3


# --- when ---------------------------------------------------------------------------------------------------------


def decided(
    found: MonitorDocument, *, rows: int = 10, now: datetime = BUCKET + 2 * DAY, **given: Any
) -> Decision:
    facts = BatchFacts({BUCKET: rows, BUCKET - DAY: 1}, {BUCKET: BUCKET + DAY}, BUCKET - DAY)
    return decide(found, facts=facts, calculated=given.pop("calculated", ()), now=now, **given)


def due(decision: Decision, bucket: datetime = BUCKET) -> set[str]:
    return {one.analyzer_id for one in decision.due if one.bucket == bucket}


def test_a_composite_analyzer_is_due_with_its_analyzers() -> None:
    assert due(decided(monitors())) == {"drift", "nulls", "both"}


def test_it_waits_for_the_slowest_of_them() -> None:
    found = monitors()
    slow = document(
        {"id": "drift"},
        {"id": "nulls", "dataReadinessDuration": "P3D"},
        {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["drift", "nulls"]}},
    )
    decision = decided(slow, now=BUCKET + 2 * DAY)
    assert due(decision) == {"drift"}
    [waiting] = [one for one in decision.waiting if one.analyzer_id == "both" and one.bucket == BUCKET]
    assert waiting.gate is Gate.CHILDREN
    assert waiting.reason == "waits for nulls: ready at 2026-01-08 00:00 UTC"
    assert waiting.until == BUCKET + 3 * DAY
    done = {(one.id, analyzer_version(one), BUCKET) for one in found.analyzers[:2]}
    assert due(decided(found, calculated=done)) == {"both"}


def test_a_conjunction_is_not_scheduled_where_one_of_its_analyzers_is_not() -> None:
    sundays = {"type": "cron", "cron": "0 0 * * 0"}
    for kind, expected in (("conjunction", {"drift"}), ("disjunction", {"drift", "both"})):
        found = document(
            {"id": "drift"},
            {"id": "nulls", "schedule": sundays},
            {"id": "both", "config": {"type": kind, "analyzerIds": ["drift", "nulls"]}},
        )
        assert due(decided(found)) == expected


def test_a_conjunction_of_an_analyzer_that_cannot_run_says_so() -> None:
    found = document(
        {"id": "drift"},
        {"id": "nulls", "disabled": True},
        {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["drift", "nulls"]}},
    )
    [waiting] = [one for one in decided(found).waiting if one.analyzer_id == "both"]
    assert waiting.gate is Gate.IDLE
    assert waiting.reason == "its analyzer nulls: is disabled"


def test_a_composite_analyzer_is_another_one_when_its_analyzers_are() -> None:
    found = monitors()
    changed = document(
        {"id": "drift", "config": {"type": "fixed", "metric": "mean", "upper": 11}},
        {"id": "nulls"},
        found.analyzer("both").model_dump(by_alias=True, exclude_unset=True),
    )
    versions = [
        one.analyzer_version
        for each in (found, changed)
        for one in decided(each).due
        if one.analyzer_id == "both"
    ]
    assert len(set(versions)) == 2
    [result_] = combined(found, result("drift", YES), result("nulls", YES))
    assert result_.analyzer_version == versions[0]
