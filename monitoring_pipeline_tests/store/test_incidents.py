from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.incidents import incidents, save_incidents
from monitoring_pipeline.timegrid import TimeRange

NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def _incident(name: str = "i1", *, day: int = 0, days: int = 1, **more: object) -> dict[str, object]:
    start = datetime(2026, 3, 1, tzinfo=UTC) + day * DAY
    return {
        "id": name,
        "title": "age: null ratio",
        "severity": 2,
        "status": "open",
        "start": start.isoformat(),
        "end": (start + days * DAY).isoformat(),
        "members": [{"analysis_id": "x"}],
        **more,
    }


def test_an_incident_comes_back_with_when_it_was_opened(store: Store, ref: DatasetRef) -> None:
    save_incidents(store, ref, [_incident()], now=NOW)
    (found,) = incidents(store, ref)
    assert found.items() >= _incident().items()
    assert (found["opened"], found["updated"], found["resolved"]) == (NOW.isoformat(), NOW.isoformat(), None)


def test_a_growing_incident_keeps_when_it_was_opened(store: Store, ref: DatasetRef) -> None:
    save_incidents(store, ref, [_incident()], now=NOW)
    save_incidents(store, ref, [_incident(days=2, title="worse")], now=NOW + DAY)
    (found,) = incidents(store, ref)
    assert (found["opened"], found["updated"], found["title"]) == (
        NOW.isoformat(),
        (NOW + DAY).isoformat(),
        "worse",
    )


def test_saving_the_same_incident_again_changes_nothing(store: Store, ref: DatasetRef) -> None:
    save_incidents(store, ref, [_incident()], now=NOW)
    before = incidents(store, ref)
    save_incidents(store, ref, [_incident()], now=NOW + DAY)
    assert incidents(store, ref) == before


def test_a_resolved_incident_keeps_when_it_was_resolved_until_it_opens_again(
    store: Store, ref: DatasetRef
) -> None:
    save_incidents(store, ref, [_incident()], now=NOW)
    save_incidents(store, ref, [_incident(status="resolved")], now=NOW + DAY)
    save_incidents(store, ref, [_incident(status="resolved", title="renamed")], now=NOW + 2 * DAY)
    assert incidents(store, ref, status="resolved")[0]["resolved"] == (NOW + DAY).isoformat()
    assert incidents(store, ref, status="open") == []
    save_incidents(store, ref, [_incident(days=9)], now=NOW + 3 * DAY)
    assert incidents(store, ref, status="open")[0]["resolved"] is None


def test_incidents_are_listed_newest_first_within_a_window(store: Store, ref: DatasetRef) -> None:
    save_incidents(
        store, ref, [_incident("a", day=0, days=3), _incident("b", day=4), _incident("c", day=8)], now=NOW
    )
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert [one["id"] for one in incidents(store, ref)] == ["c", "b", "a"]
    assert [
        one["id"] for one in incidents(store, ref, window=TimeRange(start + 2 * DAY, start + 5 * DAY))
    ] == ["b", "a"]
    assert [
        one["id"] for one in incidents(store, ref, window=TimeRange(start + 3 * DAY, start + 4 * DAY))
    ] == []
    assert [one["id"] for one in incidents(store, ref, limit=1)] == ["c"]


def test_an_incident_that_became_part_of_another_is_neither_open_nor_lost(
    store: Store, ref: DatasetRef
) -> None:
    save_incidents(store, ref, [_incident("a"), _incident("b", day=2)], now=NOW)
    save_incidents(store, ref, [_incident("a", days=3)], now=NOW + DAY, merged=["b"])
    assert [one["id"] for one in incidents(store, ref)] == ["a"]
    assert [one["id"] for one in incidents(store, ref, status="merged")] == ["b"]


def test_an_incident_that_lacks_something_is_refused(store: Store, ref: DatasetRef) -> None:
    with pytest.raises(StoreError, match="title"):
        save_incidents(
            store, ref, [{"id": "x", "severity": 1, "status": "open", "start": "", "end": ""}], now=NOW
        )
