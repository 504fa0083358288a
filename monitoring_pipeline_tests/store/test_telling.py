"""Telling of a run: once, all of it or nothing, and one after the other."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.digests import digests
from monitoring_pipeline.store.incidents import incidents
from monitoring_pipeline.store.results import untold_runs, write_results
from monitoring_pipeline.store.telling import Telling, tell_run
from monitoring_pipeline.timegrid import TimeRange, to_micros

NOW = datetime(2026, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = TimeRange(NOW - 30 * DAY, NOW)


def found_by(store: Store, ref: DatasetRef, *run_ids: str) -> None:
    """Runs that have left a result each."""
    for number, run_id in enumerate(run_ids, start=1):
        row = {
            "analysis_id": run_id, "result_id": run_id, "run_id": run_id, "analyzer_id": "a",
            "analyzer_version": "v", "segment": "", "column": "", "bucket": to_micros(NOW - number * DAY),
            "created": to_micros(NOW), "granularity": "daily", "target_level": "dataset", "metric": "count",
            "analyzer_type": "fixed", "anomaly_count": 1, "profile_version": 1,
        }  # fmt: skip
        write_results(store, ref, [row], now=NOW + number * DAY)


def saying(*days: int, digest: str) -> Telling:
    """One incident that has lasted so many days, and one digest."""
    incident = {
        "id": "i", "title": "t", "severity": 1, "status": "open", "days": sorted(days),
        "start": (NOW - 20 * DAY).isoformat(), "end": NOW.isoformat(),
    }  # fmt: skip
    return Telling([incident], (), [({"dedup_key": digest, "monitor_id": "m"}, ["slack"])])


def test_a_run_is_told_once(store: Store, ref: DatasetRef) -> None:
    found_by(store, ref, "r")
    calls = [
        tell_run(store, ref, "r", lambda _, n=n: saying(n, digest=f"k{n}"), window=WINDOW, now=NOW)
        for n in range(2)
    ]
    assert calls == [{"k0"}, set()]
    assert untold_runs(store, ref) == []
    assert [one.dedup_key for one in digests(store, ref)] == ["k0"]


def test_a_run_that_nobody_knows_is_not_told(store: Store, ref: DatasetRef) -> None:
    assert tell_run(store, ref, "r", lambda _: saying(1, digest="k"), window=WINDOW, now=NOW) == set()
    assert digests(store, ref) == []


def test_an_error_on_the_way_leaves_the_run_untold_and_nothing_written(store: Store, ref: DatasetRef) -> None:
    found_by(store, ref, "r")
    half = Telling(saying(1, digest="k").incidents, (), [({"dedup_key": "k"}, [])])
    with pytest.raises(Exception, match="a digest needs monitor_id"):
        tell_run(store, ref, "r", lambda _: half, window=WINDOW, now=NOW)
    assert untold_runs(store, ref) == ["r"]
    assert incidents(store, ref) == []


def test_two_runs_that_are_told_at_once_both_leave_their_mark_on_one_incident(
    store: Store, ref: DatasetRef
) -> None:
    found_by(store, ref, "r1", "r2")
    both_inside = threading.Barrier(2)

    def tell(number: int) -> None:
        def extended(records: Sequence[Mapping[str, object]]) -> Telling:
            with suppress(threading.BrokenBarrierError):  # because only one of them can be inside
                both_inside.wait(0.5)
            before = [day for record in records for day in record["days"]]  # type: ignore[attr-defined]
            return saying(*before, number, digest=f"k{number}")

        tell_run(store, ref, f"r{number}", extended, window=WINDOW, now=NOW)

    threads = [threading.Thread(target=tell, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [incident] = incidents(store, ref)
    assert incident["days"] == [1, 2]
    assert {one.dedup_key for one in digests(store, ref)} == {"k1", "k2"}
