from __future__ import annotations

from datetime import UTC, datetime

import pytest

from monitoring_pipeline.store import audit, schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.digests import digests, mark_delivered, pending_deliveries, record_digest
from monitoring_pipeline.store.incidents import incidents, save_incidents
from monitoring_pipeline.store.profiles import batches
from monitoring_pipeline.store.results import calculated, results, write_results
from monitoring_pipeline.store.retention import Limits, Retired, forgotten_buckets, plan, retire
from monitoring_pipeline.store.rollups import RETIRED, Block, roll_up
from monitoring_pipeline.timegrid import Granularity, TimeRange, to_micros
from monitoring_pipeline_tests.store.stored_days import (
    DAY,
    HOUR,
    MONDAY,
    count,
    held,
    some_profile,
    write,
    write_days,
)

DAILY, HOURLY = Granularity.DAILY, Granularity.HOURLY
NOW = datetime(2026, 8, 1, tzinfo=UTC)
APRIL, MAY = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)


def _retire(
    store: Store,
    ref: DatasetRef,
    limits: Limits,
    *,
    granularity: Granularity = DAILY,
    keep: tuple[TimeRange, ...] = (),
) -> Retired:
    planned = plan(store, ref, granularity, limits, keep=keep)
    done = retire(store, ref, granularity, limits, keep=keep, now=NOW, actor="ada")
    assert done == planned
    return done


def _base(until: datetime) -> Limits:
    return Limits({"base": until})


def test_days_go_when_their_week_and_their_month_are_old_enough(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 70)
    roll_up(store, ref, DAILY, now=NOW)
    done = _retire(store, ref, _base(MAY))
    # The last week that is over by May ends on 27 April, and April ends with it.
    expected = [MONDAY + day * DAY for day in range(56)]
    assert expected[-1] == datetime(2026, 4, 26, tzinfo=UTC)
    assert done.profiles == {"base": expected}
    assert held(store, ref) == [MONDAY + day * DAY for day in range(56, 70)]
    assert len(held(store, ref, "week")) == 10
    assert held(store, ref, "month") == [MONDAY - DAY, APRIL, MAY]


def test_a_retired_bucket_keeps_its_batch_and_is_remembered(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 40)
    roll_up(store, ref, DAILY, now=NOW)
    before = batches(store, ref)
    _retire(store, ref, _base(APRIL))
    assert batches(store, ref) == before
    assert forgotten_buckets(store, ref) == dict.fromkeys([MONDAY + day * DAY for day in range(28)], RETIRED)


def test_nothing_goes_that_no_roll_up_holds(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 40)
    done = _retire(store, ref, _base(APRIL))
    assert (done.profiles, done.unrolled) == ({}, 28)
    roll_up(store, ref, DAILY, now=NOW)
    write(store, ref, MONDAY + 10 * DAY, some_profile(99), fingerprint="late")
    done = _retire(store, ref, _base(APRIL))
    assert (done.profiles, done.unrolled) == ({}, 28)  # March is dirty, and all of the days are in it
    assert len(held(store, ref)) == 40


def test_what_analyzers_look_at_stays(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 40)
    roll_up(store, ref, DAILY, now=NOW)
    keep = (TimeRange(MONDAY + 3 * DAY, MONDAY + 5 * DAY), TimeRange(MONDAY + 20 * DAY, NOW))
    done = _retire(store, ref, _base(APRIL), keep=keep)
    assert len(done.profiles["base"]) == 18
    assert done.needed == 10
    assert {MONDAY + 3 * DAY, MONDAY + 4 * DAY} <= {*held(store, ref)}


def test_hours_days_and_weeks_go_one_after_the_other(store: Store, ref: DatasetRef) -> None:
    for day in range(35):
        for hour in (0, 12):
            write(store, ref, MONDAY + day * DAY + hour * HOUR, some_profile(day))
    roll_up(store, ref, HOURLY, now=NOW)
    limits = Limits({"base": APRIL + 2 * DAY, "day": APRIL, "week": MONDAY + 7 * DAY})
    done = _retire(store, ref, limits, granularity=HOURLY)
    assert len(done.profiles["base"]) == 2 * 32  # until 2 April
    assert done.profiles["day"] == [MONDAY + day * DAY for day in range(28)]  # whole weeks of whole months
    assert done.profiles["week"] == [MONDAY]
    assert held(store, ref, "week") == [MONDAY + week * 7 * DAY for week in range(1, 5)]
    assert held(store, ref, "month") == [MONDAY - DAY, APRIL]


def test_a_coarser_block_stays_while_something_finer_is_left_in_it(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 14)
    roll_up(store, ref, DAILY, now=NOW)
    done = _retire(store, ref, Limits({"base": MONDAY, "week": NOW}))
    assert done.profiles == {}
    done = _retire(store, ref, Limits({"base": NOW, "week": NOW}))
    assert len(done.profiles["base"]) == 14
    assert done.profiles["week"] == [MONDAY, MONDAY + 7 * DAY]


def test_what_has_gone_does_not_go_again(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 40)
    roll_up(store, ref, DAILY, now=NOW)
    assert _retire(store, ref, _base(APRIL)).counts == {"profiles of grain base": 28}
    assert _retire(store, ref, _base(APRIL)).counts == {}
    [entry] = audit.entries(store, "org-0")
    assert (entry.actor, entry.action, entry.moment) == ("ada", "retention", NOW)
    assert entry.details == {"dataset": "lead-scoring", "removed": {"profiles of grain base": 28}}


