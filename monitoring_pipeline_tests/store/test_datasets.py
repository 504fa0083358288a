from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import columns, datasets, find_dataset, register_dataset, segments

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def test_a_dataset_is_registered_once_and_keeps_its_first_time(store: Store) -> None:
    first = register_dataset(store, "org-0", "taxi", now=NOW)
    again = register_dataset(store, "org-0", "taxi", now=NOW + timedelta(days=1))
    assert first == again
    assert first.registered_at == NOW


def test_two_organisations_may_use_the_same_id(store: Store) -> None:
    one, other = register_dataset(store, "a", "taxi"), register_dataset(store, "b", "taxi")
    assert one.pk != other.pk
    assert [(ref.organisation, ref.dataset_id) for ref in datasets(store)] == [("a", "taxi"), ("b", "taxi")]
    assert datasets(store, "b") == [other]


def test_looking_for_a_dataset_does_not_make_it(store: Store) -> None:
    assert find_dataset(store, "org-0", "taxi") is None
    assert datasets(store) == []


def test_a_new_dataset_has_no_segments_and_no_columns(store: Store) -> None:
    ref = register_dataset(store, "org-0", "taxi")
    assert (segments(store, ref), columns(store, ref)) == ([], [])
