"""A virtual clock over arrivals: the same answers as looking at every tick, at the moments that calendars make hard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.analysis.gates import BatchFacts, decide
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.simulation import SimulatedArrival, Simulation, read_arrivals, simulate
from monitoring_pipeline.timegrid import Granularity, TimeRange

ROWS = {"metric": "count", "type": "fixed", "lower": 1}
MISSING = {"metric": "missingDatapoint", "type": "fixed", "upper": 0}
DATASET = {"type": "dataset"}


def document(*analyzers: dict[str, Any], granularity: str = "daily", **more: Any) -> MonitorDocument:
    named = [
        {"id": f"analyzer-{number}", "targetMatrix": DATASET, "config": ROWS} | given
        for number, given in enumerate(analyzers)
    ]
    monitors = [
        {
            "id": f"monitor-{one['id']}",
            "analyzerIds": [one["id"]],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": [],
        }
        for one in named
    ]
    written = {
        "id": "document",
        "schemaVersion": 1,
        "orgId": "org-0",
        "datasetId": "sales",
        "granularity": granularity,
        "analyzers": named,
        "monitors": monitors,
    }
    return parse_document(written | more, source="test").document


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start: str, end: str) -> TimeRange:
    return TimeRange(at(start), at(end))


def punctual(granularity: Granularity, window: TimeRange, delay: timedelta) -> list[SimulatedArrival]:
    """Every bucket of a window arrives `delay` after its end."""
    return [
        SimulatedArrival(granularity.shift(bucket, 1) + delay, bucket, 10)
        for bucket in window.buckets(granularity)
    ]


def moments(found: Simulation) -> dict[datetime, datetime]:
    return {one.bucket: one.at for one in found.analysed}


def test_a_bucket_is_analysed_at_the_first_look_after_its_data_came() -> None:
    found = simulate(
        document({}),
        [SimulatedArrival(at("2026-03-02T02:10:30"), at("2026-03-01"), 5)],
        span("2026-03-01", "2026-03-04"),
    )
    [one] = found.analysed
    assert one.at == at("2026-03-02T02:11")
    assert one.monitors == ("monitor-analyzer-0",)
    assert [waiting.bucket for waiting in found.waiting] == [at("2026-03-02")]


def test_readiness_and_cool_down_hold_back_and_say_so() -> None:
    slow = document({"dataReadinessDuration": "P2D"}, {"batchCoolDownPeriod": "PT6H"})
    found = simulate(
        slow, [SimulatedArrival(at("2026-03-02T01:00"), at("2026-03-01"))], span("2026-03-01", "2026-03-05")
    )
    assert {one.analyzer_id: one.at for one in found.analysed} == {
        "analyzer-0": at("2026-03-03T00:00"),
        "analyzer-1": at("2026-03-02T07:00"),
    }
    assert any(
        "cools down until 2026-03-02 07:00" in reason for one in found.analysed for reason in one.waited
    )


def test_a_bucket_without_data_is_missed_when_the_grace_has_passed_and_the_missing_data_alarm_sees_it_at_once() -> (
    None
):
    watched = document({"backfillGracePeriodDuration": "P5D"}, {"config": MISSING})
    came = [
        one
        for one in punctual(Granularity.DAILY, span("2026-03-01", "2026-03-20"), timedelta(hours=1))
        if one.bucket.day != 4
    ]
    found = simulate(watched, came, span("2026-03-01", "2026-03-20"))
    assert [(one.bucket.day, one.analyzer_id) for one in found.missed] == [(4, "analyzer-0")]
    assert "outside the backfill grace of 5 days" in found.missed[0].reason
    gap = [one for one in found.analysed if one.bucket.day == 4]
    assert [(one.analyzer_id, one.at) for one in gap] == [("analyzer-1", at("2026-03-05T00:00"))]


def test_rows_that_come_after_the_verdict_are_late() -> None:
    came = [
        SimulatedArrival(at("2026-03-02T01:00"), at("2026-03-01"), 100),
        SimulatedArrival(at("2026-03-03T09:00"), at("2026-03-01"), 20),
    ]
    found = simulate(document({}), came, span("2026-03-01", "2026-03-04"))
    [late] = found.late
    assert (late.bucket, late.rows, late.analyzers) == (at("2026-03-01"), 20, ("analyzer-0",))


@pytest.mark.parametrize(
    ("granularity", "window"),
    [
        ("daily", ("2026-03-25", "2026-04-02")),  # Europe's clocks go forward on the 29th
        ("hourly", ("2026-03-28", "2026-03-31")),
        ("hourly", ("2026-10-24", "2026-10-27")),  # and back on the 25th
        ("daily", ("2024-02-27", "2024-03-03")),  # a leap day
        ("daily", ("2100-02-26", "2100-03-03")),  # and none
        ("weekly", ("2026-12-07", "2027-02-01")),  # ISO week 53 holds New Year
        ("monthly", ("2025-10-01", "2026-05-01")),
        ("PT15M", ("2026-12-31", "2027-01-02")),
    ],
)
def test_no_bucket_is_skipped_or_doubled_where_calendars_are_hard(
    granularity: str, window: tuple[str, str]
) -> None:
    grid = Granularity.parse(granularity)
    told = span(*window)
    delay = timedelta(minutes=3)
    found = simulate(
        document({}, granularity=granularity),
        punctual(grid, told, delay),
        TimeRange(told.start, told.end + timedelta(days=1)),
    )
    assert [one.bucket for one in found.analysed] == list(told.buckets(grid))
    assert all(one.at == grid.shift(one.bucket, 1) + delay for one in found.analysed)


def test_a_weekly_analyzer_of_daily_data_sees_mondays_across_new_year() -> None:
    weekly = document({"schedule": {"type": "fixed", "cadence": "weekly"}})
    told = span("2026-12-20", "2027-01-15")
    found = simulate(weekly, punctual(Granularity.DAILY, told, timedelta()), told)
    assert [f"{one.bucket:%Y-%m-%d}" for one in found.analysed] == [
        "2026-12-21",
        "2026-12-28",
        "2027-01-04",
        "2027-01-11",
    ]
    assert not found.missed


def test_a_daemon_that_was_down_for_three_days_catches_up_at_once() -> None:
    told, outage = span("2026-03-01", "2026-03-12"), span("2026-03-04T12:00", "2026-03-07T12:00")
    found = moments(
        simulate(document({}), punctual(Granularity.DAILY, told, timedelta(hours=1)), told, down=[outage])
    )
    assert {day: found[at(f"2026-03-{day:02}")] for day in (3, 4, 5, 6)} == {
        3: at("2026-03-04T01:00"),
        4: outage.end,
        5: outage.end,
        6: at("2026-03-07T12:00"),
    }


def test_clocks_that_jump_delay_but_never_repeat() -> None:
    """Files whose upload time lies before their bucket, or in another year, are judged once, when they can be."""
    came = [
        SimulatedArrival(at("2025-01-01"), at("2026-03-02"), 1),
        SimulatedArrival(at("2026-03-05T00:00:30"), at("2026-03-01"), 1),
        SimulatedArrival(at("2027-01-01"), at("2026-03-03"), 1),
    ]
    found = moments(simulate(document({}), came, span("2026-03-01", "2026-03-10")))
    assert found == {at("2026-03-02"): at("2026-03-03"), at("2026-03-01"): at("2026-03-05T00:01")}


def test_an_analyzer_about_others_runs_when_they_have() -> None:
    both = document(
        {"id": "one"},
        {"id": "two", "batchCoolDownPeriod": "PT2H"},
        {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["one", "two"]}},
    )
    found = simulate(
        both, [SimulatedArrival(at("2026-03-02T01:00"), at("2026-03-01"))], span("2026-03-01", "2026-03-03")
    )
    assert {one.analyzer_id: one.at.hour for one in found.analysed} == {"one": 1, "two": 3, "both": 3}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_walking_by_events_says_what_looking_at_every_tick_says(data: st.DataObject) -> None:
    partial = data.draw(st.booleans())
    watched = document(
        {"dataReadinessDuration": data.draw(st.sampled_from(["PT1H", "P1D", "P2DT5H"]))},
        {
            "batchCoolDownPeriod": data.draw(st.sampled_from(["PT1H", "P1DT3H"])),
            "backfillGracePeriodDuration": data.draw(st.sampled_from(["P2D", "P4D"])),
        },
        {
            "config": MISSING,
            "schedule": data.draw(
                st.sampled_from(
                    [{"type": "cron", "cron": "0 0 * * 1-5"}, {"type": "fixed", "cadence": "daily"}]
                )
            ),
        },
        {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["analyzer-0", "analyzer-1"]}},
        allowPartialTargetBatches=partial,
    )
    window, tick = span("2026-02-26", "2026-03-08"), timedelta(hours=3)
    came = [
        SimulatedArrival(window.start + timedelta(hours=hours), window.start + timedelta(days=day), rows)
        for hours, day, rows in data.draw(
            st.lists(
                st.tuples(st.integers(0, 230), st.integers(0, 8), st.integers(1, 9)), min_size=1, max_size=12
            )
        )
    ]
    found = simulate(watched, came, window, tick=tick)
    assert {(one.bucket, one.analyzer_id): one.at for one in found.analysed} == looking(
        watched, came, window, tick
    )


def looking(
    watched: MonitorDocument, came: Sequence[SimulatedArrival], window: TimeRange, tick: timedelta
) -> dict[tuple[datetime, str], datetime]:
    """The plain way: ask for everything at every tick."""
    done: set[tuple[str, str, datetime]] = set()
    found: dict[tuple[datetime, str], datetime] = {}
    now = window.start
    while now < window.end:
        here = [one for one in sorted(came) if one.at <= now]
        rows = {
            bucket: sum(one.rows for one in here if one.bucket == bucket)
            for bucket in {one.bucket for one in here}
        }
        facts = BatchFacts(rows, {one.bucket: one.at for one in here}, min(rows, default=None))
        while due := decide(watched, facts=facts, calculated=done, now=now).due:
            for one in due:
                done.add((one.analyzer_id, one.analyzer_version, one.bucket))
                found[one.bucket, one.analyzer_id] = now
        now += tick
    return found


def test_arrivals_are_read_from_csv_and_json_lines(tmp_path: Path) -> None:
    expected = [SimulatedArrival(at("2026-03-02T01:00"), at("2026-03-01"), 7)]
    table, lines = tmp_path / "a.csv", tmp_path / "a.jsonl"
    table.write_text("at,bucket,rows\n2026-03-02T01:00,2026-03-01,7\n")
    lines.write_text('{"at": "2026-03-02T02:00+01:00", "bucket": "2026-03-01", "rows": 7}\n')
    assert read_arrivals(table) == read_arrivals(lines) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,what\n1,2\n", "needs the columns at and bucket"),
        ("at,bucket,rows\n2026-03-02,soon,1\n", "line 2: 'soon' is not an ISO-8601 time"),
        ("at,bucket,rows\n2026-03-02,2026-03-01,-4\n", "line 2: rows are -4"),
        ('{"at": "2026-03-02"}', "line 1: 'bucket' is missing"),
        ("{nonsense", "line 1 is not JSON"),
        ("", "found none"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "arrivals.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_arrivals(path)


def test_a_file_that_is_not_there_is_a_mistake_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        read_arrivals(tmp_path / "none.csv")
