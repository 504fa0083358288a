"""The runner on cases of our own, expected values by hand, and on cases that must fail."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline_tests.conformance.__main__ import main
from monitoring_pipeline_tests.conformance.cases import Case
from monitoring_pipeline_tests.conformance.comparing import Unknown, agrees
from monitoring_pipeline_tests.conformance.exceptions import Reason
from monitoring_pipeline_tests.conformance.runner import KINDS, Verdict, run

DAY = 86_400_000
MARCH_4 = 1_646_352_000_000
"""2022-03-04T00:00:00Z, a Friday."""

HEX = {"sketch": "kll_doubles", "updates": [1.0, 2.0, 3.0, 4.0]}
FAR = {"sketch": "kll_doubles", "updates": [101.0, 102.0, 103.0, 104.0]}
WORDS = {"sketch": "frequent_strings", "updates": ["a", "a", "b", "c"]}
OTHERS = {"sketch": "frequent_strings", "updates": ["a", "b", "b", "d"]}
TRAILING = {"type": "TrailingWindow", "size": 4}


def points(*values: Any, start: int = 0) -> list[list[Any]]:
    return [[(start + at) * DAY, value] for at, value in enumerate(values)]


def calculation(analyzer: dict[str, Any], target: Any, baseline: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "kind": "calculate",
        "analyzer": analyzer,
        "target": points(target, start=9),
        "baseline": baseline,
        **more,
    }


def buckets(*counts: int, first: int = MARCH_4 - 4 * DAY) -> list[dict[str, Any]]:
    return [
        {"ts": first + at * DAY, "missing": False, "metric_inputs": {"counts/n": n}}
        for at, n in enumerate(counts)
    ]


def counted(config: dict[str, Any], target: int | None, *baseline: int, **more: Any) -> dict[str, Any]:
    given = {"missing": True} if target is None else {"metric_inputs": {"counts/n": target}}
    return {
        "kind": "run",
        "granularity": "daily",
        "target_ts": MARCH_4,
        "analyzer": {
            "id": "rows",
            "targetMatrix": {"type": "column", "include": ["*"]},
            "config": {"metric": "count", "baseline": TRAILING, **config},
        },
        "baseline_buckets": buckets(*baseline),
        "target_buckets": [given],
        **more,
    }


SIGMA = math.sqrt(2 / 3)  # of 9, 10, 10, 11: squares 1 + 0 + 0 + 1, over 3
HELLINGER = math.sqrt(((math.sqrt(0.5) - 0.5) ** 2 * 2 + 0.25 + 0.25) / 2)
"""Of (0.5, 0.25, 0.25, 0) and (0.25, 0.5, 0, 0.25)."""

AGREEING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stddev": (
        calculation({"type": "stddev", "factor": 3}, 13.0, points(9, None, 10, "NaN", 10, 11)),
        {"upper": 10 + 3 * SIGMA, "lower": 10 - 3 * SIGMA, "alertCount": 1, "threshold_minBatchSize": 4},
    ),
    "stddev of one count": (
        calculation({"type": "stddev", "factor": 2, "minBatchSize": 1}, 25.0, points(16.0)),
        {"upper": 24.0, "lower": 8.0, "alertCount": 1, "factor": 2},
    ),
    "stddev below a static threshold": (
        calculation({"type": "stddev", "minLowerThreshold": 9.5}, 9.0, points(9, 10, 10, 11)),
        {"lower": 9.5, "absoluteLower": 9.5, "absoluteUpper": "Infinity", "alertCount": 1},
    ),
    "stddev with too few points": (
        calculation({"type": "stddev", "minBatchSize": 5}, 9.0, points(9, 10, 10, 11)),
        {"raises": True, "message_contains": "requires at least 5"},
    ),
    "stddev without outliers": (
        calculation({"type": "stddev", "params": {"enableGrubb": "true"}}, 1.0, points(8, 9, 10, 9, 50)),
        {"upper": 9 + 3 * SIGMA, "threshold_minBatchSize": 4, "alertCount": 1},
    ),
    "seasonal with too short a window": (
        calculation({"type": "seasonal", "minBatchSize": 2}, 1.0, points(1, 2, 3)),
        {"raises": True, "message_contains": "at least 30"},
    ),
    "fixed on the bound": (calculation({"type": "fixed", "upper": 3}, 3.0), {"alertCount": 0}),
    "fixed, a third time in a row": (
        calculation({"type": "fixed", "upper": 3, "nConsecutive": 3}, 4.0, priors=points(1, 5, 6)),
        {"alertCount": 1, "threshold_absoluteUpper": 3},
    ),
    "fixed, without three in a row": (
        calculation({"type": "fixed", "upper": 3, "nConsecutive": 3}, 4.0, priors=points(5)),
        {"alertCount": 0},
    ),
    "diff in percent below": (
        calculation(
            {"type": "diff", "mode": "pct", "threshold": 10, "thresholdType": "lower"}, 80, points(100)
        ),
        {"diff": 20, "lower": 90, "upper": None, "alertCount": 1, "mode": "pct", "threshold": 10},
    ),
    "diff from zero": (
        calculation({"type": "diff", "mode": "pct", "threshold": 99}, 1, points(0)),
        {"diff": 100, "alertCount": 1},
    ),
    "diff with a negative threshold": (
        calculation({"type": "diff", "threshold": -1}, 1, points(0)),
        {"raises": True},
    ),
    "comparison as greater": (
        calculation({"type": "comparison", "operator": "gt", "expected": {"int": 9}}, 9.0),
        {"alertCount": 1, "observed": "9.0", "expected": "9.0"},
    ),
    "comparison with the baseline": (
        calculation({"type": "comparison"}, 9.0, points(9.0)),
        {"alertCount": 0, "expected": "9.0"},
    ),
    "comparison of types": (
        calculation({"type": "comparison", "expected": {"str": "STRING"}}, "INTEGRAL", value_type="string"),
        {"alertCount": 1, "observed": "INTEGRAL"},
    ),
    "comparison with several buckets": (
        calculation({"type": "comparison"}, 9.0, points(9.0, 9.0)),
        {"raises": True},
    ),
    "list comparison, not in": (
        calculation(
            {"type": "list_comparison", "operator": "not_in", "expected": [{"float": 0.3}]}, 0.1 + 0.2
        ),
        {"alertCount": 1},
    ),
    "list comparison with NaN": (
        calculation({"type": "list_comparison", "expected": [{"int": 1}]}, "NaN"),
        {"result": None},
    ),
    "monotonic, decreasing": (
        calculation({"type": "monotonic", "direction": "DECREASING", "numBuckets": 2}, 3.0, points(6, 6, 5)),
        {"alertCount": 1, "metricValue": 2, "absoluteUpper": 2, "thresholdType": "lower"},
    ),
    "column list without what is excluded": (
        calculation(
            {"type": "column_list", "metric": "field_list", "exclude": ["tmp"]}, ["a", "tmp"], points(["a"])
        ),
        {"alertCount": 0, "added": 0, "removed": 0, "mode": "ON_ADD_AND_REMOVE"},
    ),
    "column list, the newest bucket counts": (
        calculation({"type": "column_list", "mode": "ON_REMOVE"}, ["a"], points(["a", "b"], ["a"])),
        {"alertCount": 0},
    ),
    "frequent strings, all kept": (
        calculation(
            {"type": "frequent_string_comparison", "operator": "target_includes_all_baseline"},
            OTHERS,
            points(WORDS),
        ),
        {"alertCount": 1, "sample": ["c"], "sample_size": 1, "sample_counts_size": 1},
    ),
    "drift of texts": (
        calculation(
            {"type": "drift", "metric": "frequent_items", "threshold": 0.5},
            OTHERS,
            points(WORDS),
            tolerance=1e-9,
        ),
        {"metricValue": HELLINGER, "alertCount": int(HELLINGER > 0.5), "drift_threshold": 0.5},
    ),
    "drift of ordered numbers": (
        calculation({"type": "drift", "algorithm": "ks_test"}, FAR, points(HEX)),
        {"metricValue": 1.0, "alertCount": 1},
    ),
    "drift from an unfit metric": (
        calculation({"type": "drift", "metric": "mean"}, FAR, points(HEX)),
        {"raises": True},
    ),
    "variation distance": (
        {"kind": "distance", "algorithm": "variation_distance", "p1": [0.5, 0.5], "p2": [0.25, 0.75]},
        {"distance": 0.25},
    ),
    "distance of texts": (
        {"kind": "distance_sketch", "algorithm": "variation_distance", "a": WORDS, "b": OTHERS},
        {"distance": 0.5, "symmetric": True},
    ),
    "distance over standard deviations": (
        {"kind": "distance_sketch", "algorithm": "wasserstein", "a": HEX, "b": FAR, "tolerance": 1e-9},
        {"distance": 100 / math.sqrt(1.25)},
    ),
    "grubb": ({"kind": "grubb", "values": [1, 10, 10, 10]}, {"every_item": 10, "removed": [1]}),
    "formula": (
        {"kind": "formula", "formula": "(a ^ b)/3", "variables": {"a": 2, "b": 3}},
        {"value": 8 / 3},
    ),
    "formula without a variable": (
        {"kind": "formula", "formula": "a + b", "variables": {"a": 2}},
        {"value": None},
    ),
    "metric of counts": (
        {"kind": "metric", "metric": "count_null_ratio", "inputs": {"counts/n": 8, "counts/null": 2}},
        {"value": 0.25},
    ),
    "metric of types": (
        {
            "kind": "metric",
            "metric": "inferred_data_type",
            "inputs": {"counts/n": 4, "types/string": 3, "types/integral": 1},
        },
        {"value": "STRING"},
    ),
    "metric of values": (
        {"kind": "metric", "metric": "median", "inputs": {"values": [1.0, 2.0, 3.0, 9.0]}},
        {"value": 3.0},
    ),
    "metric alias": ({"kind": "metric_alias", "name": "Classification.F1"}, {"resolves": True}),
    "no metric": ({"kind": "metric_alias", "name": "midian"}, {"resolves": False}),
    "month": (
        {"kind": "truncate", "granularity": "monthly", "ts": MARCH_4},
        {"ts": MARCH_4 - 3 * DAY, "iso": "2022-03-01T00:00:00Z"},
    ),
    "quarter of an hour": (
        {"kind": "truncate", "granularity": "PT15M", "iso": "2022-03-04T01:44:59Z"},
        {"iso": "2022-03-04T01:30:00Z"},
    ),
    "weekly schedule": (
        {
            "kind": "schedule_match",
            "schedule": {"type": "fixed", "cadence": "weekly"},
            "checks": [
                {"at": "2022-03-07T00:00:00Z", "expected": True},
                {"at": "2022-03-08T00:00:00Z", "expected": False},
            ],
        },
        {},
    ),
    "data readiness": (
        {
            "kind": "data_readiness",
            "dataReadinessDuration": "P2D",
            "bucket": "2022-03-04T00:00:00Z",
            "now": "2022-03-06T00:00:00Z",
        },
        {"passes": True},
    ),
    "cool-down": (
        {
            "kind": "cooldown",
            "batchCoolDownPeriod": "PT2H",
            "bucket": "2022-03-04T00:00:00Z",
            "last_upload_ts": "2022-03-06T00:00:00Z",
            "now": "2022-03-06T01:59:00Z",
        },
        {"passes": False},
    ),
    "backfill grace, inclusive": (
        {
            "kind": "backfill_grace",
            "backfillGracePeriodDuration": "P2D",
            "bucket": "2022-03-04T00:00:00Z",
            "now": "2022-03-06T00:00:00Z",
        },
        {"passes": True},
    ),
    "expected count of quarter hours": (
        {
            "kind": "expected_baseline_count",
            "granularity": "PT15M",
            "baseline": {
                "type": "TimeRange",
                "range": {"start": "2022-03-04T00:00:00Z", "end": "2022-03-05T00:00:00Z"},
            },
        },
        {"expectedBaselineDatapoints": 96},
    ),
    "run of stddev": (
        counted({"type": "stddev", "factor": 3}, 13, 9, 10, 10, 11),
        {
            "baselineCount": 4,
            "expectedBaselineCount": 4,
            "threshold_calculatedUpper": 10 + 3 * SIGMA,
            "anomalyCount": 1,
            "datasetTimestamp": MARCH_4,
            "failureType": None,
        },
    ),
    "run without enough": (
        counted({"type": "stddev", "factor": 3}, 13, 9, 10),
        {"baselineCount": 2, "failureType": "InsufficientBaseline", "anomalyCount": 0},
    ),
    "run without a target": (counted({"type": "stddev"}, None, 9, 10, 10, 11), {"result": None}),
    "run of diff, by the mean of a bucket": (
        counted({"type": "diff", "mode": "abs", "threshold": 2}, 13, 9, 10, 10, 11),
        {"diff_metricValue": 3.0, "anomalyCount": 1, "isRollup": True},
    ),
    "segments with any value": (
        {
            "kind": "segment_targeting",
            "targetMatrix": {"type": "column", "segments": [{"tags": [{"key": "k", "value": "*"}]}]},
            "row_segment": "k=v",
        },
        {"targeted": True},
    ),
    "column of a group, excluded by name": (
        {
            "kind": "column_targeting",
            "targetMatrix": {"include": ["group:discrete"], "exclude": ["age"]},
            "column": "age",
            "schema": {"discreteness": "discrete"},
        },
        {"targeted": False},
    ),
    "crossed thresholds": (
        {
            "kind": "config_validation",
            "analyzer": {"config": {"type": "stddev", "maxUpperThreshold": 0, "minLowerThreshold": 1}},
        },
        {"valid": False},
    ),
    "composite of another schedule": (
        {
            "kind": "composite_validation",
            "parent_schedule": {"type": "fixed", "cadence": "daily"},
            "child_schedules": [
                {"type": "fixed", "cadence": "daily"},
                {"type": "fixed", "cadence": "weekly"},
            ],
        },
        {"valid": False},
    ),
    "a filter of rank": (
        {
            "config": {"mode": {"type": "DIGEST", "filter": {"excludeColumns": ["a"]}}},
            "input": {"analyzerResult": {"column": "a"}},
        },
        {"passes": False},
    ),
}


def case_of(data: dict[str, Any], expected: dict[str, Any]) -> Case:
    return Case("own", {"id": "own", **data, **({"expected": expected} if expected else {})})


@pytest.mark.parametrize("name", list(AGREEING))
def test_a_case_of_our_own_passes(name: str) -> None:
    outcome = run(case_of(*AGREEING[name]), exceptions={})
    assert not outcome.failures


@pytest.mark.parametrize("name", list(AGREEING))
def test_a_case_that_expects_more_than_is_told_fails(name: str) -> None:
    data, expected = AGREEING[name]
    assert run(case_of(data, {**expected, "noSuchField": 1}), exceptions={}).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "no_such_kind", "expected": {"x": 1}}, "unknown kind 'no_such_kind'; known are adhoc"),
        (
            {"config": {"x": 1}, "input": {"y": 1}, "expected": {"z": 1}},
            "unknown shape: no kind, and given x, y",
        ),
        ({"kind": "truncate", "ts": 0}, "nothing is expected"),
        ({"kind": "truncate", "expected": {"ts": 0}}, "cannot be read: KeyError"),
        ({"kind": "truncate", "ts": 0, "granularity": "individual", "expected": {"ts": 0}}, "cannot be read"),
        (
            {"kind": "metric", "metric": "midian", "inputs": {"values": [1]}, "expected": {"value": 1}},
            "refused",
        ),
        ({**calculation({"type": "fixed", "upper": "x"}, 1.0), "expected": {"alertCount": 0}}, "refused: "),
        ({**calculation({"type": "fixed", "upper": 1}, 1.0), "expected": {"raises": True}}, "found False"),
        ({**calculation({"type": "fixed", "upper": 1}, 1.0), "expected": {"result": None}}, "result"),
        ({**calculation({"type": "nothing"}, 1.0), "expected": {"result": None}}, "refused: "),
    ],
)
def test_what_cannot_be_run_fails_and_says_why(data: dict[str, Any], words: str) -> None:
    outcome = run(Case("own", {"id": "own", **data}), exceptions={})
    assert outcome.verdict is Verdict.FAILED
    assert words in outcome.failures[0]


def test_every_kind_says_what_it_cannot_read() -> None:
    for kind in KINDS:
        outcome = run(Case("own", {"id": "own", "kind": kind, "expected": {"noSuchField": 1}}), exceptions={})
        assert outcome.verdict is Verdict.FAILED, kind


def test_an_exception_is_skipped_while_it_fails_and_fails_when_it_passes() -> None:
    data, expected = AGREEING["month"]
    listed = {"own": Reason(9, "For this test.")}
    wrong = run(case_of(data, {**expected, "ts": 0}), exceptions=listed)
    assert (wrong.verdict, wrong.reason) == (Verdict.SKIPPED, listed["own"])
    right = run(case_of(data, expected), exceptions=listed)
    assert right.verdict is Verdict.FAILED
    assert "take own off the list of exceptions" in right.failures[0]


def test_the_command_prints_failures_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, expected = AGREEING["month"]
    right = {"id": "right", **data, "expected": expected}
    wrong = {"id": "wrong", **data, "expected": {"ts": 1}}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "own.json").write_text(json.dumps({"cases": [right, wrong]}))
    assert main([str(tmp_path)]) == 1
    *failures, counts = capsys.readouterr().out.splitlines()
    assert failures == [f"FAILED own wrong: ts: expected 1, found {MARCH_4 - 3 * DAY}"]
    assert counts == "1 passed, 1 failed, 0 skipped"
    assert main([str(tmp_path / "nowhere")]) == 2
    (tmp_path / "deep" / "own.json").write_text("{}")
    assert main([str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (1.0, 1, True),
        (1, True, False),
        (True, 1, False),
        ("NaN", math.nan, True),
        (None, math.nan, True),
        (None, 0.0, False),
        ("-Infinity", -math.inf, True),
        ("Infinity", -math.inf, False),
        (1.0, 1.0000001, False),
        ({"not_null": True}, 0.0, True),
        ({"not_null": True}, math.nan, False),
        ({"not_null": True}, Unknown("x"), False),
        ({"not_null": False}, None, True),
        ({"a": None}, {}, False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ([1, 2], [1, 2, 3], False),
        ([], [], True),
        ("9.0", "9", True),
        ("9.4", 9.4, True),
        ("a", "b", False),
        ("1", "one", False),
    ],
)
def test_agreement(expected: Any, found: Any, same: bool) -> None:
    assert agrees(expected, found) is same


def test_tolerances_are_absolute_or_relative() -> None:
    assert agrees(100.0, 100.9, tolerance=1.0)
    assert not agrees(100.0, 101.1, tolerance=1.0)
    assert agrees(100.0, 100.9, relative=0.01)
    assert not agrees(100.0, 101.1, relative=0.01)
