from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.demo.incidents import (
    LEADS,
    REQUESTS,
    FoundIncident,
    PlantedIncident,
    Truth,
    compare,
    plan,
    read_truth,
)
from monitoring_pipeline.errors import UsageError

START = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)

PLANTED = PlantedIncident("nulls", "null_burst", LEADS, ("email",), (), START, START + 2 * DAY, "")


def found(
    *columns: str, start: datetime = START, dataset: str = LEADS, segments: tuple[str, ...] = ()
) -> FoundIncident:
    return FoundIncident(dataset, frozenset(columns), segments, start, start + DAY, "something")


def test_a_report_of_the_column_at_the_time_is_the_incident() -> None:
    report = found("email", "other")
    score = compare([PLANTED], [report])
    assert score.found == ((PLANTED, report),)
    assert score.perfect


@pytest.mark.parametrize(
    ("offset", "belongs"), [(-2, False), (-1, True), (0, True), (2, True), (3, True), (4, False)]
)
def test_a_report_may_begin_one_bucket_early_and_two_buckets_late(offset: int, belongs: bool) -> None:
    score = compare([PLANTED], [found("email", start=START + offset * DAY)])
    assert score.perfect is belongs


def test_buckets_of_hourly_data_are_hours() -> None:
    spike = replace(PLANTED, dataset=REQUESTS, end=START + timedelta(hours=4))
    for hours, belongs in [(-1, True), (-2, False), (5, True), (6, False)]:
        report = found("email", start=START + timedelta(hours=hours), dataset=REQUESTS)
        assert compare([spike], [report]).perfect is belongs


@pytest.mark.parametrize("report", [found("revenue"), found(""), found("email", dataset=REQUESTS)])
def test_other_columns_and_datasets_are_false_reports(report: FoundIncident) -> None:
    score = compare([PLANTED], [report])
    assert (score.missed, score.false) == ((PLANTED,), (report,))


@pytest.mark.parametrize("report", [found(""), found()])
def test_the_dataset_level_is_matched_like_a_column(report: FoundIncident) -> None:
    missing = replace(PLANTED, columns=("",))
    assert compare([missing], [report]).perfect


def test_one_incident_may_be_reported_twice_and_one_report_may_cover_two() -> None:
    other = replace(PLANTED, id="revenue", columns=("revenue",))
    reports = [found("email"), found("email", "revenue", start=START + DAY)]
    score = compare([PLANTED, other], reports)
    assert score.perfect
    assert (len(score.found), score.planted_found) == (3, 2)


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)), st.integers(100, 400))
def test_the_plan_holds_for_any_end(end: date, days: int) -> None:
    truth = plan(end, days=days, seed=1)
    last = datetime(end.year, end.month, end.day, tzinfo=UTC)
    assert len({incident.id for incident in truth.incidents}) == len(truth.incidents) == 13
    assert all(
        last - timedelta(days=days) < incident.start < incident.end <= last for incident in truth.incidents
    )
    for kind in ("missing_day", "late_day", "duplicate_load"):
        assert truth.incident(kind).start >= last - 14 * DAY
    assert truth.incident("conversion_drop").end <= last - 9 * DAY
    assert truth.incident("duplicate_load").start.weekday() in (1, 2, 3)
    assert Truth.from_json(json.loads(json.dumps(truth.to_json()))) == truth


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_no_planted_incident_could_be_taken_for_another(end: date) -> None:
    incidents = plan(end, days=120, seed=1).incidents
    for incident in incidents:
        report = FoundIncident(
            incident.dataset, frozenset(incident.columns), (), incident.start, incident.end, ""
        )
        assert [planted for planted, _ in compare(incidents, [report]).found] == [incident]


def test_too_few_days_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 100 days"):
        plan(date(2026, 1, 1), days=99, seed=1)


def test_a_truth_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"incidents\.json is not the truth of a demo"):
        read_truth(tmp_path / "incidents.json")
