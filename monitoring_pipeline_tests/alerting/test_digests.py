"""What a monitor says, when it says nothing, and that it says it once."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.alerting.digests import SAMPLE, Digest, Escalation, build_digests
from monitoring_pipeline.alerting.filters import rank
from monitoring_pipeline.alerting.incidents import group_incidents
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, analyzer, day, document, monitor, result

EU = segment_key({"region": "EU"})
WEIGHTS = {
    "defaultWeights": {"weights": {"income": 0.9, "age": -0.5, "plan": 0.1}},
    "segmentWeights": [{"segment": {"tags": [{"key": "region", "value": "EU"}]}, "weights": {"plan": 2.0}}],
}


def build(made: MonitorDocument, *results: AnalyzerResult, run_id: str | None = RUN) -> list[Digest]:
    return build_digests(made, results, now=NOW, run_id=run_id)


def columns_of(digests: list[Digest]) -> list[str]:
    return sorted(tally.name for digest in digests for tally in digest.columns)


def test_a_digest_counts_all_anomalies_and_says_where_and_when() -> None:
    results = [result("income", day(-1)), result("income", day(0), segment=EU), result("age", day(0))]
    (digest,) = build(document(), *results)
    assert (digest.anomaly_count, digest.column_count, digest.segment_count) == (3, 2, 2)
    assert digest.period == TimeRange(day(-1), day(1))
    assert [(one.name, one.anomalies, one.earliest, one.latest) for one in digest.columns] == [
        ("income", 2, day(-1), day(0)),
        ("age", 1, day(0), day(0)),
    ]
    assert [(one.name, one.anomalies) for one in digest.segments] == [("", 2), (EU, 1)]
    assert (digest.organisation, digest.dataset, digest.monitor_name) == (
        "org-0",
        "lead-scoring",
        "Missing values in inputs",
    )


def test_no_anomaly_no_digest() -> None:
    assert build(document(), result(anomaly=False)) == []
    assert build(document()) == []


def test_failures_never_alert() -> None:
    assert build(document(), result(failure_type=FailureType.CALCULATION_EXCEPTION)) == []


def test_a_disabled_monitor_is_silent_and_blocks_nobody() -> None:
    made = document(monitor("first-monitor", disabled=True), monitor("second-monitor"))
    assert [digest.monitor_id for digest in build(made, result())] == ["second-monitor"]


def test_a_monitor_hears_all_of_its_analyzers_and_no_others() -> None:
    made = document(
        monitor(analyzerIds=["null-ratio-analyzer", "mean-analyzer"]),
        analyzers=[analyzer(one) for one in ("null-ratio-analyzer", "mean-analyzer", "other-analyzer")],
    )
    results = [result(name, analyzer=f"{name}-analyzer") for name in ("null-ratio", "mean", "other")]
    assert columns_of(build(made, *results)) == ["mean", "null-ratio"]


def test_every_anomaly_makes_one_message_each_and_honours_the_filter() -> None:
    made = document(monitor(mode={"type": "EVERY_ANOMALY", "filter": {"excludeColumns": ["noisy"]}}))
    digests = build(made, result("income"), result("age"), result("noisy"))
    assert columns_of(digests) == ["age", "income"]
    assert len(digests) == 2
    assert len({digest.dedup_key for digest in digests}) == 2


@pytest.mark.parametrize(
    ("chosen", "columns"),
    [
        ({}, ["age", "city", "income", "plan"]),
        ({"includeColumns": ["income", "city"]}, ["city", "income"]),
        ({"includeColumns": []}, []),
        ({"excludeColumns": ["income"]}, ["age", "city", "plan"]),
        ({"includeMetrics": ["count.null.RATIO"]}, ["age", "city", "income", "plan"]),
        ({"includeMetrics": ["mean"]}, []),
        ({"excludeMetrics": ["count_null_ratio"]}, []),
        ({"minWeight": 0.1}, ["income", "plan"]),
        ({"maxWeight": 0.1}, ["age", "city", "plan"]),
        ({"maxRankByWeight": 2}, ["age", "income"]),
        ({"minRankByWeight": 2}, ["age", "plan"]),
        ({"minAlertCount": 4}, ["age", "city", "income", "plan"]),
        ({"minAlertCount": 5}, []),
        ({"maxAlertCount": 3}, []),
        ({"minTotalWeight": 0.5}, ["age", "city", "income", "plan"]),
        ({"minTotalWeight": 0.6}, []),
        ({"maxTotalWeight": 0.4}, []),
    ],
)
def test_the_filter_decides_which_anomalies_are_told(chosen: dict[str, Any], columns: list[str]) -> None:
    made = document(monitor(mode={"type": "DIGEST", "filter": chosen}), weightConfig=WEIGHTS)
    results = [result(column) for column in ("income", "age", "plan", "city")]
    assert columns_of(build(made, *results)) == columns


def test_weights_of_a_segment_come_first_and_a_results_own_weight_before_them() -> None:
    made = document(monitor(mode={"type": "DIGEST", "filter": {"minWeight": 1}}), weightConfig=WEIGHTS)
    results = [result("plan"), result("plan", segment=EU), result("city", segment_weight=1.5)]
    (digest,) = build(made, *results)
    assert sorted((one.column, one.segment, one.weight) for one in digest.sample) == [
        ("city", "", 1.5),
        ("plan", EU, 2.0),
    ]
    assert rank("plan", EU, made.weight_config) == 1
    assert rank("plan", "", made.weight_config) == 3


def test_old_buckets_stay_silent() -> None:
    made = document(monitor(mode={"type": "DIGEST", "datasetTimestampOffset": "P3D"}))
    edge = NOW - timedelta(days=3)
    digests = build(made, result("old", day(-3)), result("fresh", day(-1)), result("edge", edge))
    assert columns_of(digests) == ["edge", "fresh"]


def test_old_results_stay_silent() -> None:
    made = document(monitor(mode={"type": "DIGEST", "creationTimeOffset": "PT1H"}))
    digests = build(made, result("old", created=NOW - timedelta(hours=2)), result("fresh"))
    assert columns_of(digests) == ["fresh"]


def test_an_immediate_monitor_speaks_about_its_own_run() -> None:
    other = result("other", run_id="run-0")
    assert columns_of(build(document(), result(), other)) == ["income"]
    assert columns_of(build(document(), result(), other, run_id=None)) == ["income", "other"]


def test_a_monitor_with_a_schedule_tells_of_all_that_belongs_to_its_moment() -> None:
    made = document(monitor(schedule={"type": "fixed", "cadence": "weekly"}))
    monday, saturday = day(-5), day(0)  # 2026-01-26 and 2026-01-31
    assert columns_of(build(made, result("monday", monday), result("saturday", saturday))) == [
        "monday",
        "saturday",
    ]


@pytest.mark.parametrize(
    "schedule",
    [
        {"type": "immediate"},
        {"type": "fixed", "cadence": "daily"},
        {"type": "cron", "cron": "0 0 * * *"},
    ],
)
def test_exclusion_ranges_silence_their_buckets_on_every_schedule(schedule: dict[str, Any]) -> None:
    excluded = [{"start": "2026-01-30T00:00:00Z", "end": "2026-01-31T00:00:00Z"}]
    made = document(monitor(schedule={**schedule, "exclusionRanges": excluded}))
    assert columns_of(build(made, result("holiday", day(-1)), result("after", day(0)))) == ["after"]


def test_the_sample_is_the_newest_hundred_and_the_statistics_are_about_all() -> None:
    results = [result(f"c{number:03}", day(-(number // 20))) for number in range(140)]
    (digest,) = build(document(), *results)
    assert digest.anomaly_count == digest.column_count == 140
    assert len(digest.sample) == SAMPLE
    assert min(one.bucket for one in digest.sample) == day(-4)
    assert [one.bucket for one in digest.sample] == sorted(
        (one.bucket for one in digest.sample), reverse=True
    )


def test_a_verdict_that_is_given_twice_counts_once() -> None:
    (digest,) = build(document(), result(), result())
    assert digest.anomaly_count == 1


def test_the_key_names_monitor_and_anomalies_and_nothing_else() -> None:
    results = [result("income"), result("age")]
    (first,) = build_digests(document(), results, now=NOW, run_id=RUN)
    (again,) = build_digests(
        document(monitor(severity=1)), results[::-1], now=NOW + timedelta(days=1), run_id=None
    )
    (fewer,) = build(document(), results[0])
    (other,) = build(document(monitor("other-monitor")), *results)
    assert first.dedup_key == again.dedup_key
    assert len({first.dedup_key, fewer.dedup_key, other.dedup_key}) == 3


def test_a_digest_calls_its_incidents_by_their_known_names() -> None:
    (known,) = group_incidents([result(bucket=day(-1))])
    (extended,) = group_incidents([result(bucket=day(0))], [known])
    (digest,) = build_digests(document(), [result(bucket=day(0))], now=NOW, run_id=RUN, incidents=[extended])
    (told,) = digest.incidents
    assert (told.id, told.start, told.anomaly_count) == (known.id, day(-1), 1)
    assert told.members == ()


@pytest.mark.parametrize(
    ("severity", "level"),
    [(1, Escalation.CRITICAL), (2, Escalation.WARNING), (3, Escalation.INFO), (7, Escalation.INFO)],
)
def test_severity_maps_to_an_escalation_level(severity: int, level: Escalation) -> None:
    (digest,) = build(document(monitor(severity=severity)), result())
    assert digest.level is level


def test_the_sentence_uses_what_the_analyzer_knows_of_its_baseline() -> None:
    baseline = {"type": "TrailingWindow", "size": 14, "offset": 7}
    made = document(analyzers=[analyzer(type="stddev", metric="count_null_ratio", baseline=baseline)])
    (digest,) = build(made, result())
    assert (
        digest.sample[0].sentence == "`income` nulls 14.1 %, expected 0–1.2 % (14 days until 7 days before)"
    )


RESULTS = st.lists(
    st.builds(
        lambda column, number, segment: result(column, day(-number), segment=segment),
        st.sampled_from(["income", "age", "", "größe <&> `x`"]),
        st.integers(0, 200),
        st.sampled_from(["", EU, segment_key({"a": "1&2=3"})]),
    ),
    min_size=1,
    max_size=20,
)


@given(RESULTS)
def test_digests_survive_json(results: list[AnalyzerResult]) -> None:
    (digest,) = build(document(), *results)
    assert Digest.from_json(json.loads(json.dumps(digest.to_json()))) == digest


@given(RESULTS, st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_change_a_digest(
    results: list[AnalyzerResult], shuffle: random.Random
) -> None:
    other = list(results)
    shuffle.shuffle(other)
    assert build(document(), *results) == build(document(), *other)
