from __future__ import annotations

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.entity_schema import save_schema, schema


def test_a_schema_comes_back_and_the_newest_one_holds(store: Store, ref: DatasetRef) -> None:
    assert schema(store, ref) is None
    save_schema(store, ref, {"columns": {"age": {"dataType": "integral"}}})
    save_schema(store, ref, {"columns": {"age": {"dataType": "fractional"}}})
    assert schema(store, ref) == {"columns": {"age": {"dataType": "fractional"}}}
    assert schema(store, register_dataset(store, "org-1", "other")) is None
