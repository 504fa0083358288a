from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring_pipeline.analysis.gates import BatchFacts, Decision, Due, decide, default_grace
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline_tests.analysis.documents import analyzer, document

DAY = timedelta(days=1)
"""Here missingDatapoint is judged from the first bucket on; the reference leaves out the first, partly covered, one."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def facts(first: str, days: int, *, without: tuple[str, ...] = (), uploaded: timedelta = DAY) -> BatchFacts:
    """Daily batches of one row from `first` on, each uploaded `uploaded` after its start."""
    buckets = [at(first) + day * DAY for day in range(days)]
    present = [bucket for bucket in buckets if bucket not in {at(gap) for gap in without}]
    return BatchFacts(
        dict.fromkeys(present, 1), {bucket: bucket + uploaded for bucket in present}, first_bucket=buckets[0]
    )


def due_buckets(decision: Decision) -> list[str]:
    return [f"{due.bucket:%m-%d}" for due in decision.due]


def reasons(decision: Decision) -> dict[str, str]:
    return {f"{wait.bucket:%m-%d}" if wait.bucket else "": wait.reason for wait in decision.waiting}


def decided(
    document: MonitorDocument, now: str, *, known: BatchFacts | None = None, **given: Any
) -> Decision:
    known = known or facts("2026-01-01", 10)
    return decide(document, facts=known, calculated=given.pop("calculated", ()), now=at(now), **given)


def test_a_bucket_is_due_once_it_is_over() -> None:
    decision = decided(document({}), "2026-01-03T00:00")
    assert due_buckets(decision) == ["01-01", "01-02"]
    assert reasons(decision) == {"01-03": "ready at 2026-01-04 00:00 UTC"}
    assert decision.waiting[0].until == at("2026-01-04")


def test_readiness_counts_from_the_start_of_the_bucket() -> None:
    waits = document({"dataReadinessDuration": "P1DT18H"})
    assert due_buckets(decided(waits, "2026-01-02T17:59")) == []
    assert due_buckets(decided(waits, "2026-01-02T18:00")) == ["01-01"]


def test_readiness_shorter_than_a_granule_is_one_granule() -> None:
    assert due_buckets(decided(document({"dataReadinessDuration": "PT1H"}), "2026-01-01T12:00")) == []


def test_partial_batches_are_due_as_soon_as_there_is_data_and_the_explicit_readiness_is_over() -> None:
    partial = document(
        {}, {"id": "patient-one", "dataReadinessDuration": "PT6H"}, allowPartialTargetBatches=True
    )
    early = decided(partial, "2026-01-01T05:00")
    assert [due.analyzer_id for due in early.due] == ["mean-below-ten"]
    assert [due.analyzer_id for due in decided(partial, "2026-01-01T06:00").due] == [
        "mean-below-ten",
        "patient-one",
    ]


def test_a_bucket_without_data_is_looked_for_every_hour_until_the_grace_is_over() -> None:
    known = facts("2026-01-01", 5, without=("2026-01-02",))
    decision = decided(document({}), "2026-01-04T10:20", known=known)
    assert due_buckets(decision) == ["01-01", "01-03"]
    waiting = next(wait for wait in decision.waiting if wait.bucket == at("2026-01-02"))
    assert waiting.reason == "waits for data until 2026-02-01 00:00 UTC"
    assert waiting.until == at("2026-01-04T11:00")
    late = decided(document({}), "2026-02-01T00:01", known=known)
    assert at("2026-01-02") not in {wait.bucket for wait in late.waiting}


def test_the_grace_is_inclusive() -> None:
    known = facts("2026-01-01", 60)
    assert due_buckets(decided(document({}), "2026-02-10T00:00", known=known))[0] == "01-11"
    assert due_buckets(decided(document({}), "2026-02-10T00:01", known=known))[0] == "01-12"


def test_a_backfill_lifts_the_grace_and_nothing_else() -> None:
    known = facts("2026-01-01", 60)
    picky = document(
        {"schedule": {"type": "fixed", "cadence": "weekly"}, "backfillGracePeriodDuration": "P1D"}
    )
    found = due_buckets(decided(picky, "2026-02-10T00:00", known=known, backfill=True))
    assert found == ["01-05", "01-12", "01-19", "01-26", "02-02", "02-09"]


def test_outside_the_grace_is_said_where_it_was_asked_for() -> None:
    asked = TimeRange(at("2026-01-01"), at("2026-01-03"))
    decision = decided(document({}), "2026-02-10T00:00", known=facts("2026-01-01", 60), window=asked)
    assert reasons(decision) == {
        "01-01": "outside the backfill grace of 30 days",
        "01-02": "outside the backfill grace of 30 days",
    }


@pytest.mark.parametrize(
    ("granularity", "days"), [("PT15M", 30), ("hourly", 30), ("daily", 30), ("weekly", 190), ("monthly", 190)]
)
def test_default_grace(granularity: str, days: int) -> None:
    assert default_grace(Granularity(granularity)).length == timedelta(days=days)


def test_the_cool_down_waits_for_the_newest_upload_to_be_old_enough() -> None:
    cooling = document({"batchCoolDownPeriod": "PT6H"})
    known = facts("2026-01-01", 1, uploaded=timedelta(hours=25))
    assert (
        reasons(decided(cooling, "2026-01-02T06:59", known=known))["01-01"]
        == "cools down until 2026-01-02 07:00 UTC"
    )
    assert due_buckets(decided(cooling, "2026-01-02T07:00", known=known)) == ["01-01"]


def test_the_schedule_is_about_the_data_and_not_about_the_clock() -> None:
    weekdays = document({"schedule": {"type": "cron", "cron": "0 0 * * 1-5"}})
    # 2026-01-03 is a Saturday; its data is over on Sunday, and so is Friday's on Saturday
    assert due_buckets(decided(weekdays, "2026-01-05T12:00")) == ["01-01", "01-02"]
    assert reasons(decided(weekdays, "2026-01-05T12:00"))["01-04"] == (
        "cron schedule '0 0 * * 1-5' does not run on this bucket"
    )


def test_a_coarser_cadence_takes_the_first_bucket_of_each_period() -> None:
    weekly = document({"schedule": {"type": "fixed", "cadence": "weekly"}})
    decision = decided(weekly, "2026-01-09T00:00")
    assert due_buckets(decision) == ["01-05"]
    assert reasons(decision) == {"01-08": "schedule runs Mondays only"} | {
        key: reason for key, reason in reasons(decision).items() if key == "01-09"
    }


def test_exclusion_ranges_of_the_schedule_hold() -> None:
    sale = {"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
    excluding = document({"schedule": {"type": "fixed", "cadence": "daily", "exclusionRanges": [sale]}})
    asked = TimeRange(at("2026-01-01"), at("2026-01-04"))
    decision = decided(excluding, "2026-01-05T00:00", window=asked)
    assert due_buckets(decision) == ["01-01", "01-03"]
    assert reasons(decision) == {"01-02": "excluded by the schedule's exclusionRanges"}


def test_what_is_calculated_is_not_due_again_until_the_analyzer_changes() -> None:
    first = document({})
    version = analyzer_version(first.analyzers[0])
    done = {("mean-below-ten", version, at("2026-01-01"))}
    assert due_buckets(decided(first, "2026-01-03T00:00", calculated=done)) == ["01-02"]
    edited = document({"config": {"type": "fixed", "metric": "mean", "upper": 11}})
    assert due_buckets(decided(edited, "2026-01-03T00:00", calculated=done)) == ["01-01", "01-02"]
    renamed = document({"displayName": "Another name"})
    assert due_buckets(decided(renamed, "2026-01-03T00:00", calculated=done)) == ["01-02"]


def test_a_disabled_analyzer_says_so_once() -> None:
    decision = decided(document({"disabled": True}), "2026-01-09T00:00")
    assert not decision.due
    assert reasons(decision) == {"": "is disabled"}


def test_before_any_data_has_come_everything_waits() -> None:
    decision = decided(document({}), "2026-01-09T00:00", known=BatchFacts())
    assert reasons(decision) == {"": "waits for the dataset's first data"}


def test_missing_datapoint_is_due_without_data_once_the_bucket_is_over() -> None:
    missing = document({"config": {"type": "fixed", "metric": "missingDatapoint", "upper": 0}})
    known = facts("2026-01-01", 4, without=("2026-01-03",))
    assert due_buckets(decided(missing, "2026-01-05T00:00", known=known)) == [
        "01-01",
        "01-02",
        "01-03",
        "01-04",
    ]


def test_missing_datapoint_of_a_partial_batch_waits_for_its_end() -> None:
    missing = document(
        {"config": {"type": "fixed", "metric": "missingDatapoint", "upper": 0}},
        allowPartialTargetBatches=True,
    )
    known = facts("2026-01-01", 1)
    assert due_buckets(decided(missing, "2026-01-02T12:00", known=known)) == ["01-01"]
    assert due_buckets(decided(missing, "2026-01-03T00:00", known=known)) == ["01-01", "01-02"]


def test_seconds_since_last_upload_is_due_on_the_newest_bucket_only_whatever_has_come() -> None:
    silence = document(
        {
            "config": {"type": "fixed", "metric": "secondsSinceLastUpload", "upper": 86400},
            "dataReadinessDuration": "P7D",
        }
    )
    assert due_buckets(decided(silence, "2026-01-20T08:00", known=facts("2026-01-01", 3))) == ["01-19"]


def test_buckets_before_the_first_data_are_named_where_they_are_asked_for() -> None:
    asked = TimeRange(at("2025-12-31"), at("2026-01-02"))
    decision = decided(document({}), "2026-01-05T00:00", window=asked)
    assert due_buckets(decision) == ["01-01"]
    assert reasons(decision) == {"12-31": "before the dataset's first data (2026-01-01 00:00 UTC)"}


def test_due_is_sorted_by_bucket_and_names_the_version() -> None:
    two = document({}, {"id": "another-analyzer"})
    decision = decided(two, "2026-01-03T00:00")
    assert [(due.bucket.day, due.analyzer_id) for due in decision.due] == [
        (1, "another-analyzer"),
        (1, "mean-below-ten"),
        (2, "another-analyzer"),
        (2, "mean-below-ten"),
    ]
    assert decision.due[1] == Due(at("2026-01-01"), "mean-below-ten", analyzer_version(two.analyzers[1]))


def test_a_long_history_costs_no_more_than_the_grace() -> None:
    known = facts("1990-01-01", 13_000)
    decision = decided(document({}), "2025-01-01T00:00", known=known)
    assert len(decision.due) == 30


def test_the_version_depends_on_what_decides_the_verdict_only() -> None:
    def version(**given: Any) -> str:
        return analyzer_version(document(analyzer(**given)).analyzers[0])

    assert version(displayName="x", tags=["y"], disabled=True, dataReadinessDuration="P2D") == version()
    assert version(targetSize=2) != version()
    assert version(schedule={"type": "fixed", "cadence": "weekly"}) != version()
    assert version(targetMatrix={"type": "dataset"}) != version()


def test_a_bucket_whose_profiles_retention_has_removed_is_closed_for_good() -> None:
    known = replace(facts("2026-01-01", 10), retired=(at("2026-01-01"), at("2026-01-02")))
    missing = document({"config": {"type": "fixed", "metric": "missingDatapoint", "upper": 0}})
    asked = TimeRange(at("2026-01-01"), at("2026-01-04"))
    decision = decided(missing, "2026-01-09T00:00", known=known, window=asked)
    assert due_buckets(decision) == ["01-03"]
    assert reasons(decision) == dict.fromkeys(["01-01", "01-02"], "retention has removed its profiles")


def test_a_bucket_that_would_be_compared_with_removed_profiles_is_closed() -> None:
    config = {"type": "stddev", "metric": "mean", "baseline": {"type": "TrailingWindow", "size": 3}}
    known = replace(facts("2026-01-01", 10), retired=(at("2026-01-02"),))
    asked = TimeRange(at("2026-01-05"), at("2026-01-07"))
    decision = decided(document({"config": config}), "2026-01-12T00:00", known=known, window=asked)
    assert due_buckets(decision) == ["01-06"]
    assert reasons(decision) == {
        "01-05": "retention has removed profiles that it would be compared with (2026-01-02 00:00 UTC)"
    }


def test_nobody_misses_a_bucket_that_a_person_has_deleted() -> None:
    known = replace(facts("2026-01-01", 10, without=("2026-01-04",)), deleted=frozenset({at("2026-01-04")}))
    missing = document({"config": {"type": "fixed", "metric": "missingDatapoint", "upper": 0}})
    assert "01-04" not in due_buckets(decided(missing, "2026-01-09T00:00", known=known))