def test_a_retired_day_that_is_repaired_is_kept_and_its_roll_ups_wait_for_the_others(
    store: Store, ref: DatasetRef
) -> None:
    write_days(store, ref, 40)
    roll_up(store, ref, DAILY, now=NOW)
    _retire(store, ref, _base(APRIL))
    write(store, ref, MONDAY, some_profile(50), fingerprint="repaired")
    assert MONDAY not in forgotten_buckets(store, ref)
    report = roll_up(store, ref, DAILY, now=NOW)
    assert report.made == ()
    assert report.stuck == (Block("week", MONDAY), Block("month", MONDAY - DAY))
    assert "--again" in report.notes("lead-scoring")[0]
    assert _retire(store, ref, _base(APRIL)).unrolled == 1
    for day in range(1, 31):
        write(store, ref, MONDAY + day * DAY, some_profile(day))
    report = roll_up(store, ref, DAILY, now=NOW)
    assert report.stuck == ()
    assert Block("week", MONDAY) in report.made
    assert len(_retire(store, ref, _base(APRIL)).profiles["base"]) == 28


@pytest.mark.parametrize("granularity", [Granularity.WEEKLY, Granularity.MONTHLY])
def test_profiles_without_roll_ups_never_go(store: Store, ref: DatasetRef, granularity: Granularity) -> None:
    write(store, ref, MONDAY, some_profile(1))
    assert _retire(store, ref, Limits({"base": NOW}), granularity=granularity).profiles == {}


def _judge(store: Store, ref: DatasetRef, bucket: datetime) -> None:
    row = {
        "analysis_id": f"{bucket}", "result_id": "r", "run_id": "run", "analyzer_id": "a",
        "analyzer_version": "v", "segment": "", "column": "age", "bucket": to_micros(bucket),
        "created": to_micros(bucket + DAY), "granularity": "daily", "target_level": "column", "metric": "mean",
        "analyzer_type": "fixed", "anomaly_count": 0, "profile_version": 1,
    }  # fmt: skip
    write_results(store, ref, [row], now=bucket + DAY)


def test_verdicts_digests_and_closed_incidents_go_only_when_asked(store: Store, ref: DatasetRef) -> None:
    for day in range(4):
        _judge(store, ref, MONDAY + day * DAY)
        digest = {"dedup_key": f"{day}", "monitor_id": "m"}
        record_digest(store, ref, digest, ["slack"], MONDAY + day * DAY)
    for name, status in (("old", "resolved"), ("open", "open")):
        incident = {"id": name, "title": "t", "severity": 1, "status": status, "start": MONDAY.isoformat(), "end": (MONDAY + DAY).isoformat()}  # fmt: skip
        save_incidents(store, ref, [incident], now=MONDAY)
    for one in pending_deliveries(store, NOW)[1:]:
        mark_delivered(store, one.pk, now=NOW)
    assert _retire(store, ref, Limits()).counts == {}
    done = _retire(store, ref, Limits(results=MONDAY + 2 * DAY))
    assert done.counts == {
        "results": 2,
        "digests": 1,
        "incidents": 1,
    }  # the first digest still waits for its channel
    assert len(results(store, ref)) == 2
    assert [one["id"] for one in incidents(store, ref)] == ["open"]
    assert {one.dedup_key for one in digests(store, ref)} == {"0", "2", "3"}
    assert len(calculated(store, ref)) == 4  # what was judged is not judged again


def test_superseded_profiles_go_by_when_they_were_replaced(store: Store, ref: DatasetRef) -> None:
    for day in (0, 30):
        write(store, ref, MONDAY + day * DAY, some_profile(day))
        write(store, ref, MONDAY + day * DAY, some_profile(99), fingerprint="repaired")
    assert count(store, ref, schema.superseded_batch) == 8
    done = _retire(store, ref, Limits(superseded=MONDAY + 10 * DAY))
    assert done.superseded == 1
    assert count(store, ref, schema.superseded_batch) == 4
    assert count(store, ref, schema.superseded_profile) == 16
    assert held(store, ref) == [MONDAY, MONDAY + 30 * DAY]


def test_a_bucket_that_changes_while_the_others_go_stays(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_days(store, ref, 40)
    roll_up(store, ref, DAILY, now=NOW)
    original = Store.begin
    interrupted: list[int] = []

    def begin(self: Store) -> object:
        if len(interrupted) == 0:
            interrupted.append(1)
            write(self, ref, MONDAY + 20 * DAY, some_profile(77), fingerprint="late")
        return original(self)

    monkeypatch.setattr(Store, "begin", begin)
    retire(store, ref, DAILY, _base(APRIL), now=NOW, actor="ada")
    assert MONDAY + 20 * DAY in held(store, ref)
    assert (
        len(held(store, ref)) == 40
    )  # the change came before the first step, and March was dirty from then on


def test_another_dataset_is_left_alone(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-0", "other")
    for one in (ref, other):
        write_days(store, one, 40)
        roll_up(store, one, DAILY, now=NOW)
    _retire(store, ref, _base(APRIL))
    assert len(held(store, other)) == 40
