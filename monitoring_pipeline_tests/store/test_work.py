"""What the sensor asks of the store: changes, fingerprints, failed work, stale results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import work
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset, revisions
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.store.results import mark_stale, write_results
from monitoring_pipeline.timegrid import TimeRange, to_micros

NOW = datetime(2026, 3, 10, tzinfo=UTC)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def write(store: Store, ref: DatasetRef, bucket: datetime, fingerprint: str = "one") -> None:
    write_batch(
        store,
        ref,
        bucket,
        profile(pa.table({"a": [1.0, 2.0]})),
        fingerprint=fingerprint,
        first_upload=NOW,
        last_upload=NOW,
        files=1,
        quality={},
        now=NOW,
    )


def revision(store: Store, ref: DatasetRef) -> int:
    return revisions(store)[ref.organisation, ref.dataset_id]


def test_every_write_of_batches_and_results_is_counted_for_its_dataset_alone(
    store: Store, ref: DatasetRef
) -> None:
    other = register_dataset(store, "org-0", "other")
    seen = [revision(store, ref)]
    write(store, ref, FIRST)
    seen.append(revision(store, ref))
    write_results(store, ref, [], evaluated=[("analyzer", "1", FIRST)])
    seen.append(revision(store, ref))
    write_results(store, ref, [])  # nothing to write

    assert seen == sorted({*seen})
    assert revision(store, ref) == seen[-1]
    assert revision(store, other) == 0


def test_the_span_and_the_fingerprints_of_what_was_profiled(store: Store, ref: DatasetRef) -> None:
    assert work.span(store, ref) is None
    for day in range(3):
        write(store, ref, FIRST + day * DAY, fingerprint=f"of day {day}")

    assert work.span(store, ref) == work.Span(FIRST, FIRST + 2 * DAY)
    assert work.fingerprints(store, ref) == {FIRST + day * DAY: f"of day {day}" for day in range(3)}
    assert work.fingerprints(store, ref, TimeRange(FIRST + DAY, FIRST + 2 * DAY)) == {FIRST + DAY: "of day 1"}


def test_a_run_that_failed_is_counted_once_and_other_work_begins_anew(store: Store, ref: DatasetRef) -> None:
    def attempts(text: str, run_id: str) -> int:
        [noted] = work.record_failure(store, ref, {FIRST: text}, run_id=run_id, error="no memory", now=NOW)
        assert work.failures(store, ref) == {FIRST: noted}
        return noted.attempts

    assert [attempts("a", "1"), attempts("a", "1"), attempts("a", "2"), attempts("b", "3")] == [1, 1, 2, 1]
    work.forget_failures(store, ref, [FIRST])
    assert work.failures(store, ref) == {}


def test_failures_of_thousands_of_buckets_are_kept_apart(store: Store, ref: DatasetRef) -> None:
    buckets = {FIRST + hour * timedelta(hours=1): f"work {hour}" for hour in range(3000)}
    work.record_failure(store, ref, buckets, run_id="1", error="x" * 10_000, now=NOW)
    work.forget_failures(store, ref, [FIRST])

    known = work.failures(store, ref)
    assert {bucket: one.work for bucket, one in known.items()} == {
        bucket: text for bucket, text in buckets.items() if bucket != FIRST
    }
    assert max(len(one.error) for one in known.values()) <= 500
    assert work.failures(store, register_dataset(store, "org-1", ref.dataset_id)) == {}


def test_stale_results_are_counted_by_dataset(store: Store, ref: DatasetRef) -> None:
    rows = [
        {
            "analysis_id": f"{day}{column}",
            "result_id": "r",
            "run_id": "run",
            "analyzer_id": "analyzer",
            "analyzer_version": "1",
            "segment": "",
            "column": column,
            "bucket": to_micros(FIRST + day * DAY),
            "created": to_micros(NOW),
            "granularity": "daily",
            "target_level": "column",
            "analyzer_type": "fixed",
        }
        for day in range(3)
        for column in ("a", "b")
    ]
    write_results(store, ref, rows)
    assert work.stale(store) == {}
    mark_stale(store, ref, TimeRange(FIRST + DAY, FIRST + 3 * DAY))

    assert work.stale(store) == {
        (ref.organisation, ref.dataset_id): work.Stale(4, 2, FIRST + DAY, FIRST + 2 * DAY)
    }
