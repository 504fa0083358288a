from __future__ import annotations

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.files import known_files, save_files


def test_files_come_back_as_they_were_saved(store: Store, ref: DatasetRef) -> None:
    entries = {
        "landing/a ü.parquet": {"size": 3, "rows": {"2026-01-01": 7}},
        "landing/b.parquet": {"size": 4},
    }
    save_files(store, ref, entries)
    assert known_files(store, ref) == entries


def test_saving_changes_adds_and_forgets(store: Store, ref: DatasetRef) -> None:
    save_files(store, ref, {"a": {"size": 1}, "b": {"size": 2}, "c": {"size": 3}})
    save_files(store, ref, {"b": {"size": 20}, "d": {"size": 4}}, gone=["c"])
    assert known_files(store, ref) == {"a": {"size": 1}, "b": {"size": 20}, "d": {"size": 4}}
    save_files(store, ref, {}, gone=["a", "b", "d"])
    assert known_files(store, ref) == {}


def test_thousands_of_files_come_and_go(store: Store, ref: DatasetRef) -> None:
    entries: dict[str, dict[str, object]] = {
        f"landing/{number:05}": {"size": number} for number in range(3000)
    }
    save_files(store, ref, entries)
    assert known_files(store, ref) == entries
    save_files(store, ref, {}, gone=entries.keys() - {"landing/00001"})
    assert known_files(store, ref) == {"landing/00001": {"size": 1}}


def test_datasets_have_their_own_files(store: Store, ref: DatasetRef) -> None:
    save_files(store, ref, {"a": {}})
    assert known_files(store, register_dataset(store, "org-1", ref.dataset_id)) == {}
