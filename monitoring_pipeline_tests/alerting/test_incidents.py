"""Anomalies with one cause are one incident, however they come in."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.alerting.incidents import Incident, Status, group_incidents
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.incidents import incidents as stored_incidents
from monitoring_pipeline.store.incidents import save_incidents
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.alerting.builders import NOW, day, document, fixed, missing, result, row_count

EU = segment_key({"region": "EU"})
US = segment_key({"region": "US"})
EU_WEB = segment_key({"region": "EU", "channel": "web"})


def value_count(column: str = "income", number: int = 0, **changes: object) -> AnalyzerResult:
    """A column with too few values."""
    return fixed(
        column,
        day(number),
        metric="count",
        value=120.0,
        absolute_lower=1000.0,
        analyzer="count-analyzer",
        **changes,
    )


def test_one_column_on_neighbouring_days_is_one_incident() -> None:
    incidents = group_incidents([result(bucket=day(0)), result(bucket=day(1)), result(bucket=day(2))])
    assert [(one.start, one.end, one.anomaly_count) for one in incidents] == [(day(0), day(3), 3)]


def test_different_columns_are_different_incidents() -> None:
    assert len(group_incidents([result("income"), result("age")])) == 2


def test_many_columns_that_change_in_the_same_way_at_once_are_one_incident() -> None:
    nulls = [result(name) for name in ("income", "age", "region")]
    (one,) = group_incidents(nulls)
    assert one.title == "`age`, `income` and 1 more: nulls up"
    fewer = [result("plan", metric_value=0.0, calculated_lower=0.1), result("city", day(1))]
    assert sorted(len(found.columns) for found in group_incidents([*nulls, *fewer])) == [1, 1, 3]
    elsewhere = [result("income"), result("age"), result("region", segment=EU)]
    assert len(group_incidents(elsewhere)) == 3


def test_different_metrics_of_a_column_are_one_incident() -> None:
    assert len(group_incidents([result(), result(metric="mean", analyzer="mean-analyzer")])) == 1


def test_two_days_apart_is_an_echo_for_one_analyzer_only() -> None:
    echo = [result(bucket=day(0)), result(bucket=day(2))]
    apart = [result(bucket=day(0)), result(bucket=day(2), analyzer="mean-analyzer", metric="mean")]
    assert len(group_incidents(echo)) == 1
    assert len(group_incidents(apart)) == 2


def test_what_comes_back_within_a_week_is_the_same_incident_and_says_when_it_came_back() -> None:
    (echo,) = group_incidents([result(bucket=day(0)), result(bucket=day(2))])
    (back,) = group_incidents([result(bucket=day(0)), result(bucket=day(2)), result(bucket=day(9))])
    assert (echo.returned, back.returned) == (None, day(9))
    assert len(group_incidents([result(bucket=day(0)), result(bucket=day(8))])) == 2


def test_a_fall_of_rows_explains_the_counts_of_columns_but_not_their_nulls() -> None:
    incidents = group_incidents(
        [
            row_count(day(0)),
            value_count("income"),
            value_count("age"),
            result("score"),
            value_count("late", 5),
        ]
    )
    assert sorted(len(one.members) for one in incidents) == [1, 1, 3]
    (explained,) = [one for one in incidents if len(one.members) == 3]
    assert explained.title == "Rows down, affecting 2 columns"
    assert explained.worst.metric == "shape_row_count"


def test_missing_data_is_the_cause_of_its_bucket() -> None:
    (incident,) = group_incidents([missing(day(0)), row_count(day(0)), value_count("income")])
    assert incident.title.startswith("No data")
    assert incident.worst.sentence == "no data for 2026-01-31"


def test_a_segments_rows_explain_what_happens_inside_of_it_only() -> None:
    inside = value_count(segment=EU_WEB)
    outside = value_count("age", segment=US)
    incidents = group_incidents([row_count(day(0), segment=EU), inside, outside])
    assert sorted(len(one.members) for one in incidents) == [1, 2]


def test_unrelated_sides_of_the_dataset_stay_apart() -> None:
    accuracy = fixed(
        "", metric="classification.accuracy", value=0.6, absolute_lower=0.8, analyzer="accuracy-analyzer"
    )
    assert len(group_incidents([row_count(day(0)), accuracy])) == 2


def test_the_overall_segment_speaks_for_its_parts() -> None:
    (incident,) = group_incidents([result(segment=EU, metric_value=0.9), result()])
    assert incident.worst.segment == ""
    assert incident.title == "`income` nulls up"


def test_only_affected_segments_are_named_as_such() -> None:
    (one,) = group_incidents([result(segment=EU)])
    (two,) = group_incidents([result(segment=EU), result(segment=US)])
    assert one.title == "`income` nulls up, segment region=EU only"
    assert two.title == "`income` nulls up, 2 segments only"
    assert two.only_segments


def test_severity_is_the_worst_of_the_monitors_that_watch() -> None:
    results = [result(bucket=day(0), monitor_ids=("a", "b")), result(bucket=day(1), monitor_ids=())]
    (incident,) = group_incidents(results, severities={"a": 2, "b": 1})
    assert incident.severity == 1
    assert incident.worst.bucket == day(0)


def test_an_incident_is_open_until_every_series_was_normal_again() -> None:
    bad = [result("income", day(0)), result("income", day(0), analyzer="mean-analyzer", metric="mean")]
    first_calm = result("income", day(1), anomaly=False)
    second_calm = result("income", day(1), anomaly=False, analyzer="mean-analyzer", metric="mean")
    (opened,) = group_incidents(bad)
    (half,) = group_incidents([first_calm], [opened])
    (done,) = group_incidents([second_calm], [half])
    assert [opened.status, half.status, done.status] == [Status.OPEN, Status.OPEN, Status.RESOLVED]
    assert opened.id == half.id == done.id


def test_a_failed_verdict_does_not_resolve_and_does_not_open() -> None:
    failure = result(bucket=day(1), anomaly=False, failure_type=FailureType.NO_RESULTS)
    (incident,) = group_incidents([failure], group_incidents([result(bucket=day(0))]))
    assert incident.status is Status.OPEN
    assert group_incidents([failure]) == []


def test_what_comes_back_within_reach_reopens_the_same_incident() -> None:
    (resolved,) = group_incidents([result(bucket=day(0)), result(bucket=day(1), anomaly=False)])
    (again,) = group_incidents([result(bucket=day(2))], [resolved])
    assert resolved.status is Status.RESOLVED
    assert (again.id, again.status, again.end) == (resolved.id, Status.OPEN, day(3))


def test_an_ongoing_incident_is_extended_and_not_doubled() -> None:
    known = group_incidents([result(bucket=day(0))])
    (extended,) = group_incidents([result(bucket=day(0)), result(bucket=day(1))], known)
    assert (extended.id, extended.anomaly_count, extended.end) == (known[0].id, 2, day(2))


def test_incidents_that_turn_out_to_be_one_keep_the_first_name() -> None:
    known = group_incidents([result(bucket=day(0)), result(bucket=day(14))])
    (merged,) = group_incidents([result(bucket=day(7))], known)
    first, second = sorted(known, key=lambda one: one.start)
    assert (merged.id, merged.absorbed, merged.anomaly_count) == (first.id, (second.id,), 3)


def test_weeks_and_months_count_in_buckets() -> None:
    december, january = (datetime(year, month, 1, tzinfo=UTC) for year, month in ((2025, 12), (2026, 1)))
    months = [result(bucket=bucket, granularity=Granularity.MONTHLY) for bucket in (december, january)]
    (incident,) = group_incidents(months)
    assert incident.end == datetime(2026, 2, 1, tzinfo=UTC)


ANOMALIES = st.builds(
    lambda kind, column, number, segment: {
        "nulls": lambda: result(column, day(number), segment=segment),
        "count": lambda: value_count(column, number, segment=segment),
        "rows": lambda: row_count(day(number), segment=segment),
        "missing": lambda: missing(day(number)),
        "normal": lambda: result(column, day(number), segment=segment, anomaly=False),
    }[kind](),
    st.sampled_from(["nulls", "count", "rows", "missing", "normal"]),
    st.sampled_from(["income", "age", "plan"]),
    st.integers(0, 9),
    st.sampled_from(["", EU, US, EU_WEB]),
)
RESULTS = st.lists(ANOMALIES, max_size=25, unique_by=lambda one: one.analysis_id)


@given(RESULTS, st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(results: list[AnalyzerResult], shuffle: random.Random) -> None:
    other = list(results)
    shuffle.shuffle(other)
    assert group_incidents(results) == group_incidents(other)


@given(RESULTS)
def test_every_anomaly_is_in_exactly_one_incident(results: list[AnalyzerResult]) -> None:
    members = [member.analysis_id for one in group_incidents(results) for member in one.members]
    assert sorted(members) == sorted(one.analysis_id for one in results if one.is_anomaly)


@given(RESULTS, st.lists(st.integers(0, 3), min_size=25, max_size=25))
@settings(deadline=None)
def test_grouping_day_by_day_finds_the_same_incidents_as_grouping_at_once(
    results: list[AnalyzerResult], batches: list[int]
) -> None:
    known: list[Incident] = []
    for batch in range(4):
        known = group_incidents(
            [one for one, at in zip(results, batches, strict=False) if at == batch], known
        )
    at_once = group_incidents(results)

    def shape(incidents: list[Incident]) -> set[tuple[frozenset[str], Status]]:
        return {
            (frozenset(member.analysis_id for member in one.members), one.status)
            for one in incidents
            if one.members
        }

    if not any(not one.is_anomaly for one in results):
        assert shape(known) == shape(at_once)
    assert {members for members, _ in shape(known)} == {members for members, _ in shape(at_once)}


@given(RESULTS)
def test_grouping_again_changes_nothing(results: list[AnalyzerResult]) -> None:
    incidents = group_incidents(results)
    assert group_incidents(results, incidents) == incidents
    assert group_incidents([], incidents) == incidents


@given(RESULTS)
def test_incidents_survive_json(results: list[AnalyzerResult]) -> None:
    for incident in group_incidents(results):
        assert Incident.from_json(json.loads(json.dumps(incident.to_json()))) == incident


def test_known_analyzers_let_the_sentence_name_the_baseline() -> None:
    analyzers = {one.id: one for one in document().analyzers}
    (unknown,) = group_incidents([result()])
    (known,) = group_incidents([result()], analyzers=analyzers)
    assert unknown.worst.sentence.endswith("(baseline of 14 days)")
    assert known.worst.sentence.endswith("(last 14 days)")


def test_incidents_are_kept_by_the_store_and_taken_up_again(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'monitoring.db'}")
    ref = register_dataset(store, "org-0", "lead-scoring")

    def save(incidents: list[Incident]) -> None:
        absorbed = {name for one in incidents for name in one.absorbed}
        save_incidents(store, ref, [one.to_json() for one in incidents], now=NOW, merged=absorbed)

    def known() -> list[Incident]:
        return [Incident.from_json(record) for record in stored_incidents(store, ref)]

    save(group_incidents([result(bucket=day(0)), result(bucket=day(14))]))
    assert len(known()) == 2
    save(group_incidents([result(bucket=day(7))], known()))
    (one,) = known()
    assert (one.start, one.end, one.anomaly_count) == (day(0), day(15), 3)
    store.close()
