"""When a monitor speaks, simulated: data that is late, a daemon that sleeps, and a memory that holds what is not told."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.alerting.speaking import MADE_UP_FOR, Progress, assigned, last_passed
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.timegrid import Granularity, TimeRange

START = datetime(2026, 3, 1, tzinfo=UTC)  # a Sunday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def document(schedule: dict[str, Any], granularity: str = "hourly") -> MonitorDocument:
    data = {
        "orgId": "org-0",
        "datasetId": "clicks",
        "granularity": granularity,
        "analyzers": [
            {
                "id": "volume",
                "schedule": {"type": "fixed", "cadence": granularity},
                "targetMatrix": {"type": "dataset", "segments": []},
                "config": {"type": "fixed", "metric": "shape_row_count", "lower": 5},
            }
        ],
        "monitors": [{"id": "monitor", "analyzerIds": ["volume"], "schedule": schedule, "actions": []}],
    }
    return parse_document(data, source="test").document


class Daemon:
    """One that judges what has arrived, holds anomalies back, and tells of them when their moment has come."""

    def __init__(self, made: MonitorDocument, arrivals: dict[datetime, datetime], bad: set[datetime]) -> None:
        self.document, self.arrivals, self.bad = made, arrivals, bad
        self.judged: set[datetime] = set()
        self.held: dict[str, datetime] = {}
        self.told_to: datetime | None = None
        self.told: list[tuple[datetime, datetime, list[datetime]]] = []

    def wake(self, now: datetime, *, judges: bool = True) -> None:
        here = {bucket for bucket, arrival in self.arrivals.items() if arrival <= now} - self.judged
        if judges:
            self.judged |= here
            self.held |= {bucket.isoformat(): bucket for bucket in here & self.bad}
        self._speak(now, at_hand=set() if judges else here)

    def _speak(self, now: datetime, at_hand: set[datetime]) -> None:
        (monitor,) = self.document.monitors

        def progress(_: TimeRange) -> Progress:
            return Progress({("volume", one) for one in self.judged}, min(self.arrivals), at_hand)

        passed = last_passed(self.document, monitor, progress, told_to=self.told_to, now=now)
        if passed is None:
            return
        granularity = self.document.granularity
        assert granularity is not None
        for moment, names in assigned(
            monitor, self.held, granularity=granularity, told_to=self.told_to, passed=passed
        ):
            self.told.append((now, moment, [self.held.pop(name) for name in names]))
        self.told_to = passed


SCHEDULES = [
    {"type": "fixed", "cadence": "daily"},
    {"type": "fixed", "cadence": "hourly"},
    {"type": "fixed", "cadence": "weekly"},
    {"type": "cron", "cron": "0 9 * * 1-5"},
    {"type": "cron", "cron": "30 0,12 * * *"},
]


@given(
    schedule=st.sampled_from(SCHEDULES),
    lateness=st.lists(st.integers(0, 60), min_size=72, max_size=72),
    bad=st.sets(st.integers(0, 71)),
    ticks=st.lists(st.tuples(st.integers(0, 7 * 24 * 4), st.booleans()), max_size=30),
)
def test_everything_is_told_once_and_never_before_its_moment(
    schedule: dict[str, Any], lateness: list[int], bad: set[int], ticks: list[tuple[int, bool]]
) -> None:
    buckets = [START + number * HOUR for number in range(72)]
    arrivals = {bucket: bucket + HOUR + late * HOUR for bucket, late in zip(buckets, lateness, strict=True)}
    daemon = Daemon(document(schedule), arrivals, {buckets[number] for number in bad})
    (monitor,) = daemon.document.monitors

    for quarter, judges in sorted(ticks):
        daemon.wake(START + quarter * HOUR / 4, judges=judges)
    for later in (10, 11, 20, 40):
        daemon.wake(START + later * DAY)

    told = Counter(bucket for _, _, group in daemon.told for bucket in group)
    assert told == Counter(buckets[number] for number in bad)
    assert len({moment for _, moment, _ in daemon.told}) == len(daemon.told)  # one digest for each moment
    for now, moment, group in daemon.told:
        assert moment <= now
        assert monitor.schedule.next_moment(moment) == moment
        assert all(bucket + HOUR <= moment for bucket in group)


@given(bad=st.sets(st.integers(0, 167)), sleeps=st.tuples(st.integers(30, 90), st.integers(0, 80)))
def test_with_data_in_time_each_day_has_one_digest_with_all_of_it_also_after_a_sleep(
    bad: set[int], sleeps: tuple[int, int]
) -> None:
    buckets = [START + number * HOUR for number in range(168)]
    daemon = Daemon(
        document({"type": "fixed", "cadence": "daily"}),
        {bucket: bucket + HOUR for bucket in buckets},
        {buckets[number] for number in bad},
    )
    first, length = sleeps
    for hour in range(1, 24 * 9):
        if first < hour <= first + length:
            continue
        now = START + hour * HOUR + timedelta(minutes=5)
        daemon.wake(now, judges=hour != first + length + 1)  # back, and asked before anything is judged
        daemon.wake(now)

    days: dict[datetime, list[datetime]] = {}
    for number in sorted(bad):
        end = START + (number // 24 + 1) * DAY
        days.setdefault(end, []).append(buckets[number])
    assert {moment: group for _, moment, group in daemon.told} == days


def test_more_moments_than_can_be_made_up_for_become_one_digest() -> None:
    buckets = [START + number * HOUR for number in range(24 * 12)]
    daemon = Daemon(
        document({"type": "fixed", "cadence": "daily"}),
        {bucket: bucket + HOUR for bucket in buckets},
        set(buckets[::24]),
    )
    daemon.wake(START + DAY + HOUR)
    daemon.wake(START + 12 * DAY + HOUR)
    assert [len(group) for _, _, group in daemon.told] == [1, 11]
    assert MADE_UP_FOR < 11


def test_a_monitor_that_has_never_spoken_tells_of_a_long_past_at_once() -> None:
    buckets = [START + number * DAY for number in range(100)]
    daemon = Daemon(
        document({"type": "fixed", "cadence": "weekly"}, "daily"),
        {bucket: bucket + DAY for bucket in buckets},
        set(buckets[::3]),
    )
    daemon.wake(START + 100 * DAY)
    ((_, _, group),) = daemon.told
    assert len(group) + len(daemon.held) == len(buckets[::3])


@pytest.mark.parametrize(
    ("schedule", "bucket_end", "moment"),
    [
        ({"type": "fixed", "cadence": "daily"}, "2026-03-01T23:00", "2026-03-02T00:00"),
        ({"type": "fixed", "cadence": "daily"}, "2026-03-02T00:00", "2026-03-02T00:00"),
        ({"type": "fixed", "cadence": "weekly"}, "2026-03-02T01:00", "2026-03-09T00:00"),
        ({"type": "fixed", "cadence": "monthly"}, "2026-03-02T01:00", "2026-04-01T00:00"),
        ({"type": "cron", "cron": "0 9 * * 1-5"}, "2026-03-06T09:00", "2026-03-06T09:00"),
        ({"type": "cron", "cron": "0 9 * * 1-5"}, "2026-03-06T10:00", "2026-03-09T09:00"),
    ],
)
def test_a_bucket_is_told_at_the_first_moment_after_its_end(
    schedule: dict[str, Any], bucket_end: str, moment: str
) -> None:
    (monitor,) = document(schedule).monitors
    end = datetime.fromisoformat(f"{bucket_end}+00:00")
    told = assigned(
        monitor,
        {"one": end - HOUR},
        granularity=Granularity.HOURLY,
        told_to=START - 30 * DAY,
        passed=START + 60 * DAY,
    )
    assert told == [(datetime.fromisoformat(f"{moment}+00:00"), ["one"])]
