from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext

import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.digests import (
    digests,
    mark_delivered,
    mark_failed,
    pending_deliveries,
    record_digest,
    undelivered,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _digest(key: str = "k1", **more: object) -> dict[str, object]:
    return {"dedup_key": key, "monitor_id": "drift", "run_id": "r1", "severity": 2, "sample": ["ä"], **more}


def test_a_digest_is_recorded_once(store: Store, ref: DatasetRef) -> None:
    assert record_digest(store, ref, _digest(), ["slack", "console"], NOW) is True
    assert record_digest(store, ref, _digest(), ["slack", "console"], NOW + MINUTE) is False
    assert [(delivery.channel, delivery.state) for delivery in undelivered(store)] == [
        ("slack", "pending"),
        ("console", "pending"),
    ]


def test_the_same_key_in_another_dataset_is_another_digest(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-1", ref.dataset_id)
    assert record_digest(store, ref, _digest(), ["slack"], NOW)
    assert record_digest(store, other, _digest(), ["slack"], NOW)
    assert [digest.organisation for digest in digests(store, other)] == ["org-1"]
    assert len(undelivered(store, other)) == 1


def test_a_digest_without_a_key_is_refused(store: Store, ref: DatasetRef) -> None:
    with pytest.raises(StoreError, match="dedup_key and monitor_id"):
        record_digest(store, ref, {}, ["slack"], NOW)


def test_a_claimed_delivery_carries_its_digest_and_is_not_given_to_a_second_sender(
    store: Store, ref: DatasetRef
) -> None:
    record_digest(store, ref, _digest(), ["slack"], NOW)
    (delivery,) = pending_deliveries(store, NOW)
    assert (delivery.digest, delivery.dataset_id, delivery.attempts) == (_digest(), "lead-scoring", 0)
    assert pending_deliveries(store, NOW + MINUTE) == []


def test_a_claim_runs_out_when_its_sender_died(store: Store, ref: DatasetRef) -> None:
    record_digest(store, ref, _digest(), ["slack"], NOW)
    (first,) = pending_deliveries(store, NOW, lease=5 * MINUTE)
    (second,) = pending_deliveries(store, NOW + 5 * MINUTE)
    assert first.pk == second.pk


def test_a_delivered_digest_is_never_sent_again(store: Store, ref: DatasetRef) -> None:
    record_digest(store, ref, _digest(), ["slack"], NOW)
    (delivery,) = pending_deliveries(store, NOW)
    mark_delivered(store, delivery.pk, now=NOW, receipt="ts=1")
    mark_failed(store, delivery.pk, error="late answer of a second sender", retry_at=NOW)
    assert pending_deliveries(store, NOW + timedelta(days=1)) == []
    assert undelivered(store) == []
    assert [dict(digest.deliveries) for digest in digests(store)] == [{"slack": "delivered"}]


def test_a_failed_delivery_comes_back_when_its_time_has_come(store: Store, ref: DatasetRef) -> None:
    record_digest(store, ref, _digest(), ["slack"], NOW)
    (delivery,) = pending_deliveries(store, NOW)
    mark_failed(store, delivery.pk, error="503", retry_at=NOW + 10 * MINUTE)
    assert pending_deliveries(store, NOW + 9 * MINUTE) == []
    (again,) = pending_deliveries(store, NOW + 10 * MINUTE)
    assert (again.attempts, again.error) == (1, "503")


def test_a_permanent_failure_is_given_up_but_stays_visible(store: Store, ref: DatasetRef) -> None:
    record_digest(store, ref, _digest(), ["slack"], NOW)
    (delivery,) = pending_deliveries(store, NOW)
    mark_failed(store, delivery.pk, error="no such channel", retry_at=NOW, permanent=True)
    assert pending_deliveries(store, NOW + timedelta(days=1)) == []
    assert [(one.state, one.error) for one in undelivered(store)] == [("failed", "no such channel")]


def test_claims_can_be_limited_by_number_and_channel_oldest_first(store: Store, ref: DatasetRef) -> None:
    for number in range(3):
        record_digest(store, ref, _digest(f"k{number}"), ["slack", "console"], NOW + number * MINUTE)
    later = NOW + timedelta(hours=1)
    assert [one.dedup_key for one in pending_deliveries(store, later, 2, channels=["slack"])] == ["k0", "k1"]
    assert [one.dedup_key for one in pending_deliveries(store, later, channels=["slack"])] == ["k2"]
    assert {one.channel for one in pending_deliveries(store, later)} == {"console"}


def test_digests_are_listed_newest_first(store: Store, ref: DatasetRef) -> None:
    for number in range(3):
        record_digest(store, ref, _digest(f"k{number}"), [], NOW + number * MINUTE)
    assert [digest.dedup_key for digest in digests(store, ref, limit=2)] == ["k2", "k1"]
    assert digests(store)[0].created == NOW + 2 * MINUTE


def _send(url: str, sent: str) -> None:
    store = open_store(url)
    claimed: list[str] = []
    while batch := pending_deliveries(store, NOW, 3):
        claimed += [delivery.dedup_key for delivery in batch]
        for delivery in batch:
            mark_delivered(store, delivery.pk, now=NOW)
    store.close()
    with open(sent, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("\n".join(claimed))


def test_two_senders_at_once_send_each_digest_once(
    database_url: str, processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(database_url)
    ref = register_dataset(store, "org-0", "d")
    for number in range(60):
        record_digest(store, ref, _digest(f"k{number}"), ["slack"], NOW)
    folder = tmp_path_factory.mktemp("sent")
    started = [processes.Process(target=_send, args=(database_url, str(folder / str(n)))) for n in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    sent = Counter(key for file in folder.iterdir() for key in file.read_text().split())
    assert sent == Counter({f"k{number}": 1 for number in range(60)})
    assert undelivered(store) == []
    store.close()
