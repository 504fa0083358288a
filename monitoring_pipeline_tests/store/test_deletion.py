from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.store import audit, rollups, schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, find_dataset, register_dataset, segments
from monitoring_pipeline.store.deletion import count_dataset, count_range, delete_dataset, delete_range
from monitoring_pipeline.store.digests import digests, record_digest
from monitoring_pipeline.store.documents import apply_document
from monitoring_pipeline.store.files import known_files, save_files
from monitoring_pipeline.store.incidents import incidents, save_incidents
from monitoring_pipeline.store.profiles import batches, write_reference
from monitoring_pipeline.store.results import Resting, calculated, results, write_results
from monitoring_pipeline.store.retention import Limits, forgotten_buckets, retire
from monitoring_pipeline.store.rollups import DELETED, Block, roll_up
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


def _day(number: int) -> datetime:
    return MONDAY + number * DAY


def _days(first: int, end: int) -> TimeRange:
    return TimeRange(_day(first), _day(end))


def _delete(store: Store, ref: DatasetRef, window: TimeRange, *, granularity: Granularity = DAILY) -> int:
    counted = count_range(store, ref, granularity, window)
    gone = delete_range(store, ref, granularity, window, actor="ada", now=NOW)
    assert gone == counted
    return len(gone.buckets)


def _judge(store: Store, ref: DatasetRef, day: int) -> None:
    row = {
        "analysis_id": f"{day}", "result_id": "r", "run_id": f"run {day}", "analyzer_id": "a",
        "analyzer_version": "v", "segment": "", "column": "age", "bucket": to_micros(_day(day)),
        "created": to_micros(_day(day) + DAY), "granularity": "daily", "target_level": "column", "metric": "mean",
        "analyzer_type": "stddev", "anomaly_count": 1, "profile_version": 1,
    }  # fmt: skip
    write_results(store, ref, [row], now=_day(day + 1))
    period = {"start": _day(day).isoformat(), "end": _day(day + 1).isoformat()}
    digest = {"dedup_key": f"{day}", "monitor_id": "m", "period": period}
    record_digest(store, ref, digest, ["slack"], _day(day + 1))
    incident = {"id": f"{day}", "title": "t", "severity": 1, "status": "open", **period}
    save_incidents(store, ref, [incident], now=_day(day + 1))


def test_a_range_goes_with_all_that_derives_from_it_and_nothing_else(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 14)
    write(store, ref, _day(3), some_profile(99), fingerprint="repaired")
    for day in range(14):
        _judge(store, ref, day)
    write_reference(store, ref, "reference", some_profile(1), NOW)
    save_files(store, ref, {"a.parquet": {"size": 1}})
    assert _delete(store, ref, _days(2, 5)) == 3
    left = [_day(day) for day in range(14) if not 2 <= day < 5]
    assert held(store, ref) == left
    assert [one.bucket for one in batches(store, ref)] == left
    assert len(results(store, ref, state=None)) == 11
    assert len(calculated(store, ref)) == 11
    assert {one["id"] for one in incidents(store, ref)} == {str(day) for day in range(14) if not 2 <= day < 5}
    assert len(digests(store, ref)) == 11
    assert count(store, ref, schema.superseded_profile) == count(store, ref, schema.superseded_batch) == 0
    assert forgotten_buckets(store, ref) == {_day(day): DELETED for day in (2, 3, 4)}
    assert known_files(store, ref) == {"a.parquet": {"size": 1}}
    assert count(store, ref, schema.reference_profile) > 0
    with store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.delivery)).scalar_one() == 11


def test_a_deletion_is_in_the_audit_table_with_who_and_how_much(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 3)
    _delete(store, ref, _days(0, 2))
    [entry] = audit.entries(store, "org-0")
    assert (entry.actor, entry.action, entry.moment) == ("ada", "delete range", NOW)
    assert entry.details["dataset"] == "lead-scoring"
    assert entry.details["buckets"] == 2
    removed = entry.details["removed"]
    assert isinstance(removed, dict)
    assert removed["profiles of columns"] == 2 * 4 * 4  # three regions and all data; three columns and itself
    assert _delete(store, ref, _days(0, 2)) == 0
    assert len(audit.entries(store, "org-0")) == 1


def test_roll_ups_are_made_again_without_what_was_deleted(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 14)
    roll_up(store, ref, DAILY, now=NOW)
    _delete(store, ref, _days(5, 9))
    assert (held(store, ref, "week"), held(store, ref, "month")) == ([], [])
    report = roll_up(store, ref, DAILY, now=NOW)
    assert report.made == (Block("week", _day(0)), Block("week", _day(7)), Block("month", _day(-1)))
    with store.read() as connection:
        found = connection.execute(sa.select(schema.rollup.c.batches).order_by(schema.rollup.c.grain.desc(), schema.rollup.c.bucket))  # fmt: skip
        assert list(found.scalars()) == [5, 5, 10]
    assert roll_up(store, ref, DAILY, now=NOW).made == ()


def test_a_block_all_of_whose_buckets_were_deleted_is_gone(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 14)
    roll_up(store, ref, DAILY, now=NOW)
    _delete(store, ref, _days(0, 14))
    assert roll_up(store, ref, DAILY, now=NOW).made == ()
    assert count(store, ref, schema.rollup) == count(store, ref, schema.profile) == 0


def test_a_bucket_that_is_written_again_is_no_longer_deleted(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 7)
    _delete(store, ref, _days(0, 1))
    write(store, ref, _day(0), some_profile(0))
    assert forgotten_buckets(store, ref) == {}
    assert batches(store, ref)[0].version == 1


def test_segments_that_only_the_deleted_buckets_had_are_forgotten(store: Store, ref: DatasetRef) -> None:
    whole = some_profile(0)
    write(store, ref, _day(0), whole)
    no_asia = {key: rows for key, rows in whole.rows.items() if key != "region=ASIA"}
    write(store, ref, _day(1), DatasetProfile(no_asia, {key: whole.columns[key] for key in no_asia}))
    _delete(store, ref, _days(0, 1))
    assert segments(store, ref) == ["", "region=EU", "region=US"]


def test_verdicts_that_rest_on_what_was_deleted_become_stale(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 7)
    for day in range(7):
        _judge(store, ref, day)
    resting = [Resting(ref, "a", _days(3, 5))]
    delete_range(store, ref, DAILY, _days(2, 3), resting=resting, actor="ada", now=NOW)
    stale = {str(row["analysis_id"]) for row in results(store, ref, stale_only=True)}
    assert stale == {"3", "4"}


@pytest.mark.parametrize("moment", [MONDAY + 12 * HOUR, MONDAY + 1 * HOUR])
def test_a_range_that_cuts_a_bucket_is_refused(store: Store, ref: DatasetRef, moment: datetime) -> None:
    write_days(store, ref, 2)
    with pytest.raises(UsageError, match=r"inside a bucket.*2026-03-02T00:00 or 2026-03-03T00:00"):
        count_range(store, ref, DAILY, TimeRange(moment, _day(2)))


def _retired_until(store: Store, ref: DatasetRef, until: datetime, granularity: Granularity) -> None:
    roll_up(store, ref, granularity, now=NOW)
    retire(store, ref, granularity, Limits({"base": until}), now=NOW, actor="ada")


def test_a_range_that_only_roll_ups_know_goes_by_whole_months(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 100, first=datetime(2026, 2, 1, tzinfo=UTC))
    _retired_until(store, ref, MAY, DAILY)
    march = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="--from 2026-03-01 --to 2026-04-01"):
        count_range(store, ref, DAILY, _days(5, 7))
    assert len(held(store, ref, "week")) == 16
    assert _delete(store, ref, TimeRange(march, APRIL)) == 31
    roll_up(store, ref, DAILY, now=NOW)
    assert held(store, ref, "month") == [datetime(2026, 2, 1, tzinfo=UTC), APRIL, MAY]
    # Weeks that only the months tell of now are not there; nothing waits for them either.
    assert len(held(store, ref, "week")) == 16 - 6
    assert roll_up(store, ref, DAILY, now=NOW).stuck == ()


def test_days_whose_hours_are_gone_can_be_deleted_day_by_day(store: Store, ref: DatasetRef) -> None:
    for day in range(14):
        for hour in (0, 12):
            write(store, ref, _day(day) + hour * HOUR, some_profile(day))
    _retired_until(store, ref, NOW, HOURLY)
    assert held(store, ref) == []
    assert _delete(store, ref, _days(3, 4), granularity=HOURLY) == 2
    report = roll_up(store, ref, HOURLY, now=NOW)
    assert report.made == (Block("week", _day(0)), Block("month", _day(-1)))
    assert len(held(store, ref, "day")) == 13
    with pytest.raises(UsageError, match="whole months"):
        count_range(store, ref, HOURLY, TimeRange(_day(5), _day(5) + 3 * HOUR))


def test_a_roll_up_that_was_read_before_a_deletion_is_not_written_after_it(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_days(store, ref, 7)
    merged = rollups.merged_rows
    waiting: list[object] = []

    def slowly(*arguments: object) -> list[object]:
        waiting.append(1)
        return list(merged(*arguments))  # pyright: ignore[reportArgumentType]

    begin = Store.begin

    def begin_late(self: Store) -> object:
        if waiting == [1]:
            waiting.append(2)
            delete_range(self, ref, DAILY, _days(0, 7), actor="ada", now=NOW)
        return begin(self)

    monkeypatch.setattr(rollups, "merged_rows", slowly)
    monkeypatch.setattr(Store, "begin", begin_late)
    assert roll_up(store, ref, DAILY, now=_day(7)).made == ()
    assert count(store, ref, schema.profile) == 0


def test_a_whole_dataset_goes_and_the_audit_entry_stays(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-0", "other")
    for one in (ref, other):
        write_days(store, one, 8)
        _judge(store, one, 1)
        apply_document(store, one, "monitors", {"id": "d"}, author="ada", origin="file", now=NOW)
        roll_up(store, one, DAILY, now=NOW)
    counted = count_dataset(store, ref)
    assert counted.counts["verdicts"] == counted.counts["incidents"] == 1
    assert delete_dataset(store, ref, actor="ada", now=NOW) == counted
    assert find_dataset(store, "org-0", "lead-scoring") is None
    with store.read() as connection:
        for table in schema.metadata.sorted_tables:
            if "dataset" in table.c:
                query = sa.select(sa.func.count()).select_from(table).where(table.c.dataset == ref.pk)
                assert connection.execute(query).scalar_one() == 0, table.name
    assert count_dataset(store, other).counts == counted.counts
    [entry] = audit.entries(store, "org-0")
    assert (entry.action, entry.details["dataset"], entry.details["buckets"]) == (
        "delete dataset",
        "lead-scoring",
        8,
    )
